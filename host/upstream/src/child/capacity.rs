//! Rejections where there is no room for more.

use std::time::Duration;

use witgate_flow::reject::Rejection;

/// Idle time after which a child may have to make room.
pub(super) const DISPLACEABLE: Duration = Duration::from_secs(30);

/// The name of the exhausted resource, for the caller.
pub(super) const PROCESSES: &str = "server processes";

/// The rejection of a caller for whom there is no room for `what`.
pub(super) fn full(what: &'static str) -> Rejection {
    Rejection::Full { what, retry_after: DISPLACEABLE.as_secs() as u32 }
}
