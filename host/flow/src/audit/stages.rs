//! The times of the stages of one message, for its entry in the audit log.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The times of stages, in microseconds. A stage that did not run has none.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct StageTimes {
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorize: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<u32>,
}

/// The clock of the stages. It runs only if somebody reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct StageClock {
    last: Instant,
    times: StageTimes,
}

impl StageClock {
    /// A clock for stages of which the first one begins now.
    pub(super) fn start() -> Self {
        Self { last: Instant::now(), times: StageTimes::default() }
    }

    /// Notes that a stage has ended now.
    pub(super) fn mark(&mut self, stage: &str) {
        let now = Instant::now();
        let took = Some(micros(now - self.last));
        match stage {
            "authenticate" => self.times.authenticate = took,
            "authorize" => self.times.authorize = took,
            "filter" => self.times.filter = took,
            _ => {}
        }
        self.last = now;
    }

    /// Notes that the upstream had the message in this time.
    pub(super) fn upstream(&mut self, sent: Instant, answered: Instant) {
        self.times.upstream = Some(micros(answered - sent));
        self.last = answered;
    }

    /// The times so far. None: no stage has ended.
    pub(super) fn times(&self) -> Option<StageTimes> {
        let StageTimes { authenticate, authorize, upstream, filter } = self.times;
        let has_any = [authenticate, authorize, upstream, filter].iter().any(Option::is_some);
        has_any.then_some(self.times)
    }
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}
