//! The configuration to serve: that of the file, or of the rollback that was in force.

use std::path::Path;

use crate::reload::rollback::Rollback;
use witgate_config::Config;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::environment::Environment;
use witgate_config::resolve::{self, Strictness};

/// Loads the configuration to serve: the file at `path` (none: the environment), or the rollback that was in force
/// when the last process ended, even if the file is broken by now.
///
/// # Errors
/// With everything that is wrong with the configuration.
pub(crate) fn load(
    path: Option<&Path>,
    environment: &Environment,
) -> Result<(resolve::LoadedConfig, Option<Rollback>), Vec<Diagnostic>> {
    let rollback = path.map_or(Ok(None), Rollback::in_force).map_err(|fault| vec![fault])?;
    if let (Some(path), Some(rollback)) = (path, rollback) {
        let to = rollback.to;
        let loaded =
            resolve::load_text(path, rollback.recipe.config(), environment).map_err(|mut faults| {
                faults.insert(0, unrepeatable(to));
                faults
            })?;
        tracing::warn!("ROLLBACK: the inputs of generation {to} are in force instead of the files");
        return Ok((loaded, Some(rollback)));
    }
    let faults = match resolve::load(path, environment) {
        Ok(loaded) => return Ok((loaded, None)),
        Err(faults) => faults,
    };
    let parts = path.map(|path| resolve::load_parts(path, environment, Strictness::Parts));
    match parts {
        Some(Ok(loaded)) => usable_parts(loaded).map(|loaded| (loaded, None)).ok_or(faults),
        _ => Err(faults),
    }
}

/// The usable parts of a configuration with several upstreams, if at least one upstream is not affected by the faults:
/// a fault closes its own upstreams alone.
fn usable_parts(mut loaded: resolve::LoadedConfig) -> Option<resolve::LoadedConfig> {
    let Config { upstreams, broken, .. } = &mut loaded.config;
    if upstreams.len() < 2 {
        return None;
    }
    upstreams.retain(|upstream| !broken.upstreams.contains(&upstream.name));
    let is_whole = |upstream: &witgate_config::Upstream| {
        let pipeline = &upstream.pipeline;
        let policies = pipeline.authenticate.iter().chain(&pipeline.authorize);
        !broken.pipelines.contains(&upstream.name)
            && policies.into_iter().all(|name| !broken.policies.contains_key(name))
    };
    if !upstreams.iter().any(is_whole) {
        return None;
    }
    for fault in &loaded.faults {
        tracing::error!("{fault}; the upstreams that need it are closed, and the others are served");
    }
    Some(loaded)
}

fn unrepeatable(to: u64) -> Diagnostic {
    Diagnostic::error(format!(
        "a rollback to generation {to} is in force, and its configuration cannot be used"
    ))
    .help("correct the following, or remove `rollback.json` in the state directory to use the files as they are")
}
