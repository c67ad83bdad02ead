//! Requests to the control socket of the running Witgate, and its answers in readable form.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use crate::control::protocol::{self, ControlCommand};
use crate::control::{self, place};
use witgate_config::resolve::Outline;

/// The path of the control socket that this configuration leads to. The rest of the configuration may be broken, which
/// is when people look at the status.
pub(super) fn socket(context: &Context) -> Result<PathBuf, CommandFailure> {
    let Some(path) = context.config_path() else {
        return Err(CommandFailure::new(
            "there is no configuration file, and a Witgate without one has no control socket; name one with `--config FILE`",
        ));
    };
    let outline = Outline::recover(&path).map_err(CommandFailure::Config)?;
    Ok(place::find(&outline.control(), &context.environment))
}

/// Prints the answer of the running Witgate: unchanged for a program, as `text` writes it for people.
pub(super) fn show<T: DeserializeOwned>(
    context: &Context,
    command: &ControlCommand,
    text: impl FnOnce(&T) -> String,
) -> Result<Exit, CommandFailure> {
    let answer = control::ask(&socket(context)?, command).map_err(CommandFailure::new)?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&answer),
        false => context.terminal.print(&text(&protocol::read(&answer).map_err(CommandFailure::new)?)),
    }
    Ok(Exit::Done)
}

/// Seconds since the Unix epoch, in readable form.
pub(super) fn time(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// The cell of a table for a value that may be missing.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
