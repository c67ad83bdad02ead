//! Faults of an upstream, with messages for callers.

use witgate_flow::reject::{Rejection, UpstreamFault};

pub(super) fn bad_answer(message: &str) -> Rejection {
    fault(UpstreamFault::BadAnswer, message)
}

pub(super) fn fault(fault: UpstreamFault, message: impl Into<String>) -> Rejection {
    Rejection::Upstream { fault, message: message.into() }
}
