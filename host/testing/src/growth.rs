//! Tests that the processor time for reading others' messages grows linearly with their size. Twice as much
//! may take twice as long, and not four times: whoever may send one message must not hold a worker with it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Maximum cost of twice the size, as a factor. Linear is 2, n log n a little more, quadratic 4.
const MOST: f64 = 2.5;

/// Minimum and maximum number of rounds: the best of several is the cost of the work itself.
const ROUNDS: std::ops::Range<u32> = 3..25;

/// Shortest time that says anything about growth; anything quicker holds nobody up.
const NOISE: Duration = Duration::from_micros(50);

/// Holds that the processor time of `work` on what `make` makes of a size grows no faster than the size.
pub fn assert_linear<T>(what: &str, size: usize, make: impl Fn(usize) -> T, mut work: impl FnMut(T)) {
    let mut cost = |size: usize| {
        let made = make(size);
        let before = processor_time();
        work(made);
        processor_time() - before
    };
    let (mut single, mut double) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS.end {
        single = single.min(cost(size));
        double = double.min(cost(2 * size));
        if round >= ROUNDS.start && (double < NOISE || ratio(double, single) < MOST) {
            return;
        }
    }
    panic!(
        "{what}: {size} cost {single:?}, twice as many {double:?}, {:.2} times as much",
        ratio(double, single)
    );
}

fn ratio(double: Duration, single: Duration) -> f64 {
    double.as_secs_f64() / single.as_secs_f64()
}

/// Of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[cfg(test)]
mod tests {
    use super::assert_linear;

    #[test]
    #[should_panic(expected = "times as much")]
    fn a_quadratic_reader_is_found() {
        assert_linear(
            "each with each",
            3_000,
            |size| (0..size).collect::<Vec<_>>(),
            |all| {
                let twice = all.iter().filter(|one| all.iter().filter(|other| other == one).count() > 1);
                assert_eq!(twice.count(), 0);
            },
        );
    }
}
