//! `witgate plugin allow-access`: lets the change go live that was refused because somebody gains access by it.

use crate::cli::context::Context;
use crate::cli::control::show;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::control::protocol::{AllowedAccess, ControlCommand};

pub(super) fn run(context: &Context, change: String) -> Result<Exit, CommandFailure> {
    show(context, &ControlCommand::PluginAllowAccess { change }, |allowed: &AllowedAccess| {
        format!(
            "The change that was refused replaces generation {} soon, if it is still the same; `witgate plugin list` shows \
             it.",
            allowed.generation
        )
    })
}
