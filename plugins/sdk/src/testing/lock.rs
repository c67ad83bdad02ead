//! Locks of the tests' host.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locked also after a panic, which the test that it was in reports.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
