//! The child processes of Witgate, and the orphans that they leave.
//!
//! The kernel gives a process whose parent has ended to a new parent: to the nearest ancestor that has asked for
//! orphans (`PR_SET_CHILD_SUBREAPER`), or to process 1. In a container, Witgate is process 1; elsewhere it asks for
//! them. So it can reap orphans, and at the end kill the processes that have left their process group.

use std::io;

use tokio::process::{Child, Command};

use crate::shares::Capacity;
use witgate_base::own_children;

pub use witgate_base::own_children::ChildGuard;

#[cfg(target_os = "linux")]
pub use orphans::{adopt_orphans, end_orphans};

/// The limits of child processes. Sixty-four servers on Node.js take about 4 GB of memory; one caller may have a
/// quarter of them.
pub const CHILDREN: Capacity = Capacity { most: 64, most_of_one: 16 };

/// Starts a process that the caller waits for. The process does not count as an orphan until `ChildGuard` is dropped.
///
/// # Errors
/// If the system cannot start it.
pub fn spawn(command: &mut Command) -> io::Result<(Child, ChildGuard)> {
    own_children::start(|| command.spawn(), Child::id)
}

/// Does nothing: on other systems, process 1 reaps the orphans.
#[cfg(not(target_os = "linux"))]
pub fn adopt_orphans() {}

/// Does nothing, as above.
#[cfg(not(target_os = "linux"))]
pub async fn end_orphans() {}

#[cfg(target_os = "linux")]
mod orphans;
