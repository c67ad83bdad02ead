//! `witgate token`.

mod issue;
mod verify;

use super::{Context, Exit, Failure};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Sign a token with a key of the configuration, and print it
    Issue(Box<issue::Arguments>),
    /// Say whether the configured policies take a token, and why not
    Verify(verify::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Issue(arguments) => issue::run(context, &arguments),
        Command::Verify(arguments) => verify::run(context, &arguments),
    }
}

#[cfg(test)]
pub(super) fn issue_for_test(context: &Context, arguments: &[&str]) -> Result<String, Failure> {
    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        arguments: issue::Arguments,
    }
    let only: Only =
        clap::Parser::try_parse_from(arguments).map_err(|error| Failure::new(error.to_string()))?;
    issue::issue(context, &only.arguments).map(|issued| issued.token)
}
