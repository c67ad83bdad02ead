//! `witgate audit show`.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value};

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
    let unreadable = |error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display()));
    let mut entries = Vec::new();
    let take = |_: &str, entry: &Value| {
        entries.push(entry.clone());
        match choice {
            LineChoice::Number(_) => ControlFlow::Break(()),
            // A stream has two entries: that it was allowed, and that it ended.
            LineChoice::Decision(_) => ControlFlow::Continue(()),
        }
    };
    scan(&directory, from, &filter, take).map_err(unreadable)?;
    if entries.is_empty() {
        context.terminal.say(&format!("there is no {choice} in the audit"));
        return Ok(Exit::No);
    }
    for entry in entries {
        let entry = decided_with(&directory, entry).map_err(unreadable)?;
        match context.terminal.is_json() {
            true => context.terminal.print(&printable::json(&entry.to_string())),
            false => context.terminal.print(&printable::json(&format!("{entry:#}"))),
        }
    }
    Ok(Exit::Done)
}

/// The entry of a decision, with the digests of its configuration and of its components: those of the entry `start` or
/// `reload` of its generation. An entry of another kind is unchanged.
fn decided_with(directory: &Path, mut entry: Value) -> io::Result<Value> {
    let (generation, number) = (entry.get("generation").cloned(), entry.get("seq").and_then(Value::as_u64));
    let is_decision = entry.get("kind").and_then(Value::as_str) == Some("decision");
    let (Some(generation), Some(number), true) = (generation, number, is_decision) else { return Ok(entry) };
    let content = generation_entry(directory, &generation, last_start(directory, number)?)?;
    if let (Some(content), Value::Object(members)) = (content, &mut entry) {
        let named =
            ["seq", "config_digest", "policies"].map(|name| (name.to_owned(), content.get(name).cloned()));
        let shown = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        members.insert("decided_with".to_owned(), shown.collect::<Map<_, _>>().into());
    }
    Ok(entry)
}

/// The number of the last entry `start` before the line `number`. Each process counts its generations from one.
fn last_start(directory: &Path, number: u64) -> io::Result<u64> {
    let filter =
        EntryFilter { members: vec![("kind".to_owned(), "start".to_owned())], ..EntryFilter::default() };
    let mut last = 0;
    scan(directory, 0, &filter, |_, entry| {
        let at = entry.get("seq").and_then(Value::as_u64).filter(|at| *at < number);
        last = at.unwrap_or(last);
        if at.is_some() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(last)
}

/// The first entry about the content of a generation, from the line `from` on. A decision may be written before it.
fn generation_entry(directory: &Path, generation: &Value, from: u64) -> io::Result<Option<Value>> {
    let members = vec![("generation".to_owned(), generation.to_string())];
    let filter = EntryFilter { members, ..EntryFilter::default() };
    let mut found = None;
    scan(directory, from, &filter, |_, entry| match entry.get("config_digest") {
        Some(_) => {
            found = Some(entry.clone());
            ControlFlow::Break(())
        }
        None => ControlFlow::Continue(()),
    })?;
    Ok(found)
}
