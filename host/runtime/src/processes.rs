//! The child processes of Witgate, and the orphans that they leave.
//!
//! The kernel gives a process whose parent has ended to a new parent: to the nearest ancestor that has asked for
//! orphans (`PR_SET_CHILD_SUBREAPER`), or to process 1. In a container, Witgate is process 1; elsewhere it asks for
//! them. So it can reap orphans, and at the end kill the processes that have left their process group.

use std::collections::BTreeSet;
use std::io;

use parking_lot::Mutex;
use tokio::process::{Child, Command};

use crate::shares::Capacity;

#[cfg(target_os = "linux")]
pub use orphans::{adopt_orphans, end_orphans};

/// The limits of child processes. Sixty-four servers on Node.js take about 4 GB of memory; one caller may have a
/// quarter of them.
pub const CHILDREN: Capacity = Capacity { most: 64, most_of_one: 16 };

/// The children that a task waits for. Nothing else may reap them, because the task would then not get their exit
/// status.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A guard of a child that a task waits for. While it lives, nothing else reaps the child.
#[derive(Debug)]
pub struct ChildGuard(Option<i32>);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            OWN.lock().remove(&id);
        }
    }
}

/// Starts a process that the caller waits for. The process does not count as an orphan until `ChildGuard` is dropped.
///
/// # Errors
/// If the system cannot start it.
pub fn spawn(command: &mut Command) -> io::Result<(Child, ChildGuard)> {
    // The lock is held from before the start, so that a process that ends at once is already in the set.
    let mut own = OWN.lock();
    let child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    own.extend(id);
    Ok((child, ChildGuard(id)))
}

/// Does nothing: on other systems, process 1 reaps the orphans.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() {}

/// Does nothing, as above.
#[cfg(not(target_os = "linux"))]
pub async fn end_orphans() {}

#[cfg(target_os = "linux")]
mod orphans;
