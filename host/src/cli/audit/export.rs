//! `witgate audit export`.

use std::ops::ControlFlow;

use super::filter::FilterOptions;
use super::ocsf;
use super::place::LogPlace;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_audit::select::scan;
use witgate_base::printable;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    place: LogPlace,
    #[command(flatten)]
    filter: FilterOptions,
    /// Number of the first line, to continue an earlier export
    #[arg(long, value_name = "LINE", default_value_t = 0)]
    from: u64,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let directory = arguments.place.directory(context)?;
    let take = |_: &str, entry: &serde_json::Value| {
        context.terminal.print(&printable::json(&ocsf::event(entry).to_string()));
        ControlFlow::Continue(())
    };
    scan(&directory, arguments.from, &arguments.filter.filter(), take)
        .map_err(|error| CommandFailure::new(format!("{} cannot be read: {error}", directory.display())))?;
    Ok(Exit::Done)
}
