//! `witgate plugin run`: asks a component one question, and traces its work.

mod arguments;
mod execution;
mod report;

use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::runtime::runtime;

pub(in crate::cli) use self::arguments::Arguments;

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let mut cast = arguments.of.cast()?;
    if let Some(now) = arguments.now.or_else(|| cast.case.steps.is_empty().then(arguments::present)) {
        cast.case.now = now;
    }
    let credential = arguments.credential(&context.environment)?;
    let ran = runtime()?.block_on(execution::ran(context, arguments, &cast, credential))?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&report::json(&ran)),
        false => context.terminal.print(&report::text(&ran)),
    }
    Ok(if ran.is_yes() { Exit::Done } else { Exit::No })
}
