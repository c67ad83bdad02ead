//! The health of an upstream, as the calls to it show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The health of one upstream: calls tell it, and readiness and metrics read it.
#[derive(Debug, Default)]
pub struct UpstreamHealth {
    failures: AtomicU64,
    last: Mutex<Option<(&'static str, Instant)>>,
}

/// The failures since the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamFailures {
    /// Their number.
    pub count: u64,
    /// The reason code of the last one.
    pub reason: &'static str,
    /// The time since the last one.
    pub ago: Duration,
}

impl UpstreamHealth {
    /// Notes an answer.
    pub fn answered(&self) {
        // Most calls only read, so that the processors share the line.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a call without an answer.
    pub fn failed(&self, reason: &'static str) {
        *self.last.lock() = Some((reason, Instant::now()));
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of failures since the last answer.
    pub fn failures_in_a_row(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The failures since the last answer, if there are any.
    pub fn failures(&self) -> Option<UpstreamFailures> {
        let count = self.failures_in_a_row();
        let (reason, at) = (count > 0).then(|| *self.last.lock())??;
        Some(UpstreamFailures { count, reason, ago: at.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_a_row_of_failures() {
        let health = UpstreamHealth::default();
        assert_eq!(health.failures(), None);
        health.failed("upstream-timeout");
        health.failed("upstream-unreachable");
        let failures = health.failures().unwrap();
        assert_eq!((failures.count, failures.reason), (2, "upstream-unreachable"));
        health.answered();
        assert_eq!(health.failures(), None);
    }
}
