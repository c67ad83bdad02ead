//! The cache of compiled components.

use std::path::Path;

use super::finding::CheckFinding;
use super::installation::Installation;
use crate::serve::cache_directory;
use witgate_component::engine::Engine;
use witgate_component::load::examine_cache;

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    if installation.config.policies.values().all(|policy| policy.component.is_none()) {
        return Vec::new();
    }
    vec![match cache_directory(&installation.environment) {
        Some(directory) => of_directory(&directory),
        None => CheckFinding::warn("there is no directory for compiled components")
            .because("each start compiles all components, which takes seconds")
            .fix("set `WITGATE_CACHE` to a directory that only the user of Witgate can write"),
    }]
}

fn of_directory(directory: &Path) -> CheckFinding {
    let engine = match Engine::new() {
        Ok(engine) => engine,
        Err(error) => {
            return CheckFinding::fail(format!("WebAssembly does not run on this machine: {error}"))
                .because("no component can decide")
                .fix("use the built-in policies: leave `component` out");
        }
    };
    match (examine_cache(directory, &engine), directory.display()) {
        (Ok(0), shown) => {
            CheckFinding::pass(format!("{shown} has nothing of this version yet: the first start compiles"))
        }
        (Ok(count), shown) => {
            CheckFinding::pass(format!("{shown} has {count} compiled components of this version"))
        }
        (Err(why), _) => CheckFinding::warn(format!("compiled components cannot be kept: {why}"))
            .because("each start compiles all components, which takes seconds")
            .fix("set `WITGATE_CACHE` to a directory that only the user of Witgate can write"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::*;

    #[test]
    fn a_new_directory_passes_and_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("witgate");
        assert_eq!(of_directory(&cache).level, FindingLevel::Pass);
        assert!(!cache.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_a_warning() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = of_directory(file.path());
        assert_eq!(finding.level, FindingLevel::Warn, "{finding:?}");
    }
}
