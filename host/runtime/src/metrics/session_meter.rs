//! The number of open sessions, and their durations.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::metrics::gauge::Gauge;

use super::histogram::Histogram;

/// Counts sessions of one kind, and observes how long they last.
#[derive(Clone, Debug, Default)]
pub struct SessionMeter {
    /// The number of open sessions. Other tables of sessions may count in it, too.
    pub open: Gauge,
    /// The durations of sessions that have ended. None: they are not observed.
    pub took: Vec<Arc<Histogram>>,
}

impl SessionMeter {
    /// Notes that a session begins.
    pub fn begin(&self) {
        self.open.inc();
    }

    /// Notes the end of a session that began at `began`.
    pub fn end(&self, began: Instant) {
        self.open.dec();
        let took = began.elapsed();
        self.took.iter().for_each(|histogram| histogram.observe(took));
    }
}
