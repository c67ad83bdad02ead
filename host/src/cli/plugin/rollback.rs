//! `witgate plugin rollback`: returns to an earlier generation.

use crate::cli::context::Context;
use crate::cli::control::show;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::control::protocol::{ControlCommand, RollbackReport};

pub(super) fn run(
    context: &Context,
    to: Option<u64>,
    allow_new_access: bool,
) -> Result<Exit, CommandFailure> {
    let mut unkept = None;
    let exit =
        show(context, &ControlCommand::PluginRollback { to, allow_new_access }, |done: &RollbackReport| {
            unkept.clone_from(&done.unkept);
            format!("Generation {} is live: it is generation {} again.", done.generation, done.rolled_back_to)
        })?;
    context.terminal.say(
        unkept.as_deref().unwrap_or(
            "It stays, also over a restart, until the configuration or a component changes again.",
        ),
    );
    Ok(exit)
}
