//! `witgate token forget`.

use secrecy::{ExposeSecret, SecretString};

use super::argument::token;
use crate::cli::context::Context;
use crate::cli::control::{show, socket};
use crate::cli::outcome::{CommandFailure, Exit};
use crate::control;
use crate::control::protocol::{ControlCommand, ForgottenToken};
use witgate_base::digest::{digest_text, sha256};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Token; absent or `-`: read from standard input, which keeps it out of the shell's history
    token: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    forget_and_tell(context, &token(arguments.token.as_deref())?)
}

/// Has the running Witgate forget a token, and prints the policies that did.
pub(super) fn forget_and_tell(context: &Context, token: &SecretString) -> Result<Exit, CommandFailure> {
    show(context, &command(token), |done: &ForgottenToken| match done.forgotten_by.as_slice() {
        [] => "No policy had a cached result for it; the next call asks the authorization server.".to_owned(),
        names => format!("Forgotten by {}; the next call asks the authorization server.", names.join(", ")),
    })
}

/// Has the running Witgate forget a token, if one is running.
pub(super) fn forget(context: &Context, token: &SecretString) {
    if let Ok(socket) = socket(context) {
        drop(control::ask(&socket, &command(token)));
    }
}

/// The command that Witgate gets. Only the token's digest leaves this process.
fn command(token: &SecretString) -> ControlCommand {
    ControlCommand::TokenForget { digest: digest_text(&sha256(token.expose_secret().as_bytes())) }
}
