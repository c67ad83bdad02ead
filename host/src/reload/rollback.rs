//! The rollback that is in force, kept on disk: it survives a restart, and it holds until a file changes again.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use witgate_base::cause::Cause;
use witgate_base::digest::{digest_text, sha256};
use witgate_base::whole_file;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::Outline;
use witgate_policy::generation::Recipe;

/// The file, in the directory `server.state`.
const FILE: &str = "rollback.json";

/// A rollback that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// The target of the rollback, by its number at that time.
    pub to: u64,
    /// The recipe of that generation.
    pub recipe: Recipe,
    /// The recipe of the files that the rollback overrides. Once the files say something else, the rollback is over.
    pub against: Recipe,
    /// True if the buildable part of `against` restricts it.
    #[serde(default)]
    pub restricted: bool,
}

/// The file's content. The digest detects damage that leaves valid JSON, such as another letter in a rule.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackFile {
    sha256: String,
    rollback: Rollback,
}

fn damaged(file: &Path, why: &dyn std::fmt::Display) -> Diagnostic {
    let file = file.display();
    Diagnostic::error(format!("a rollback is in force, and its file {file} cannot be read: {why}")).help(
        "Witgate does not end a rollback by itself: remove the file to use the configuration as it is, or restore a good copy of the file",
    )
}

fn unreadable_state(to: u64, error: &io::Error) -> Diagnostic {
    Diagnostic::error(format!(
        "cannot tell whether the rollback to generation {to} is still in force: {error}"
    ))
    .help("check that the configuration and its components can be read, and start again")
}

impl Rollback {
    /// The rollback that was in force for the configuration file at `path` when the last process ended, if the files
    /// are still the same.
    ///
    /// # Errors
    /// When that cannot be found out: starting from the files may be starting with what was rolled back.
    pub(crate) fn in_force(path: &Path) -> Result<Option<Self>, Diagnostic> {
        let state = match Outline::recover(path) {
            Ok(outline) => outline.state(),
            // The loader reports the faults of the file. A file that cannot be read just now is not missing.
            Err(faults) => return faults.into_iter().find(Diagnostic::may_pass).map_or(Ok(None), Err),
        };
        let Some(rollback) = Self::read(&state)? else { return Ok(None) };
        let now = written(path).map_err(|error| unreadable_state(rollback.to, &error))?;
        if rollback.against == now {
            return Ok(Some(rollback));
        }
        tracing::info!("the files have changed, so the rollback to generation {} is over", rollback.to);
        if let Err(error) = Self::remove(&state) {
            tracing::error!("cannot remove the state of the former rollback: {error}");
        }
        Ok(None)
    }

    fn read(state: &Path) -> Result<Option<Self>, Diagnostic> {
        let file = state.join(FILE);
        let text = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| damaged(&file, &error))?,
        };
        let sealed: RollbackFile = serde_json::from_slice(&text).map_err(|error| damaged(&file, &error))?;
        if sealed.sha256 != sealed.rollback.sha256() {
            return Err(damaged(&file, &"its content does not have the digest that is in it"));
        }
        Ok(Some(sealed.rollback))
    }

    fn sha256(&self) -> String {
        // The value has no map with keys other than texts, so that it can be written as JSON.
        digest_text(&sha256(&serde_json::to_vec(self).unwrap_or_default()))
    }

    /// Writes the rollback to the file: all of it, or nothing.
    pub(super) fn write(&self, state: &Path) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
        let file = state.join(FILE);
        let sealed = RollbackFile { sha256: self.sha256(), rollback: self.clone() };
        let text = serde_json::to_vec_pretty(&sealed)?;
        whole_file::replace(&file, |new| {
            new.write_all(&text)?;
            new.sync_all()
        })?;
        whole_file::sync_folder(&file)
    }

    /// Removes the file.
    pub(super) fn remove(state: &Path) -> std::io::Result<()> {
        match fs::remove_file(state.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The directory of kept components.
    pub(crate) fn components(state: &Path) -> PathBuf {
        state.join("components")
    }
}

/// The recipe in the files: the configuration at `path`, and the components that it names. A configuration that is
/// missing or is no TOML has no components.
///
/// # Errors
/// When the machine cannot read an existing file: that is no change of the files, and ends no rollback.
pub(super) fn written(path: &Path) -> io::Result<Recipe> {
    let Some(config) = read(path)? else { return Ok(Recipe::default()) };
    let mut recipe = Recipe::new(&String::from_utf8_lossy(&config));
    for file in Outline::read(path).map(|outline| outline.components()).unwrap_or_default() {
        if let Some(bytes) = read(&file)? {
            recipe.add(&file, &sha256(&bytes));
        }
    }
    Ok(recipe)
}

/// A file's content. None: there is nothing to read, or reading would never end, as with a pipe.
fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let content = fs::metadata(file).and_then(|metadata| match metadata.is_file() {
        true => fs::read(file),
        false => Err(ErrorKind::InvalidInput.into()),
    });
    match content {
        Err(error) if Cause::of(&error).may_pass() => Err(error),
        content => Ok(content.ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use witgate_testing::shortage::{is_alone, take_descriptors};

    #[test]
    fn temporarily_unreadable_files_count_as_unchanged() {
        if !is_alone("reload::rollback::tests::temporarily_unreadable_files_count_as_unchanged") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("witgate.toml");
        fs::write(&config, "[policies.rules]\nkind = \"rbac\"\ncomponent = \"rules.wasm\"\n").unwrap();
        let without = written(&config).unwrap();
        fs::write(dir.path().join("rules.wasm"), b"a component").unwrap();
        assert_ne!(written(&config).unwrap(), without);
        assert_eq!(written(&dir.path().join("missing.toml")).unwrap(), Recipe::new(""));
        assert_eq!(written(Path::new("/dev/zero")).unwrap(), Recipe::new(""), "it would never end");
        take_descriptors();
        assert!(written(&config).is_err(), "it is there, and only out of reach");
    }
}
