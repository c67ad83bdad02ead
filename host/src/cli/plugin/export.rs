//! `witgate plugin export`: writes the shipped components to files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use witgate_build::guest::SHIPPED;

use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_base::digest::{digest_text, sha256};
use witgate_base::path::absolute;
use witgate_base::whole_file;
use witgate_policy::shipped_components;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Components to write [default: all]
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(SHIPPED))]
    kinds: Vec<String>,
    /// Target directory, created if missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Overwrite existing files with these names; a running Witgate swaps to them at once
    #[arg(long)]
    force: bool,
}

/// A component on disk.
pub(in crate::cli) struct ExportedComponent {
    kind: &'static str,
    path: PathBuf,
    digest: String,
    /// True if the same file was there already.
    same: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let wanted = |kind: &str| arguments.kinds.is_empty() || arguments.kinds.iter().any(|it| it == kind);
    let exported = export(&arguments.to, wanted, arguments.force)?;
    let terminal = &context.terminal;
    if terminal.is_json() {
        let components: Vec<Value> = exported.iter().map(ExportedComponent::json).collect();
        terminal.print_json(&json!({ "components": components }));
        return Ok(Exit::Done);
    }
    for ExportedComponent { path, digest, same, .. } in &exported {
        let note = if *same { "  (unchanged)" } else { "" };
        terminal.print(&format!("{}  {digest}{note}", path.display()));
    }
    terminal.say(
        "\nTo use one, write `component = \"FILE\"` in a policy of the same kind. With `fallback = \"builtin\"`, the built-in decides if the component fails.",
    );
    Ok(Exit::Done)
}

/// Writes the components whose kind is `wanted` into `directory`. Without `force`, the command writes nothing if a
/// file with one of the names holds another component.
pub(in crate::cli) fn export(
    directory: &Path,
    wanted: impl Fn(&str) -> bool,
    force: bool,
) -> Result<Vec<ExportedComponent>, CommandFailure> {
    let all = shipped_components::components().map_err(CommandFailure::new)?;
    let chosen = all.iter().filter(|(kind, _)| wanted(kind));
    let chosen: Vec<_> =
        chosen.map(|(kind, bytes)| (ExportedComponent::of(directory, kind, bytes), *bytes)).collect();
    let other = |it: &ExportedComponent| !it.same && it.path.symlink_metadata().is_ok();
    if let Some((other, _)) = chosen.iter().find(|(it, _)| !force && other(it)) {
        return Err(CommandFailure::new(format!(
            "{} exists already, and differs from this program's component; `--force` overwrites it",
            other.path.display()
        )));
    }
    for (exported, bytes) in chosen.iter().filter(|(it, _)| !it.same) {
        write(&exported.path, bytes).map_err(|error| {
            CommandFailure::new(format!("{} cannot be written: {error}", exported.path.display()))
        })?;
    }
    Ok(chosen.into_iter().map(|(exported, _)| exported).collect())
}

impl ExportedComponent {
    fn of(directory: &Path, kind: &'static str, bytes: &[u8]) -> Self {
        let path = directory.join(format!("{kind}.wasm"));
        let same = std::fs::read(&path).is_ok_and(|present| present == bytes);
        Self { kind, path, digest: digest_text(&sha256(bytes)), same }
    }

    /// The result for programs.
    pub(in crate::cli) fn json(&self) -> Value {
        json!({ "kind": self.kind, "path": absolute(&self.path), "digest": self.digest })
    }
}

/// Replaces the file atomically: a reader, such as a running Witgate, sees either the old content or the new one.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(directory)?;
    whole_file::replace(path, |new| {
        new.write_all(bytes)?;
        // Everybody may read a component, as with the output of a compiler.
        #[cfg(unix)]
        new.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        Ok(())
    })
}
