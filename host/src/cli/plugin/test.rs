//! `witgate plugin test`: runs cases against the real component under its real limits.

mod arguments;
mod comparison;
mod coverage;
mod find;
mod json;
mod junit;
mod play;
pub(super) mod report;
mod update;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use self::find::{FindResult, Suites};
use self::play::PlayResult;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::runtime::runtime;
use crate::reload::watch::{UnwatchedFiles, Watcher};
use crate::serve::cache_directory;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::path::absolute;
use witgate_cases::schema;
use witgate_component::compile::Compiler;
use witgate_component::engine::{Engine, Places};
use witgate_component::load::Loader;

pub(in crate::cli) use self::arguments::Arguments;

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    if arguments.schema {
        context.terminal.print_json(schema());
        return Ok(Exit::Done);
    }
    let loader = loader(context)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        match arguments.watch {
            true => watch(context, arguments, &loader).await,
            false => once(context, arguments, &loader).await,
        }
    })
}

/// Makes a loader of components that names the lines of source in failures.
pub(super) fn loader(context: &Context) -> Result<Arc<Loader>, CommandFailure> {
    let engine = Engine::telling(Places::Lines).map_err(|error| CommandFailure::new(error.to_string()))?;
    Ok(Arc::new(Loader::new(engine, Compiler::own(), cache_directory(&context.environment))))
}

async fn once(
    context: &Context,
    arguments: &Arguments,
    loader: &Arc<Loader>,
) -> Result<Exit, CommandFailure> {
    let suites = match Suites::find(arguments)? {
        FindResult::Suites(suites) => suites,
        FindResult::Nothing(why) => return Ok(nothing(context, &why)),
    };
    let played = play(context, arguments, loader, &suites).await?;
    if arguments.update && update::rewrite(context, &played, arguments.yes)? {
        let again = Arguments { update: false, ..arguments.clone() };
        return Box::pin(once(context, &again, loader)).await;
    }
    if let Some(file) = &arguments.junit {
        junit::write(file, &played)?;
    }
    Ok(if played.passed() { Exit::Done } else { Exit::No })
}

/// Runs all cases once, and prints the result.
async fn play(
    context: &Context,
    arguments: &Arguments,
    loader: &Arc<Loader>,
    suites: &Suites,
) -> Result<PlayResult, CommandFailure> {
    let terminal = &context.terminal;
    let started = Instant::now();
    let report_case = |case: &play::PlayedCase| {
        if !terminal.is_json() {
            terminal.print(&report::case(case));
        }
    };
    let played = play::play(suites, loader, arguments.at_once(), report_case).await?;
    match terminal.is_json() {
        true => terminal.print_json(&json::report(&played)),
        false => terminal.print(&report::summary(&played, started.elapsed())),
    }
    Ok(played)
}

/// Prints that there was nothing to run. An empty suite proves nothing, so that it is no success.
fn nothing(context: &Context, why: &str) -> Exit {
    match context.terminal.is_json() {
        true => context.terminal.print_json(&serde_json::json!({ "ok": false, "error": why, "cases": [] })),
        false => context.terminal.print(why),
    }
    Exit::No
}

/// Runs the cases again after each change. A suite that could not run may be able to after the next change.
async fn watch(
    context: &Context,
    arguments: &Arguments,
    loader: &Arc<Loader>,
) -> Result<Exit, CommandFailure> {
    let mut watcher = Watcher::new(&UnwatchedFiles::default());
    loop {
        let mut seen = Fingerprints::default();
        watched(arguments).iter().for_each(|file| seen.note(file));
        if let Err(failure) = once(context, arguments, loader).await {
            context.terminal.failed(&failure);
        }
        context.terminal.say("\nwaiting for a change of the component or the cases; Ctrl-C ends it");
        watcher.differ(&seen).await;
    }
}

/// The files whose change starts another run, also those that could not be read.
fn watched(arguments: &Arguments) -> BTreeSet<PathBuf> {
    let named = arguments.component.iter().cloned();
    let against = arguments.against.iter().filter(|text| *text != find::BUILTIN).map(PathBuf::from);
    let found = arguments.places().into_iter().flat_map(|place| find::files(&place));
    named.chain(against).chain(found).map(|path| absolute(&path)).collect()
}
