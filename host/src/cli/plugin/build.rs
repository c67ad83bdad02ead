//! `witgate plugin build`: makes a component from a plugin's source.

use std::path::{Path, PathBuf};

use serde_json::json;
use witgate_build::{BuildOutput, Error, Options, Project, Tools};

use super::project::{self, failure};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::serve::cache_directory;
use witgate_base::digest::{digest_text, sha256};
use witgate_base::path::absolute;
use witgate_config::environment::Environment;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Directory of the project
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Keep function names, source lines and standard error, for traces of failures
    #[arg(long)]
    debug: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let project = project::open(&arguments.dir)?;
    let tools = tools(&context.environment)?;
    let options = Options { debug: arguments.debug };
    let built = match witgate_build::build(&project, options, &tools) {
        Ok(built) => built,
        // A fault of the source is the answer of this command, and no failure to run.
        Err(Error::Source(what)) => return Ok(refused(context, &what)),
        Err(error) => return Err(failure(&error)),
    };
    report(context, &arguments.dir, &project, &built);
    Ok(Exit::Done)
}

/// The directory for tools: `WITGATE_TOOLS`, else the cache directory.
fn tools(environment: &Environment) -> Result<Tools, CommandFailure> {
    let own = environment.get("WITGATE_TOOLS").map(PathBuf::from);
    let cached = || cache_directory(environment).map(|cache| cache.join("tools"));
    own.or_else(cached).map(Tools::below).ok_or_else(|| {
        CommandFailure::new("there is no directory for tools: set HOME, or name one by WITGATE_TOOLS")
    })
}

fn refused(context: &Context, what: &str) -> Exit {
    let terminal = &context.terminal;
    match terminal.is_json() {
        true => terminal.print_json(&json!({ "ok": false, "error": what })),
        false => terminal.say(&format!("witgate: {what}")),
    }
    Exit::No
}

fn report(context: &Context, dir: &Path, project: &Project, built: &BuildOutput) {
    let terminal = &context.terminal;
    if !built.warnings.is_empty() {
        terminal.say(&built.warnings);
    }
    let file = dir.join(format!("{}.wasm", project.name));
    let digest = digest_text(&sha256(&built.bytes));
    if terminal.is_json() {
        return terminal.print_json(&json!({
            "ok": true,
            "path": absolute(&file),
            "size": built.bytes.len(),
            "digest": digest,
            "world": project.world.name(),
            "imports": built.surface.imports,
            "exports": built.surface.exports,
            "built_with": built.with,
            "seconds": built.took.as_secs_f64(),
            "warnings": Some(&built.warnings).filter(|said| !said.is_empty()),
        }));
    }
    let file = file.strip_prefix(".").unwrap_or(&file);
    terminal.print(&format!("{} fits the world {}", file.display(), project.world.name()));
    let rows = [
        ("size", size(built.bytes.len())),
        ("digest", digest),
        ("imports", imports(&built.surface.imports)),
        ("built", format!("in {:.1} s with {}", built.took.as_secs_f64(), built.with)),
    ];
    for (name, value) in rows {
        terminal.print(&format!("  {name:<9}{value}"));
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", bytes.div_ceil(1000)),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Imports in one line: those of Witgate by their short names, those of the system as a number, since there are many
/// and all are stubs.
fn imports(names: &[String]) -> String {
    let own = names.iter().filter_map(|name| name.strip_prefix("witgate:auth/")?.split('@').next());
    let mut shown: Vec<&str> = own.collect();
    if names.iter().any(|name| name.starts_with("wasi:")) {
        shown.push("wasi (stubs)");
    }
    match shown.is_empty() {
        true => "nothing".to_owned(),
        false => shown.join(", "),
    }
}
