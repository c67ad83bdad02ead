//! The processes that this one starts, and those that they leave behind.
//!
//! A process whose parent has ended is handed to the nearest ancestor that takes such orphans: to process 1, or to
//! whoever has asked for them (`PR_SET_CHILD_SUBREAPER`). Witgate is the one in a container and asks outside of it, so
//! that it can bury them, and end at the end what has escaped from its process group.

use std::collections::BTreeSet;
use std::io;

use parking_lot::Mutex;
use tokio::process::{Child, Command};

use crate::shares::Capacity;

#[cfg(target_os = "linux")]
pub use orphans::{adopt_orphans, end_orphans};

/// Sixty-four servers on Node.js take about 4 GB; one caller may have a quarter of them.
pub const CHILDREN: Capacity = Capacity { most: 64, most_of_one: 16 };

/// The children that a task waits for. To bury one of them would take its exit status from that task.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child that a task waits for, for as long as this lives.
#[derive(Debug)]
pub struct ChildGuard(Option<i32>);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            OWN.lock().remove(&id);
        }
    }
}

/// Starts a process that the caller waits for. It is no orphan until `ChildGuard` is dropped.
///
/// # Errors
/// Where the system cannot start it.
pub fn spawn(command: &mut Command) -> io::Result<(Child, ChildGuard)> {
    // Held from before the start, so that one that ends at once is known by then.
    let mut own = OWN.lock();
    let child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    own.extend(id);
    Ok((child, ChildGuard(id)))
}

/// Elsewhere process 1 has the orphans.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() {}

/// As above.
#[cfg(not(target_os = "linux"))]
pub async fn end_orphans() {}

#[cfg(target_os = "linux")]
mod orphans;
