//! Coverage of a suite: kinds of answers and reason codes that the plugin gave. Nobody can list the reason
//! codes that a plugin might give; what it never gave, of the kinds that its hooks have, can be told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::play::PlayedCase;
use witgate_cases::OutcomeText as _;

/// The answers of an authenticator.
const WHO: [&str; 3] = ["identity", "not_mine", "refused"];

/// The answers of an authorizer.
const MAY: [&str; 2] = ["allow", "denied"];

/// Answers and reason codes that were given, and how often.
#[derive(Default)]
pub(super) struct Coverage {
    answers: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<(&'static str, String), u64>,
    expected: BTreeSet<&'static str>,
}

impl Coverage {
    /// Of all cases.
    pub(super) fn of(cases: &[PlayedCase]) -> Self {
        let mut coverage = Self::default();
        for case in cases {
            let hooks = case.report.hooks;
            coverage.expected.extend(hooks.authenticates.then_some(WHO).into_iter().flatten());
            coverage.expected.extend(hooks.authorizes.then_some(MAY).into_iter().flatten());
            for step in &case.report.steps {
                let (answer, reason) = step.asked.outcome.class();
                *coverage.answers.entry(answer).or_default() += 1;
                if let Some(reason) = reason {
                    *coverage.reasons.entry((answer, reason.to_owned())).or_default() += 1;
                }
            }
        }
        coverage
    }

    /// Kinds of answers that its hooks have and that no case has brought about.
    pub(super) fn never(&self) -> Vec<&'static str> {
        self.expected.iter().filter(|answer| !self.answers.contains_key(*answer)).copied().collect()
    }

    pub(super) fn json(&self) -> Value {
        let reasons = self
            .reasons
            .iter()
            .map(|((answer, reason), count)| json!({ "answer": answer, "reason": reason, "count": count }));
        json!({ "answers": self.answers, "reasons": reasons.collect::<Vec<_>>(), "never": self.never() })
    }

    pub(super) fn text(&self) -> String {
        let answers = self.answers.iter().map(|(answer, count)| {
            let own = self.reasons.iter().filter(|((of, _), _)| of == answer);
            let reasons: Vec<_> = own.map(|((_, reason), count)| format!("{reason} {count}")).collect();
            match reasons.is_empty() {
                true => format!("  {answer} {count}"),
                false => format!("  {answer} {count}: {}", reasons.join(", ")),
            }
        });
        let mut lines: Vec<_> = ["answers seen:".to_owned()].into_iter().chain(answers).collect();
        if !self.never().is_empty() {
            lines.push(format!("no case brings about: {}", self.never().join(", ")));
        }
        lines.join("\n")
    }
}
