//! `witgate plugin`.

mod allow_access;
mod bench;
mod build;
mod diff;
pub(super) mod export;
mod inspect;
mod list;
mod new_project;
mod plugin_argument;
mod project;
mod record;
mod rollback;
mod run;
mod test;

use super::context::Context;
use super::outcome::{CommandFailure, Exit};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a plugin project with source, test cases, the WIT interface and a README
    New(new_project::Arguments),
    /// Build the component of a project and validate it against its WIT world
    Build(build::Arguments),
    /// Write the shipped components to files
    Export(export::Arguments),
    /// List the policies of the running Witgate with components, fallbacks, call counts and failures
    List,
    /// Return to an earlier generation (set of live policies); keys and secrets stay as they are
    Rollback {
        /// Generation number (see `plugin list`) [default: the latest one that differs from the live one]
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        /// Go back also if somebody gains access and `reload.no_new_access` refuses that
        #[arg(long)]
        allow_new_access: bool,
    },
    /// Let the change go live that `reload.no_new_access` has refused
    AllowAccess {
        /// The name of the change, which the refusal has (see `plugin list`)
        change: String,
    },
    /// List calls where policies with `mode = "shadow"` disagree with the enforced result
    Diff,
    /// Run one hook of a component, and trace it step by step
    Run(Box<run::Arguments>),
    /// Measure the latency of a hook, cold and warm, and compare it with a built-in
    Bench(bench::Arguments),
    /// Record the calls of a running Witgate's policy as test cases, without credentials and secrets
    Record(record::Arguments),
    /// Run test cases against a component, under its real limits
    Test(test::Arguments),
    /// Show a plugin's description, its imports, and the schema of its settings
    Inspect {
        /// Component file, configured policy, or kind such as `rbac`
        plugin: String,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::New(arguments) => new_project::run(context, arguments),
        Command::Build(arguments) => build::run(context, &arguments),
        Command::Export(arguments) => export::run(context, &arguments),
        Command::List => list::run(context),
        Command::Rollback { to, allow_new_access } => rollback::run(context, to, allow_new_access),
        Command::AllowAccess { change } => allow_access::run(context, change),
        Command::Diff => diff::run(context),
        Command::Run(arguments) => run::run(context, &arguments),
        Command::Bench(arguments) => bench::run(context, &arguments),
        Command::Record(arguments) => record::run(context, &arguments),
        Command::Test(arguments) => test::run(context, &arguments),
        Command::Inspect { plugin } => inspect::run(context, &plugin),
    }
}
