//! `witgate audit`.

mod check;
mod entries;
mod export;
mod filter;
mod ocsf;
mod prove;
mod query;
mod show;
mod tail;
mod verify;

use std::path::{Path, PathBuf};

use super::context::{Context, DEFAULT_CONFIG};
use super::outcome::{CommandFailure, Exit};
use witgate_audit::note::CheckpointKey;
use witgate_audit::{PUBLIC_KEY_FILE, public_keys};
use witgate_config::resolve::Outline;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check every line of the audit log against its chain, its tree and its signed checkpoints
    Verify(verify::Arguments),
    /// Make the proof of one line, which can be checked without the log
    Prove(prove::Arguments),
    /// Check a proof with the public key of the log
    Check(check::Arguments),
    /// Show the entries of one decision, or one line
    Show(show::Arguments),
    /// Show the last entries
    Tail(tail::Arguments),
    /// Find entries by subject, tool, outcome, reason, time or generation
    Query(query::Arguments),
    /// Write entries as OCSF events, one JSON object in each line
    Export(export::Arguments),
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Verify(arguments) => verify::run(context, &arguments),
        Command::Prove(arguments) => prove::run(context, &arguments),
        Command::Check(arguments) => check::run(context, &arguments),
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Tail(arguments) => tail::run(context, &arguments),
        Command::Query(arguments) => query::run(context, &arguments),
        Command::Export(arguments) => export::run(context, &arguments),
    }
}

/// The directory of the log.
#[derive(Debug, clap::Args)]
struct LogPlace {
    /// Directory of the log [default: `audit.directory` of the configuration]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl LogPlace {
    fn directory(&self, context: &Context) -> Result<PathBuf, CommandFailure> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => configured(context, |audit| audit.directory.as_ref())?.ok_or_else(|| {
                CommandFailure::new(
                    "nothing says where the audit log is; name it with `--directory DIR`, or set `directory` under `[audit]`",
                )
            }),
        }
    }
}

/// A path under `[audit]` of the configuration. No secret is read, so that the log can be examined by others.
fn configured(
    context: &Context,
    setting: impl Fn(&witgate_config::raw::Audit) -> Option<&String>,
) -> Result<Option<PathBuf>, CommandFailure> {
    let path = context.config_path().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
    if !path.exists() && context.config.is_none() {
        return Ok(None);
    }
    let outline = Outline::recover(&path).map_err(CommandFailure::Config)?;
    let written = outline.file.audit.as_ref().and_then(setting);
    Ok(written.map(|written| outline.base.join(written)))
}

/// The public keys in these files, or those in the directory of the log.
fn keys(files: &[PathBuf], directory: &Path) -> Result<Vec<CheckpointKey>, CommandFailure> {
    let own = [directory.join(PUBLIC_KEY_FILE)];
    let files = if files.is_empty() { own.as_slice() } else { files };
    let mut keys = Vec::new();
    for file in files {
        let read = public_keys(file);
        keys.extend(read.map_err(|error| {
            CommandFailure::new(format!("{}: the public key cannot be used: {error}", file.display()))
        })?);
    }
    Ok(keys)
}
