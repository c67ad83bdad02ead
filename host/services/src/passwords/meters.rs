//! Counts and times of the checks of passwords, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use witgate_plugin::PasswordError;
use witgate_runtime::metrics::histogram::{Histogram, HistogramState, OPERATION_BOUNDS};

/// The counts and times of all checks.
#[derive(Debug)]
pub struct PasswordMeters {
    remembered: AtomicU64,
    right: AtomicU64,
    wrong: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    queue: Histogram,
    hash: Histogram,
}

impl Default for PasswordMeters {
    fn default() -> Self {
        let [remembered, right, wrong, refused, failed] = Default::default();
        let [queue, hash] = [OPERATION_BOUNDS; 2].map(Histogram::new);
        Self { remembered, right, wrong, refused, failed, queue, hash }
    }
}

impl PasswordMeters {
    /// Notes a password that was right before, so that nothing is computed.
    pub(super) fn remembered(&self) {
        self.remembered.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the result of another check.
    pub(super) fn count(&self, is_right: Result<bool, &PasswordError>) {
        let counter = match is_right {
            Ok(true) => &self.right,
            Ok(false) => &self.wrong,
            Err(PasswordError::Busy(_)) => &self.refused,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the time in the queue.
    pub(super) fn waited(&self, time: Duration) {
        self.queue.observe(time);
    }

    /// Notes the time of a hash.
    pub(super) fn worked(&self, time: Duration) {
        self.hash.observe(time);
    }

    /// The number of checks by result.
    pub fn results(&self) -> [(&'static str, u64); 5] {
        let Self { remembered, right, wrong, refused, failed, .. } = self;
        [
            ("remembered", remembered),
            ("right", right),
            ("wrong", wrong),
            ("refused", refused),
            ("failed", failed),
        ]
        .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }

    /// The times of the parts of checks.
    pub fn times(&self) -> [(&'static str, HistogramState); 2] {
        [("queue", self.queue.state()), ("hash", self.hash.state())]
    }
}
