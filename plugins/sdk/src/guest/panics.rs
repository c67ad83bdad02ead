//! Writes the message of a panic into the log of the host: a component has no standard error that anybody
//! reads, and without it only a trap is left.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use super::GuestHost;
use crate::{Host as _, Level};

/// Has panics said from now on.
pub(super) fn are_said() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(say)));
}

/// On one line, as lines of a log are.
fn say(panic: &PanicHookInfo<'_>) {
    let why = panic.payload_as_str().unwrap_or("no words");
    let line = match panic.location() {
        Some(at) => format!("panicked at {at}: {why}"),
        None => format!("panicked: {why}"),
    };
    GuestHost.log(Level::Error, &line);
}
