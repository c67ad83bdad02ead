//! Tests that the processor time for reading a message of somebody else grows linearly with its size. A message of
//! twice the size may take twice as long, and not four times: nobody must be able to block a worker thread with one
//! message.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Maximum cost of twice the size, as a factor. Linear is 2, n log n a little more, quadratic 4.
const MOST: f64 = 2.5;

/// Minimum and maximum number of rounds: the best of several rounds is the cost of the work itself.
const ROUNDS: std::ops::Range<u32> = 3..25;

/// Shortest time from which growth can be read. Quicker work blocks nobody.
const NOISE: Duration = Duration::from_micros(50);

/// Asserts that the processor time of `work` grows no faster than the size of its input, which `make` makes.
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

/// The processor time of this thread.
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
