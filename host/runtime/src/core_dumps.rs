//! Core dumps, which would contain the secrets of the process.

use std::io;

/// Forbids core dumps of this process. Other processes of the same user cannot read its memory or environment any more
/// either, and cannot attach a debugger.
///
/// # Errors
/// If the system refuses.
#[cfg(target_os = "linux")]
pub fn forbid() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)
}

/// Permits them again.
///
/// # Errors
/// If the system refuses.
#[cfg(target_os = "linux")]
pub fn permit() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(io::Error::from)
}

/// Does nothing: other systems have no such switch.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn forbid() -> io::Result<()> {
    Ok(())
}

/// Does nothing, as above.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn permit() -> io::Result<()> {
    Ok(())
}
