//! `witgate token forget`.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::argument::token;
use crate::cli::context::Context;
use crate::cli::control::socket;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::control;
use witgate_base::digest::{digest_text, sha256};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Token; absent or `-`: read from standard input, which keeps it out of the shell's history
    token: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    forget_and_tell(context, &token(arguments.token.as_deref())?)
}

/// Has the running Witgate forget a token. Only the token's digest leaves this process.
pub(super) fn forget(context: &Context, token: &SecretString) -> Result<Value, CommandFailure> {
    let digest = digest_text(&sha256(token.expose_secret().as_bytes()));
    let command = control::Command::TokenForget { digest };
    control::ask(&socket(context)?, &command).map_err(CommandFailure::new)
}

/// The same, and says who did.
pub(super) fn forget_and_tell(context: &Context, token: &SecretString) -> Result<Exit, CommandFailure> {
    let done = forget(context, token)?;
    if context.terminal.is_json() {
        context.terminal.print_json(&done);
        return Ok(Exit::Done);
    }
    let names = done.get("forgotten_by").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    context.terminal.print(&match names.as_slice() {
        [] => {
            "No policy remembered anything about it; the next call asks the authorization server.".to_owned()
        }
        names => format!("Forgotten by {}; the next call asks the authorization server.", names.join(", ")),
    });
    Ok(Exit::Done)
}
