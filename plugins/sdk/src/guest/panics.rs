//! Writes the message of a panic into the log of the host. Nobody reads the standard error of a component, so without
//! this the operator would see only a trap.

use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use super::GuestHost;
use crate::{Host as _, Level};

/// Logs panics from now on.
pub(super) fn log_all() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(log)));
}

/// Logs a panic, on one line.
fn log(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let line = match panic.location() {
        Some(place) => format!("panicked at {place}: {message}"),
        None => format!("panicked: {message}"),
    };
    GuestHost.log(Level::Error, &line);
}
