//! Senders that have shown a good credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::identity::Caller;

/// Remembers that a sender has shown a good credential, over a connection for example. It only helps to
/// choose among senders; no decision depends on it.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    /// True if the sender has shown one.
    pub fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes an authenticated caller; an anonymous one does not count.
    pub(crate) fn note(&self, caller: Option<&Caller>) {
        if caller.is_some_and(|caller| !caller.is_anonymous()) && !self.is_known() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
