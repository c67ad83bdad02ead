//! `witgate audit`.

mod check;
mod entries;
mod export;
mod filter;
mod ocsf;
mod place;
mod prove;
mod query;
mod show;
mod tail;
mod verify;

pub(super) use self::place::LogPlace;
use super::context::Context;
use super::outcome::{CommandFailure, Exit};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check every line of the audit log against its chain, its tree and its signed checkpoints
    Verify(verify::Arguments),
    /// Make the proof of one line, which can be checked without the log
    Prove(prove::Arguments),
    /// Check a proof with the public key of the log
    Check(check::Arguments),
    /// Show the entries of one decision, or one line
    Show(show::Arguments),
    /// Show the last entries
    Tail(tail::Arguments),
    /// Find entries by subject, tool, outcome, reason, time or generation
    Query(query::Arguments),
    /// Write entries as OCSF events, one JSON object in each line
    Export(export::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Verify(arguments) => verify::run(context, &arguments),
        Command::Prove(arguments) => prove::run(context, &arguments),
        Command::Check(arguments) => check::run(context, &arguments),
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Tail(arguments) => tail::run(context, &arguments),
        Command::Query(arguments) => query::run(context, &arguments),
        Command::Export(arguments) => export::run(context, &arguments),
    }
}
