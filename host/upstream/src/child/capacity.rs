//! Rejections because a limit is reached.

use std::time::Duration;

use witgate_flow::reject::Rejection;

/// Idle time after which a child may be ended in favour of another.
pub(super) const DISPLACEABLE: Duration = Duration::from_secs(30);

/// The name of the exhausted resource, for the caller.
pub(super) const PROCESSES: &str = "server processes";

/// The rejection of a caller because the resource `what` is used up.
pub(super) fn full(what: &'static str) -> Rejection {
    Rejection::Full { what, retry_after: DISPLACEABLE.as_secs() as u32 }
}
