//! The directory of the tools that a build installs, and the lock with which builds wait for each other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{announce, run};

/// Time limit for an installation of some 50 MB from PyPI or npm on a slow disk.
pub(crate) const INSTALL: Duration = Duration::from_secs(900);

/// A directory for tools and for the shared files of builds.
#[derive(Clone, Debug)]
pub struct Tools {
    dir: PathBuf,
}

impl Tools {
    /// The tools in `dir`, which is created if it is missing.
    pub fn below(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// A directory below, which is created if it is missing.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// The lock for installations: no other build installs anything while it is held.
    pub(crate) fn lock(&self) -> Result<File> {
        let file = self.directory("")?.join("lock");
        let lock = File::create(&file).with_context(|| format!("{} cannot be written", file.display()))?;
        lock.lock()?;
        Ok(lock)
    }

    /// Installs a tool if it is missing. It is installed into a temporary directory, which is renamed when it is
    /// complete.
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
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        by(&dir).inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        Ok(dir)
    }
}

/// As [`run`] for an installation.
pub(crate) fn set_up(command: &mut Command) -> Result<()> {
    run(command, INSTALL).map(drop)
}
