//! The progress of a message. An event stream may be opened before the answer only if the head of the response is
//! already certain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use witgate_message::call::{Call, MessageKind};

/// A flag: the upstream has the message, or the message waits for an account; and its answer may be an event.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicBool>);

impl InFlight {
    /// Records that `call` has passed the stages, so that its answer may come late, and no challenge can follow. A call that
    /// opens a session is excepted, because its answer has a header with the session.
    pub fn begins(&self, call: &Call) {
        let is_request = matches!(call.kind(), MessageKind::Request { .. });
        self.0.store(is_request && call.method() != "initialize", Ordering::Relaxed);
    }

    /// True if the answer may be an event.
    pub fn may_stream(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
