//! The outcome of one check.

use super::finding::CheckFinding;
use super::http_probe::ClockReading;

/// The findings of a check, and the clocks that it has seen on its way.
#[derive(Debug, Default)]
pub(super) struct CheckOutcome {
    pub(super) findings: Vec<CheckFinding>,
    pub(super) clocks: Vec<ClockReading>,
}

impl CheckOutcome {
    /// Adds the findings and clocks of another outcome.
    pub(super) fn extend(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.clocks.extend(other.clocks);
    }
}

impl From<Vec<CheckFinding>> for CheckOutcome {
    fn from(findings: Vec<CheckFinding>) -> Self {
        Self { findings, clocks: Vec::new() }
    }
}

impl From<CheckFinding> for CheckOutcome {
    fn from(finding: CheckFinding) -> Self {
        vec![finding].into()
    }
}

impl FromIterator<Self> for CheckOutcome {
    fn from_iter<I: IntoIterator<Item = Self>>(outcomes: I) -> Self {
        let mut all = Self::default();
        outcomes.into_iter().for_each(|outcome| all.extend(outcome));
        all
    }
}
