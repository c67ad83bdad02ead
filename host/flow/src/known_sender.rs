//! Senders that have shown a valid credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers that a sender has shown a valid credential, for example over a connection. It is only used to choose
/// among senders; no decision depends on it.
#[derive(Clone, Debug, Default)]
pub struct KnownSender(Arc<AtomicBool>);

impl KnownSender {
    /// True if the sender has shown a valid credential.
    pub fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Records that the sender has shown a valid credential.
    pub fn note(&self) {
        if !self.is_known() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
