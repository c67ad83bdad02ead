//! Puts a table to whatever runs a policy.

use std::future::Future;
use std::sync::Arc;

use witgate::policy::cases::{Ask, Expect, Outcome};
use witgate_plugin::{ConfigError, Decision, Verdict, Wants};

use super::host::{Cache, FakeHost};
use super::table::{Case, ConfigFault, Step, Table, Wanted};

/// Something that runs policies: natively, or as components.
pub trait Subject: Sync {
    /// One configured instance.
    type Configured: Send + Sync;

    /// Configures the case's policy: `case.kind` under the name `case.policy` with `case.config`.
    fn configure(
        &self,
        case: &Case,
    ) -> impl Future<Output = Result<(Self::Configured, Wants), ConfigError>> + Send;

    /// Puts `step.ask` about `step.call` to the hook that it is for. Whatever the policy asks of
    /// its host meanwhile, `host` answers.
    fn ask(
        &self,
        configured: &Self::Configured,
        step: &Step,
        host: Arc<FakeHost>,
    ) -> impl Future<Output = Outcome> + Send;
}

/// Runs all cases and says which went wrong, and how.
pub async fn run<S: Subject>(subject: &S, table: &Table) -> Vec<String> {
    let mut failures = Vec::new();
    for case in &table.cases {
        for problem in run_case(subject, case).await {
            failures.push(format!("{:?}: {}: {problem}", case.kind, case.name));
        }
    }
    failures
}

async fn run_case<S: Subject>(subject: &S, case: &Case) -> Vec<String> {
    let (configured, wants) = match (subject.configure(case).await, &case.config_error) {
        (Ok(configured), None) => configured,
        (Err(error), Some(fault)) => return refused_rightly(&error, fault),
        (Ok(_), Some(_)) => return vec!["the settings were taken".to_owned()],
        (Err(error), None) => return vec![format!("the settings were refused: {error}")],
    };
    let mut problems = case.wants.as_ref().map_or_else(Vec::new, |wanted| wanted_rightly(&wants, wanted));
    let cache = Cache::default();
    for (number, step) in (1..).zip(&case.steps) {
        let host = Arc::new(FakeHost::new(case, step, &wants, &cache));
        let outcome = subject.ask(&configured, step, Arc::clone(&host)).await;
        let found =
            [answered_rightly(&outcome, &step.expect), kept_secret(&outcome, step, &host), host.problems()];
        problems.extend(found.concat().into_iter().map(|problem| format!("step {number}: {problem}")));
    }
    problems
}

fn refused_rightly(error: &ConfigError, fault: &ConfigFault) -> Vec<String> {
    let right = error.pointer == fault.pointer
        && error.message.contains(&fault.message)
        && fault.never.as_ref().is_none_or(|never| !error.message.contains(never));
    unless(right, || format!("{error:?} instead of {fault:?}"))
}

fn wanted_rightly(wants: &Wants, wanted: &Wanted) -> Vec<String> {
    let right = wanted.arguments.is_none_or(|own| own == wants.data.arguments)
        && wanted.claims.is_none_or(|own| own == wants.data.claims)
        && (wanted.credential_header.is_none() || wanted.credential_header == wants.credential_header);
    unless(right, || format!("{wants:?} instead of {wanted:?}"))
}

fn answered_rightly(outcome: &Outcome, expect: &Expect) -> Vec<String> {
    expect.judge(outcome).err().into_iter().collect()
}

/// No answer and no log line holds the credential, and every text keeps its bounds.
fn kept_secret(outcome: &Outcome, step: &Step, host: &FakeHost) -> Vec<String> {
    let said = format!("{outcome:?} {:?}", host.logged());
    let mut problems = Vec::new();
    if let Ask::Who { value, .. } = &step.ask {
        let last = value.rsplit('.').next().unwrap_or(value);
        let leaks = |part: &str| part.len() >= 8 && said.contains(part);
        problems
            .extend(unless(!leaks(value) && !leaks(last), || "the answer holds the credential".to_owned()));
    }
    let (reason, detail) = match outcome {
        Outcome::Verdict(Verdict::Refused(refusal)) => (refusal.reason.as_str(), refusal.detail.as_deref()),
        Outcome::Decision(Decision::Deny(denial)) => (denial.reason.as_str(), denial.detail.as_deref()),
        _ => ("none", None),
    };
    let kebab =
        reason.chars().all(|c| c.is_ascii_lowercase() || c == '-') && (1..=64).contains(&reason.len());
    problems.extend(unless(kebab, || format!("`{reason}` is no reason code")));
    problems.extend(unless(detail.is_none_or(|d| d.len() <= 1024), || "too long a detail".to_owned()));
    problems
}

fn unless(right: bool, problem: impl FnOnce() -> String) -> Vec<String> {
    if right { Vec::new() } else { vec![problem()] }
}
