//! Senders that have shown a good credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers that a sender has shown a good credential, over a connection for example. It only helps to
/// choose among senders; no decision depends on it.
#[derive(Clone, Debug, Default)]
pub struct KnownSender(Arc<AtomicBool>);

impl KnownSender {
    /// True if the sender has shown one.
    pub fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that it has shown one.
    pub fn note(&self) {
        if !self.is_known() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
