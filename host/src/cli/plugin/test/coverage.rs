//! Coverage of a suite: the kinds of answers and the reason codes that the plugin gave. Nobody can list the reason
//! codes that a plugin might give. The kinds of answers of its hooks are known, so that missing ones can be listed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::play::PlayedCase;
use witgate_cases::OutcomeText as _;

/// The answers of an authenticator.
const WHO: [&str; 3] = ["identity", "not_mine", "refused"];

/// The answers of an authorizer.
const MAY: [&str; 2] = ["allow", "denied"];

/// Answers and reason codes, with the number of times that the plugin gave each.
#[derive(Default)]
pub(super) struct Coverage {
    answers: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<(&'static str, String), u64>,
    expected: BTreeSet<&'static str>,
}

impl Coverage {
    /// The coverage by all cases.
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

    /// Kinds of answers that the hooks have and that no case has caused.
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
