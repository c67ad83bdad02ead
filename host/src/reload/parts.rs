//! The usable parts of a configuration.

use super::attempt::RefusalReason;
use witgate_config::Config;
use witgate_config::diagnostic::{Diagnostic, Part};
use witgate_config::resolve::LoadedConfig;

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
