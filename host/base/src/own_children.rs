//! The list of this process's children that somebody waits for.

use std::collections::BTreeSet;
use std::io;

use parking_lot::{Mutex, MutexGuard};

/// The children that somebody waits for. Nothing else may reap them, because the one who waits would then not get their
/// exit status.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The list, which does not change while this is held.
pub struct OwnChildren(MutexGuard<'static, BTreeSet<i32>>);

impl OwnChildren {
    /// Holds the list.
    pub fn hold() -> Self {
        Self(OWN.lock())
    }

    /// True if somebody waits for the child with this id.
    pub fn contain(&self, id: i32) -> bool {
        self.0.contains(&id)
    }
}

/// A guard of a child that somebody waits for. While it lives, nothing else reaps the child.
#[derive(Debug)]
pub struct ChildGuard(Option<i32>);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            OWN.lock().remove(&id);
        }
    }
}

/// Starts a child that the caller waits for. `id` is the id of the started child, if it still runs.
///
/// # Errors
/// If it cannot be started.
pub fn start<C>(
    start: impl FnOnce() -> io::Result<C>,
    id: impl FnOnce(&C) -> Option<u32>,
) -> io::Result<(C, ChildGuard)> {
    // The lock is held from before the start, so that a process that ends at once is already in the list.
    let mut own = OWN.lock();
    let child = start()?;
    let id = id(&child).and_then(|id| i32::try_from(id).ok());
    own.extend(id);
    Ok((child, ChildGuard(id)))
}
