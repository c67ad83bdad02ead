//! The directory of tools that a build sets up, and the lock with which one of two builds at once waits for
//! the other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{announce, run};

/// Some 50 MB from PyPI or npm, unpacked on a slow disk.
pub(crate) const INSTALL: Duration = Duration::from_secs(900);

/// A directory for tools and for what builds share.
#[derive(Clone, Debug)]
pub struct Tools {
    dir: PathBuf,
}

impl Tools {
    /// Kept below `dir`, which is made where it is missing.
    pub fn below(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// A directory below, which is there.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        Ok(dir)
    }

    /// Nobody else sets something up while this is held.
    pub(crate) fn lock(&self) -> Result<File> {
        let file = self.directory("")?.join("lock");
        let lock = File::create(&file).with_context(|| format!("{} cannot be written", file.display()))?;
        lock.lock()?;
        Ok(lock)
    }

    /// Sets something up that is not there: in a directory beside, which takes its place once it is whole.
    pub(crate) fn install(
        &self,
        name: &str,
        what: &str,
        by: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        announce(&format!("set-up: {what} (once, into {})", dir.display()));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        by(&dir).inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        Ok(dir)
    }
}

/// As [`run`] for an installation.
pub(crate) fn set_up(command: &mut Command) -> Result<()> {
    run(command, INSTALL).map(drop)
}
