//! A configuration with its surroundings, which is examined.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finding::SettingPlace;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::environment::Environment;
use witgate_config::resolve::{LoadedConfig, Strictness, load, load_parts, remark_in};
use witgate_config::{Config, Network};
use witgate_services::network::Ways;

/// A configuration, and what its checks share.
#[derive(Debug)]
pub(super) struct Installation {
    /// The usable parts of the configuration.
    pub(super) config: Config,
    /// The variables of this process, with those of `--env-file`.
    pub(super) environment: Environment,
    /// The connections by `[network]`.
    pub(super) ways: Arc<Ways>,
    /// True if nothing may be asked over the network, and no server started.
    pub(super) is_offline: bool,
}

impl Installation {
    /// Loads the usable parts of the configuration, with the faults of the others and all warnings.
    ///
    /// # Errors
    /// With the faults, if nothing is usable.
    pub(super) fn load(
        path: Option<&Path>,
        environment: &Environment,
        is_offline: bool,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let LoadedConfig { config, warnings, faults } = load_usable(path, environment)?;
        let ways = config.network.as_ref().map_or_else(Ways::closed, |network: &Network| Ways::new(network));
        let noticed = faults.into_iter().chain(warnings).collect();
        let environment = environment.clone();
        Ok((Self { config, environment, ways, is_offline }, noticed))
    }

    /// The configuration once more, for a check that changes it.
    pub(super) fn config_again(&self) -> Option<Config> {
        load_usable(self.config.path.as_deref(), &self.environment).ok().map(|loaded| loaded.config)
    }

    /// The place of a setting in the configuration file, or of the table that would contain it. None: there is no file.
    pub(super) fn place(&self, at: &[&str]) -> Option<SettingPlace> {
        let file = self.config.path.as_ref()?.display().to_string();
        let (line, _) = remark_in((&file, &self.config.text), at, "", "").position()?;
        Some(SettingPlace { file, line })
    }

    /// The absolute form of a path in the configuration.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.config.dir().join(written)
    }
}

fn load_usable(path: Option<&Path>, environment: &Environment) -> Result<LoadedConfig, Vec<Diagnostic>> {
    match path {
        Some(path) => load_parts(path, environment, Strictness::Parts),
        None => load(None, environment),
    }
}

/// Helpers of the tests of checks.
#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An installation in a directory of its own, with this configuration.
    pub(in crate::cli::doctor) fn installed(text: &str) -> (tempfile::TempDir, Installation) {
        installed_with(text, &[], Environment::default())
    }

    /// The same, with further files and an environment.
    pub(in crate::cli::doctor) fn installed_with(
        text: &str,
        files: &[(&str, &str)],
        environment: Environment,
    ) -> (tempfile::TempDir, Installation) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.toml");
        std::fs::write(&path, text).unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let loaded = Installation::load(Some(&path), &environment, false);
        let (installation, _) = loaded.unwrap_or_else(|faults| panic!("{faults:?}"));
        (folder, installation)
    }

    /// A pipeline that lets everybody do everything.
    pub(in crate::cli::doctor) const OPEN: &str = "\n[pipeline]\nanonymous = { roles = ['all'] }\n\
        authorize = ['roles']\n[policies.roles]\nkind = 'rbac'\nconfig.roles.all = { allow = ['*'] }\n";

    #[test]
    fn a_place_is_the_line_of_the_setting_or_of_its_table() {
        let (_folder, installation) = installed(&format!("[upstreams.a]\nown_tools = true\n{OPEN}"));
        let line = |at: &[&str]| installation.place(at).map(|place| place.line);
        assert_eq!(line(&["upstreams", "a", "own_tools"]), Some(2));
        assert_eq!(line(&["upstreams", "a", "credential"]), Some(1));
    }
}
