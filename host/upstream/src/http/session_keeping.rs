//! The session support of an upstream.

use std::sync::atomic::{AtomicU8, Ordering};

/// Remembers whether an upstream has sessions, from the last `initialize`.
#[derive(Debug, Default)]
pub(super) struct SessionKeeping(AtomicU8);

impl SessionKeeping {
    const NO: u8 = 1;
    const YES: u8 = 2;

    pub(super) fn note(&self, keeps: bool) {
        self.0.store(if keeps { Self::YES } else { Self::NO }, Ordering::Relaxed);
    }

    pub(super) fn known(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            Self::NO => Some(false),
            Self::YES => Some(true),
            _ => None,
        }
    }
}
