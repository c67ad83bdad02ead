//! The time of day. No other code asks the system for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The source of the time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// A fixed time for test cases, in seconds since the Unix epoch.
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The time now, in whole seconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        match self {
            Self::System => since_epoch().as_secs(),
            Self::Set(now) => now.load(Ordering::Relaxed),
        }
    }
}

/// The time since the Unix epoch. It is zero if the clock is before the epoch.
pub fn since_epoch() -> Duration {
    system_time().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The system's time.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}
