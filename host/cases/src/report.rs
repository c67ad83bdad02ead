//! The reports on cases.

use std::time::Duration;

use witgate_base::cause::Cause;
use witgate_base::printable::clean;
use witgate_policy::answer::Outcome;
use witgate_services::witness::Observation;

/// A difference from the expectation of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The subject: `answer`, `http`, `log`, `host calls`, `settings`, `wants`, `secret` or `bounds`.
    pub what: &'static str,
    /// The expectation of the case.
    pub expected: String,
    /// The actual result, sanitized for a terminal.
    pub found: String,
}

impl Finding {
    /// A difference from an expectation.
    pub fn new(what: &'static str, expected: &str, found: &str) -> Self {
        Self { what, expected: clean(expected), found: clean(found) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} instead of {}", self.what, self.found, self.expected)
    }
}

/// The result of one question.
#[derive(Clone, Debug)]
pub struct QuestionReport {
    /// The answer.
    pub outcome: Outcome,
    /// The trace of the policy's host calls.
    pub observed: Observation,
    /// The wall-clock time of the question.
    pub wall: Duration,
    /// The differences in HTTP exchanges.
    pub http: Vec<Finding>,
}

/// The result of one step of a case.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The place in the file.
    pub place: Vec<String>,
    /// The result of the question.
    pub asked: QuestionReport,
    /// The differences from the expectation. Empty: there are none.
    pub findings: Vec<Finding>,
}

/// The hooks that a policy has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// True for the hook of an authenticator.
    pub authenticates: bool,
    /// True for the hook of an authorizer.
    pub authorizes: bool,
}

/// The result of a case.
#[derive(Clone, Debug)]
pub struct Report {
    /// The case.
    pub name: String,
    /// The line on which it begins.
    pub line: usize,
    /// The differences in the settings, and in the result of `configure`.
    pub findings: Vec<Finding>,
    /// The hooks of the tested policy. None of them: no policy could be built with the settings.
    pub hooks: Hooks,
    /// The steps.
    pub steps: Vec<StepReport>,
}

impl Report {
    /// True if everything was as expected.
    pub fn passed(&self) -> bool {
        self.findings.is_empty() && self.steps.iter().all(|step| step.findings.is_empty())
    }

    /// The cause of a failed case. If a hook exceeded its time, the machine may have been busy.
    pub(super) fn cause(&self) -> Cause {
        let otherwise = self.steps.iter().filter(|step| !step.findings.is_empty());
        let passing = |step: &StepReport| matches!(step.asked.outcome, Outcome::Failed(failure, _) if failure.cause().may_pass());
        match otherwise.into_iter().any(passing) {
            true => Cause::Machine,
            false => Cause::Content,
        }
    }

    /// All differences, with the number of the step if there are several.
    pub fn problems(&self) -> Vec<String> {
        let several = self.steps.len() > 1;
        let of_step = |(number, step): (usize, &StepReport)| {
            let at = if several { format!("step {number}: ") } else { String::new() };
            step.findings.iter().map(|finding| format!("{at}{finding}")).collect::<Vec<_>>()
        };
        let steps = (1..).zip(&self.steps).flat_map(of_step);
        self.findings.iter().map(ToString::to_string).chain(steps).collect()
    }
}
