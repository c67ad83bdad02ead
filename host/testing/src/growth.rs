//! Tests that the processor time for reading a message of somebody else grows linearly with its size. A message of four
//! times the size may take four times as long, and not sixteen times: nobody must be able to block a worker thread with
//! one message.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Maximum cost of four times the size, as a factor. Linear is 4, n log n a little more, quadratic 16. The larger input
/// may miss a cache of the processor that holds the smaller one.
const MOST: f64 = 8.0;

/// Minimum and maximum number of rounds: the best of several rounds is the cost of the work itself.
const ROUNDS: std::ops::Range<u32> = 3..25;

/// Shortest time from which growth can be read. Quicker work blocks nobody.
const NOISE: Duration = Duration::from_micros(50);

/// Asserts that the processor time of `work` grows no faster than the size of its input, which `make` makes: from half of
/// `size` to twice as much.
pub fn assert_linear<T>(what: &str, size: usize, make: impl Fn(usize) -> T, mut work: impl FnMut(T)) {
    let mut cost = |size: usize| {
        let made = make(size);
        let before = processor_time();
        work(made);
        processor_time() - before
    };
    let (small, large) = (size / 2, size / 2 * 4);
    let (mut least, mut most) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS.end {
        least = least.min(cost(small));
        most = most.min(cost(large));
        if round >= ROUNDS.start && (most < NOISE || ratio(most, least) < MOST) {
            return;
        }
    }
    panic!("{what}: {small} cost {least:?}, {large} cost {most:?}, {:.2} times as much", ratio(most, least));
}

fn ratio(most: Duration, least: Duration) -> f64 {
    most.as_secs_f64() / least.as_secs_f64()
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
