//! A histogram of durations. Threads observe it without a lock and without an allocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// The bounds of operations, in nanoseconds (OpenTelemetry, "Semantic conventions for MCP").
pub const OPERATION_BOUNDS: &[u64] = &[
    10 * MILLISECOND,
    20 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    200 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
];

/// The bounds of Witgate's own work, in nanoseconds: a built-in takes about a microsecond, and a hook that waits for
/// the network may take seconds.
pub const OWN_BOUNDS: &[u64] = &[
    MICROSECOND,
    2 * MICROSECOND,
    5 * MICROSECOND,
    10 * MICROSECOND,
    20 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    200 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2 * MILLISECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    20 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    SECOND,
];

/// The number of observations in a bucket after which the exemplar is replaced. A collector reads it every few seconds,
/// so that most exemplars would never be seen.
const EXEMPLAR_EVERY: u64 = 16;

/// A histogram of durations.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for everything above.
    buckets: Box<[HistogramBucket]>,
    nanos: AtomicU64,
}

/// The observations between two bounds.
#[derive(Debug, Default)]
struct HistogramBucket {
    count: AtomicU64,
    /// A recent observation with an id. A thread that finds it locked leaves it as it is.
    exemplar: Mutex<Option<Exemplar>>,
}

/// One observation, with the id under which the audit has more about it.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar {
    /// The id of the decision.
    pub decision: u128,
    /// The duration.
    pub took: Duration,
    /// The time of the observation.
    pub at: Instant,
}

/// The state of a histogram at one moment.
#[derive(Clone, Debug)]
pub struct HistogramState {
    /// The upper bounds in seconds, the last of which is infinite, with the number of observations between the one
    /// before and each.
    pub buckets: Vec<(f64, u64)>,
    /// The exemplar of each bucket.
    pub exemplars: Vec<Option<Exemplar>>,
    /// The sum of all observations, in seconds.
    pub sum: f64,
    /// The number of all observations.
    pub count: u64,
}

impl Histogram {
    /// A histogram with these upper bounds, in nanoseconds and ascending order.
    pub fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| HistogramBucket::default()).collect();
        Self { bounds, buckets, nanos: AtomicU64::new(0) }
    }

    /// Adds one duration.
    pub fn observe(&self, took: Duration) {
        self.add(took);
    }

    /// Adds one duration with its id, which becomes the exemplar of its bucket from time to time.
    pub fn observe_decision(&self, exemplar: Exemplar) {
        if let Some((bucket, before)) = self.add(exemplar.took)
            && before.is_multiple_of(EXEMPLAR_EVERY)
            && let Some(mut recent) = bucket.exemplar.try_lock()
        {
            *recent = Some(exemplar);
        }
    }

    /// Adds one duration. Returns its bucket, and the number of observations in it before.
    fn add(&self, took: Duration) -> Option<(&HistogramBucket, u64)> {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        let bucket = self.buckets.get(self.bounds.partition_point(|bound| *bound < nanos))?;
        Some((bucket, bucket.count.fetch_add(1, Ordering::Relaxed)))
    }

    /// The state at this moment.
    pub fn state(&self) -> HistogramState {
        let bounds = self.bounds.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets =
            bounds.zip(&self.buckets).map(|(bound, bucket)| (bound, bucket.count.load(Ordering::Relaxed)));
        let buckets: Vec<_> = buckets.collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let exemplars = self.buckets.iter().map(|bucket| *bucket.exemplar.lock()).collect();
        HistogramState { buckets, exemplars, sum: seconds(self.nanos.load(Ordering::Relaxed)), count }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / SECOND as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::new(OWN_BOUNDS);
        for (micros, bound) in [
            (0, 1e-6),
            (1, 1e-6),
            (2, 2e-6),
            (3, 5e-6),
            (100_000, 0.1),
            (100_001, 1.0),
            (5_000_000, f64::INFINITY),
        ] {
            let before = histogram.state();
            histogram.observe(Duration::from_micros(micros));
            let after = histogram.state();
            let grown =
                before.buckets.iter().zip(&after.buckets).filter(|(before, after)| after.1 > before.1);
            assert_eq!(grown.map(|(_, after)| after.0).collect::<Vec<_>>(), [bound], "{micros} µs");
        }
        let state = histogram.state();
        assert_eq!(state.count, 7);
        assert!((state.sum - 5.200_007).abs() < 1e-9, "{}", state.sum);
    }

    #[test]
    fn each_bucket_has_a_recent_exemplar_from_its_first_observation_on() {
        let histogram = Histogram::new(OPERATION_BOUNDS);
        for decision in 0..=18 {
            let took = Duration::from_millis(if decision == 18 { 500 } else { 5 });
            histogram.observe_decision(Exemplar { decision, took, at: Instant::now() });
        }
        let found: Vec<_> =
            histogram.state().exemplars.into_iter().flatten().map(|found| found.decision).collect();
        assert_eq!(found, [16, 18]);
    }

    #[test]
    fn threads_lose_no_observation() {
        let histogram = Histogram::new(OPERATION_BOUNDS);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let histogram = &histogram;
                scope.spawn(move || {
                    for n in 0..10_000 {
                        let took = Duration::from_millis(n % 700);
                        histogram.observe_decision(Exemplar {
                            decision: thread.into(),
                            took,
                            at: Instant::now(),
                        });
                    }
                });
            }
        });
        assert_eq!(histogram.state().count, 40_000);
    }
}
