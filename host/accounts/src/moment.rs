//! Times and lifetimes in milliseconds, as the database has them.

use std::time::Duration;

use witgate_base::clock;

/// The time now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    i64::try_from(clock::since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// A lifetime in milliseconds.
pub(crate) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
