//! `witgate audit tail`.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use super::entries;
use super::place::LogPlace;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_audit::select::{EntryFilter, last_lines, scan};

/// The pause between two looks for new entries.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    place: LogPlace,
    /// Number of entries
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20)]
    lines: usize,
    /// Also show new entries, until the command is stopped
    #[arg(long, short)]
    follow: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let directory = arguments.place.directory(context)?;
    let failed = |error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display()));
    let (lines, mut next) = last_lines(&directory, arguments.lines).map_err(failed)?;
    for line in lines {
        entries::print(&context.terminal, &line, &serde_json::from_str(&line).unwrap_or_default());
    }
    if !arguments.follow {
        return Ok(Exit::Done);
    }
    loop {
        thread::sleep(PAUSE);
        let take = |line: &str, entry: &serde_json::Value| {
            entries::print(&context.terminal, line, entry);
            ControlFlow::Continue(())
        };
        next = scan(&directory, next, &EntryFilter::default(), take).map_err(failed)?;
    }
}
