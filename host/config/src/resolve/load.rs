//! The result of a resolution: a configuration with its warnings, or its faults.

use crate::diagnostic::{Diagnostic, Part};
use crate::{BrokenParts, Config, Upstream};

/// A usable configuration.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The configuration.
    pub config: Config,
    /// Settings that are valid but probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Errors in parts of the configuration. Empty unless parts were requested.
    pub faults: Vec<Diagnostic>,
}

/// The treatment of a configuration with faults in some parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Only a configuration without faults is loaded.
    Whole,
    /// A configuration with faults in single policies, keys and upstreams is loaded as well.
    Parts,
}

pub(super) fn finish(
    config: Option<Config>,
    mut faults: Vec<Diagnostic>,
    strictness: Strictness,
) -> Result<LoadedConfig, Vec<Diagnostic>> {
    faults.sort_by_key(Diagnostic::position);
    let is_tolerable = |fault: &Diagnostic| match strictness {
        Strictness::Whole => !fault.is_error(),
        Strictness::Parts => !fault.is_error() || fault.part().is_some(),
    };
    let Some(config) = config.filter(|_| faults.iter().all(is_tolerable)) else { return Err(faults) };
    let (faults, warnings): (Vec<_>, _) = faults.into_iter().partition(Diagnostic::is_error);
    let broken = broken(&faults, &config.upstreams);
    let network = config.network.filter(|_| !broken.network);
    Ok(LoadedConfig { config: Config { broken, network, ..config }, warnings, faults })
}

fn broken(faults: &[Diagnostic], upstreams: &[Upstream]) -> BrokenParts {
    let mut broken = BrokenParts::default();
    for fault in faults {
        match fault.part() {
            Some(Part::Policy(name)) => {
                broken.policies.entry(name.clone()).or_insert_with(|| fault.to_string());
            }
            Some(Part::Upstream(name)) => drop(broken.upstreams.insert(name.clone())),
            Some(Part::Pipeline(name)) => drop(broken.pipelines.insert(name.clone())),
            // Whoever uses it is not forwarded to without it.
            Some(Part::Credential(name)) => {
                let users = upstreams.iter().filter(|upstream| upstream.credentials.names.contains(name));
                broken.upstreams.extend(users.map(|upstream| upstream.name.clone()));
            }
            Some(Part::Network) => broken.network = true,
            // A policy with this key reports the fault.
            Some(Part::Key(_)) | None => {}
        }
    }
    broken
}
