//! A rollback that is in force, on disk: it survives a restart, and it holds until a file changes again.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::resolve::Outline;
use crate::digest::sha256;
use crate::generation::Recipe;

/// The file, in the directory `server.state`.
const FILE: &str = "rollback.json";

/// A rollback that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The generation that was gone back to, as it was numbered then.
    pub to: u64,
    /// What that was made from.
    pub recipe: Recipe,
    /// What the files say that it holds against. Once they say something else, it is over.
    pub against: Recipe,
}

impl Rollback {
    /// The rollback that was in force for the configuration file at `path` when the last process ended, if the files
    /// still are what they were then.
    pub fn in_force(path: &Path) -> Option<Self> {
        let state = Outline::recover(path).ok()?.state();
        let rollback = Self::read(&state)?;
        if rollback.against == written(path) {
            return Some(rollback);
        }
        tracing::info!("the files have changed, so the rollback to generation {} is over", rollback.to);
        if let Err(error) = Self::remove(&state) {
            tracing::error!("the rollback that is over cannot be removed: {error}");
        }
        None
    }

    fn read(state: &Path) -> Option<Self> {
        let file = state.join(FILE);
        let text = fs::read(&file).ok()?;
        match serde_json::from_slice(&text) {
            Ok(rollback) => Some(rollback),
            Err(error) => {
                tracing::error!(
                    "{} cannot be read ({error}), so the files count as they are; remove it, or go back again",
                    file.display()
                );
                None
            }
        }
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, state: &Path) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
        let mut new = tempfile::NamedTempFile::new_in(state)?;
        serde_json::to_writer_pretty(&mut new, self)?;
        new.flush()?;
        new.as_file().sync_all()?;
        new.persist(state.join(FILE)).map_err(|error| error.error)?;
        fs::File::open(state)?.sync_all()
    }

    /// Ends it.
    pub(super) fn remove(state: &Path) -> std::io::Result<()> {
        match fs::remove_file(state.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where components are kept.
    pub fn components(state: &Path) -> PathBuf {
        state.join("components")
    }
}

/// What the configuration file at `path` says, and which components are in their places. A configuration that
/// cannot be read has none.
pub(super) fn written(path: &Path) -> Recipe {
    let mut recipe = Recipe::new(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()));
    let components = Outline::read(path).map(|outline| outline.components()).unwrap_or_default();
    for file in components {
        if let Ok(bytes) = fs::read(&file) {
            recipe.add(&file, &sha256(&bytes));
        }
    }
    recipe
}
