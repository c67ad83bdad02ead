//! The comparison of two components: `--against`.

use witgate_base::printable::clean;
use witgate_cases::OutcomeText as _;
use witgate_cases::Report;
use witgate_policy::answer::Outcome;

/// A difference between the two components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The step, from 1. None: the difference is in the settings.
    pub(super) step: Option<usize>,
    /// The answer of the component that the suite belongs to.
    pub(super) own: String,
    /// The answer of the other component.
    pub(super) other: String,
}

/// All differences between two reports of one case.
pub(super) fn differences(own: &Report, other: &Report) -> Vec<Difference> {
    let mut found = Vec::new();
    let summary = |report: &Report| match report.findings.as_slice() {
        [] => "the settings are as the case says".to_owned(),
        findings => findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    if own.findings != other.findings {
        found.push(Difference { step: None, own: summary(own), other: summary(other) });
    }
    for (index, (own, other)) in own.steps.iter().zip(&other.steps).enumerate() {
        let mut add = |own: String, other: String| {
            found.push(Difference { step: Some(index + 1), own: clean(&own), other: clean(&other) });
        };
        if !is_same(&own.asked.outcome, &other.asked.outcome) {
            add(own.asked.outcome.to_line(), other.asked.outcome.to_line());
        }
        if own.asked.http != other.asked.http {
            let sent = |findings: &[witgate_cases::Finding]| match findings {
                [] => "HTTP as the case says".to_owned(),
                findings => findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            };
            add(sent(&own.asked.http), sent(&other.asked.http));
        }
    }
    found
}

/// Compares two outcomes, without the engine's message of a failure.
fn is_same(own: &Outcome, other: &Outcome) -> bool {
    match (own, other) {
        (Outcome::Failed(own, _), Outcome::Failed(other, _)) => own == other,
        _ => own == other,
    }
}
