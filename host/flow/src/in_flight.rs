//! The progress of a message: an event stream may be opened before there is an answer only where nothing is
//! left that belongs into the head of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use witgate_message::call::{Call, MessageKind};

/// A flag: the message is with the upstream, and its answer may be an event.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicBool>);

impl InFlight {
    /// `call` goes to the upstream: no challenge can follow any more. What opens a session is told by a header which.
    pub fn begins(&self, call: &Call) {
        let is_request = matches!(call.kind(), MessageKind::Request { .. });
        self.0.store(is_request && call.method() != "initialize", Ordering::Relaxed);
    }

    /// True if the answer may be an event.
    pub fn may_stream(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
