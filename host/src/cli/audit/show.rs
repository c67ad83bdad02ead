//! `witgate audit show`.

use std::ops::ControlFlow;

use super::place::LogPlace;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_audit::proof::LineChoice;
use witgate_audit::select::{EntryFilter, scan};
use witgate_base::printable;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Number of the line, or id of the decision
    #[arg(value_name = "LINE|ID")]
    line: String,
    #[command(flatten)]
    place: LogPlace,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let directory = arguments.place.directory(context)?;
    let choice = LineChoice::of(&arguments.line);
    let (from, member) = match &choice {
        LineChoice::Number(number) => (*number, ("seq", number.to_string())),
        LineChoice::Decision(id) => (0, ("id", id.clone())),
    };
    let filter = EntryFilter { members: vec![(member.0.to_owned(), member.1)], ..EntryFilter::default() };
    let mut found = 0;
    let take = |line: &str, entry: &serde_json::Value| {
        match context.terminal.is_json() {
            true => context.terminal.print(&printable::json(line)),
            false => context.terminal.print(&printable::json(&format!("{entry:#}"))),
        }
        found += 1;
        match choice {
            LineChoice::Number(_) => ControlFlow::Break(()),
            // A stream has two entries: that it was allowed, and that it ended.
            LineChoice::Decision(_) => ControlFlow::Continue(()),
        }
    };
    scan(&directory, from, &filter, take)
        .map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display())))?;
    if found == 0 {
        context.terminal.say(&format!("there is no {choice} in the audit"));
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}
