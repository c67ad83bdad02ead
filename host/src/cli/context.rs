//! The context of a command: its options, streams and environment.

use std::path::{Path, PathBuf};

use super::outcome::CommandFailure;
use super::terminal::Terminal;
use witgate_config::env_file::EnvFile;
use witgate_config::environment::Environment;
use witgate_config::resolve::{LoadedConfig, load};

/// Options and streams that every command shares.
pub(super) struct Context {
    pub(super) config: Option<PathBuf>,
    pub(super) environment: Environment,
    pub(super) terminal: Terminal,
}

impl Context {
    /// The path of the configuration file: from the flag, else from `WITGATE_CONFIG`, else `witgate.toml` if it
    /// exists. None: there is no file, and the environment alone counts.
    pub(super) fn config_path(&self) -> Option<PathBuf> {
        let here = || Some(PathBuf::from(DEFAULT_CONFIG)).filter(|path| path.exists());
        let named = || self.environment.get("WITGATE_CONFIG").map(PathBuf::from);
        self.config.clone().or_else(named).or_else(here)
    }

    /// Adds the variables of a file.
    pub(super) fn read_env_file(&mut self, file: &Path) -> Result<(), CommandFailure> {
        let mut read = EnvFile::read(file).map_err(|fault| CommandFailure::Config(vec![fault]))?;
        for warning in std::mem::take(&mut read.warnings) {
            self.terminal.say(&format!("warning: {warning}"));
        }
        self.environment = self.environment.with(read);
        Ok(())
    }

    pub(super) fn load(&self) -> Result<LoadedConfig, CommandFailure> {
        load(self.config_path().as_deref(), &self.environment).map_err(CommandFailure::Config)
    }
}

/// The configuration file if neither the flag nor the environment names one.
pub(super) const DEFAULT_CONFIG: &str = "witgate.toml";
