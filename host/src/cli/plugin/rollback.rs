//! `witgate plugin rollback`: back to an earlier generation.

use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::control::{cell, socket};
use crate::cli::outcome::{CommandFailure, Exit};
use crate::control;

pub(super) fn run(context: &Context, to: Option<u64>) -> Result<Exit, CommandFailure> {
    let done = control::ask(&socket(context)?, &control::Command::PluginRollback { to })
        .map_err(CommandFailure::new)?;
    if context.terminal.is_json() {
        context.terminal.print_json(&done);
        return Ok(Exit::Done);
    }
    let (to, live) = (cell(&done, "rolled_back_to"), cell(&done, "generation"));
    context.terminal.print(&format!("Generation {live} is live: it is generation {to} again."));
    context.terminal.say(match done.get("unkept").and_then(Value::as_str) {
        Some(unkept) => unkept,
        None => "It stays, also over a restart, until the configuration or a component changes again.",
    });
    Ok(Exit::Done)
}
