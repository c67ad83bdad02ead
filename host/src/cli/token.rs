//! `witgate token`.

mod issue;
mod verify;

use super::{Context, Exit, Failure};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Sign a token with a key of the configuration, and print it
    Issue(issue::Arguments),
    /// Say whether the configured policies take a token, and why not
    Verify(verify::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Issue(arguments) => issue::run(context, &arguments),
        Command::Verify(arguments) => verify::run(context, &arguments),
    }
}
