//! Cases: the expected results of certain calls. A plugin's author runs them with `witgate plugin test`; an operator's
//! cases run for each candidate before it goes live. Both use one format, and the real check under its real limits,
//! with test doubles that the case defines.
//!
//! [`Suite::read`] reads [`Case`]s from a file, and [`TestSubject::put`] makes a [`Report`] of each. For single
//! questions, [`TestSubject::on_stage`] makes the policy, and [`SandboxPolicy::ask`] returns its answer and its trace.

#![forbid(unsafe_code)]

mod case;
mod checks;
mod exchange;
mod expect;
pub mod factory;
mod format;
mod reader;
pub mod record;
mod report;
mod stage;
#[cfg(test)]
mod tests;
mod token;

use std::path::Path;
use std::sync::Arc;

use witgate_plugin::Digest;

use witgate_base::fingerprints::Fingerprints;
use witgate_component::settings::Surroundings;
use witgate_config as config;
use witgate_policy::Policy;
use witgate_policy::make::{MadePolicy, MakeError, MakeInputs, PolicyError};

pub(crate) use case::DIGEST;
pub use case::{Case, CaseCall, CaseSettings, HookQuestion, HostState, Question, Step, Suite};
pub use checks::scheme_name;
pub use exchange::Exchange;
pub(crate) use exchange::{auth, verb};
pub use expect::{Expect, ExpectIdentity, ExpectUnavailable, OutcomeText};
pub use reader::CasesError;
pub use report::{Finding, Hooks, QuestionReport, Report, StepReport};
pub use stage::{PreparedQuestion, SandboxError, SandboxPolicy, TestSubject};

use self::stage::SandboxSettings;
pub use format::{ConfigFault, ExpectedWants, Principal, ProofThumbprints, schema};

/// Builds the policy that `config` describes, and runs its cases.
///
/// # Errors
/// With the first fault.
pub async fn make_rehearsed(
    config: &config::Policy,
    making: MakeInputs<'_>,
) -> Result<MadePolicy, PolicyError> {
    let (policy, mut files) = Policy::make(config, making).await?;
    // A rollback's policies passed their cases when they first went live. Cases that were written since must not
    // prevent it.
    if let (Some(path), None) = (&config.cases, making.repeated)
        && let Err(unmade) = rehearse(config, path, making, policy.digest(), &mut files).await
    {
        return Err(unmade.of(config, files));
    }
    Ok((policy, files))
}

/// Runs the cases in the file at `path` against the policy that `config` describes.
///
/// # Errors
/// With the first case that fails, or the fault of the file.
async fn rehearse(
    config: &config::Policy,
    path: &Path,
    making: MakeInputs<'_>,
    digest: Option<Digest>,
    files: &mut Fingerprints,
) -> Result<(), MakeError> {
    files.note(path);
    let suite = Suite::read(path)?;
    for case in &suite.cases {
        let report = match candidate(config, &suite, case, making, files).await {
            // The tested component has to be the one that goes live.
            Ok(on_stage) if on_stage.policy().digest() != digest => {
                return Err("the component was replaced while it was checked".into());
            }
            Ok(on_stage) => on_stage.play(case).await,
            // A failure of the machine is never the expected result.
            Err(unmade) if unmade.cause.may_pass() => return Err(unmade),
            Err(unmade) => case.refused(&unmade),
        };
        if !report.passed() {
            let why = report.problems().join("; ");
            let message = format!("case \"{}\" in {}: {why}", case.name, path.display());
            return Err(MakeError { cause: report.cause(), ..message.into() });
        }
    }
    tracing::debug!(policy = %config.name, "{} cases went as they should", suite.cases.len());
    Ok(())
}

/// The policy that `config` describes, in a sandbox with the settings of a case. Its keys, limits and grants are its
/// own, unless the case has others.
async fn candidate(
    config: &config::Policy,
    suite: &Suite,
    case: &Case,
    making: MakeInputs<'_>,
    files: &mut Fingerprints,
) -> Result<SandboxPolicy, MakeError> {
    let own = config::Policy {
        config: case.settings.over(&config.config),
        limits: case.limits.unwrap_or(config.limits),
        ..config.clone()
    };
    let HostState { keys, secrets } = &*case.held;
    let mut all = making.around.keys.clone();
    all.extend(keys.clone());
    let environment = stage::environment(making.around.secrets.environment(), secrets);
    let secrets = making.around.secrets.with_environment(environment);
    let around = Surroundings {
        // Files are relative to the file that names them.
        dir: if case.settings.base.is_some() { suite.dir() } else { making.around.dir },
        keys: &all,
        secrets: &secrets,
        on_stage: true,
        ..making.around
    };
    let staging = SandboxSettings { now: case.now, grants_everything: false, witness: Some(Arc::default()) };
    SandboxPolicy::make(&own, MakeInputs { around, ..making }, staging, files).await
}
