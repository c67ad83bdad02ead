//! `witgate token`.

mod argument;
mod forget;
mod issue;
mod revoke;
mod verify;

pub(super) use self::verify::judge;
use super::context::Context;
use super::outcome::{CommandFailure, Exit};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Sign a JSON Web Token with a key of the configuration, and print it
    Issue(Box<issue::Arguments>),
    /// Drop the cached results for a token in the running Witgate, so that the next call asks the authorization server
    Forget(forget::Arguments),
    /// Check a token with the configured policies, and show the identity or the reason for a refusal
    Verify(verify::Arguments),
    /// Revoke a token before it expires
    Revoke(revoke::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Issue(arguments) => issue::run(context, &arguments),
        Command::Forget(arguments) => forget::run(context, &arguments),
        Command::Verify(arguments) => verify::run(context, &arguments),
        Command::Revoke(arguments) => revoke::run(context, &arguments),
    }
}

#[cfg(test)]
pub(super) fn issue_for_test(context: &Context, arguments: &[&str]) -> Result<String, CommandFailure> {
    #[derive(clap::Parser)]
    struct IssueOptions {
        #[command(flatten)]
        arguments: issue::Arguments,
    }
    let only: IssueOptions =
        clap::Parser::try_parse_from(arguments).map_err(|error| CommandFailure::new(error.to_string()))?;
    issue::issue(context, &only.arguments).map(|issued| issued.token)
}
