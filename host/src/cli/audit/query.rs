//! `witgate audit query`.

use std::ops::ControlFlow;

use super::entries;
use super::filter::FilterOptions;
use super::place::LogPlace;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_audit::select::scan;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    place: LogPlace,
    #[command(flatten)]
    filter: FilterOptions,
    /// Number of entries after which to stop
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let directory = arguments.place.directory(context)?;
    let mut found = 0;
    let take = |line: &str, entry: &serde_json::Value| {
        entries::print(&context.terminal, line, entry);
        found += 1;
        if arguments.limit.is_some_and(|limit| found >= limit) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    scan(&directory, 0, &arguments.filter.filter(), take)
        .map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display())))?;
    Ok(if found > 0 { Exit::Done } else { Exit::No })
}
