//! `witgate upstream`: the upstreams, and the definitions of their tools, prompts and resources.

mod approve;
mod change;
mod diff;
mod shown_definitions;

use super::context::Context;
use super::control::show;
use super::outcome::{CommandFailure, Exit};
use super::terminal::{counted, table};
use crate::control::definitions::{UpstreamPins, UpstreamsReport};
use crate::control::protocol::ControlCommand;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the upstreams of the running Witgate, and how many definitions are not approved
    List,
    /// Show how the definitions of tools, prompts and resources differ from the approved ones
    Diff(diff::Arguments),
    /// Approve definitions, as they are now, in `witgate.lock`
    Approve(approve::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::List => show(context, &ControlCommand::UpstreamList, listing),
        Command::Diff(arguments) => diff::run(context, &arguments),
        Command::Approve(arguments) => approve::run(context, &arguments),
    }
}

/// The note about definitions of an upstream that are not approved, below the answer of another command. Empty: there are
/// none.
pub(super) fn not_approved(upstream: &str, pins: &str, number: usize) -> String {
    let consequence = if pins == "hold" { "neither listed nor callable" } else { "listed all the same" };
    match number {
        0 => String::new(),
        _ => format!(
            "\n\nNOT APPROVED: {} of `{upstream}`, {consequence}; `witgate upstream diff {upstream}` shows them",
            counted(number, "definition")
        ),
    }
}

fn listing(report: &UpstreamsReport) -> String {
    let row = |upstream: &UpstreamPins| {
        vec![
            upstream.name.clone(),
            upstream.pins.clone(),
            upstream.approved.to_string(),
            upstream.unapproved.to_string(),
        ]
    };
    let rows: Vec<_> = report.upstreams.iter().map(row).collect();
    table(&["UPSTREAM", "PINS", "APPROVED", "NOT_APPROVED"], &rows)
}
