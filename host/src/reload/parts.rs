//! The usable parts of a configuration, and its upstreams compared with those that are served.

use super::attempt::RefusalReason;
use witgate_config::Config;
use witgate_config::diagnostic::{Diagnostic, Part};
use witgate_config::resolve::LoadedConfig;
use witgate_policy::generation::Generation;

/// The configuration, and the faults of parts of it.
pub(super) fn usable(
    loaded: Result<LoadedConfig, Vec<Diagnostic>>,
) -> Result<(Config, Vec<RefusalReason>), Vec<RefusalReason>> {
    let reasons = |faults: &[Diagnostic]| {
        faults.iter().filter(|fault| fault.is_error()).map(RefusalReason::from).collect()
    };
    match loaded {
        Ok(LoadedConfig { config, mut faults, .. }) => {
            // The faults of a policy are reported when it is to be made. One without a kind is never made.
            let is_to_be_made = |name: &String| config.policies.contains_key(name);
            faults.retain(|fault| !matches!(fault.part(), Some(Part::Policy(name)) if is_to_be_made(name)));
            Ok((config, reasons(&faults)))
        }
        Err(faults) => Err(reasons(&faults)),
    }
}

/// Removed and added upstreams, as reasons. Upstreams are made at the start: a removed one is closed at once; an added
/// one waits for the next start.
pub(super) fn other_upstreams(config: &Config, live: &Generation) -> Vec<RefusalReason> {
    let is_written = |name: &str| {
        config.broken.upstreams.contains(name) || config.upstreams.iter().any(|written| written.name == name)
    };
    let runs = |name: &str| live.pipelines().iter().any(|pipeline| &*pipeline.upstream == name);
    let removed =
        live.pipelines().iter().map(|pipeline| &*pipeline.upstream).filter(|name| !is_written(name));
    let removed = removed.map(|name| {
        format!("the upstream `{name}` was removed or renamed, so that its calls are denied until a restart")
    });
    let added = config.upstreams.iter().map(|written| &*written.name).filter(|name| !runs(name));
    let added = added.map(|name| format!("the upstream `{name}` was added, and is served after a restart"));
    removed.chain(added).map(|message| RefusalReason { policy: None, message, may_pass: false }).collect()
}

/// Puts upstreams into the order of the live generation. Upstreams and listeners are made at the start: no rollback
/// returns to a generation with others.
pub(super) fn in_order(config: &mut Config, live: &Generation) -> Result<(), Vec<RefusalReason>> {
    let running = || live.pipelines().iter().map(|pipeline| &*pipeline.upstream);
    config.upstreams.sort_by_key(|upstream| running().position(|name| name == upstream.name));
    if config.upstreams.iter().map(|upstream| &*upstream.name).eq(running()) {
        return Ok(());
    }
    let message = "its upstreams differ from those that are served, which needs a restart".to_owned();
    Err(vec![RefusalReason { policy: None, message, may_pass: false }])
}
