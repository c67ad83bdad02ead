//! Locks of the tests' host.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks the mutex even after a panic: the test in which it happened reports the panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
