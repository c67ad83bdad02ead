//! Senders that have shown a good credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::identity::Caller;

/// Whether a good credential has come from a sender, over a connection for example: set here, and looked at by whoever
/// has to choose among senders. Nothing is decided on it.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    /// Whether one has.
    pub fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Who may be anonymous stays unknown.
    pub(crate) fn note(&self, caller: Option<&Caller>) {
        if caller.is_some_and(|caller| !caller.is_anonymous()) && !self.is_known() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
