//! A difference for people, and as JSON. `docs/diff.md` describes the members.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::access::difference::{AccessChange, AccessDifference, ComparisonExtent};
use crate::cli::terminal::counted;

/// The version of the JSON form. Members are only added to it.
const VERSION: u64 = 1;

/// The most classes of arguments that a line shows.
const MOST_CLASSES: usize = 3;

/// A difference with what the reader has to know about it.
pub(super) struct DifferenceReport {
    pub(super) difference: AccessDifference,
    /// The assumptions.
    pub(super) notes: Vec<String>,
}

impl DifferenceReport {
    pub(super) fn to_json(&self) -> Value {
        let AccessDifference { gained, lost, counts, extent, left_out } = &self.difference;
        let list = |changes: &[AccessChange]| changes.iter().map(AccessChange::to_json).collect::<Vec<_>>();
        json!({
            "version": VERSION,
            "counts": { "gained": counts.gained, "lost": counts.lost },
            "gained": list(gained),
            "lost": list(lost),
            "principals": extent.principals,
            "targets": extent.targets,
            "questions": extent.questions,
            "complete": self.difference.is_complete(),
            "left_out": left_out,
            "notes": self.notes,
        })
    }

    pub(super) fn text(&self) -> String {
        let AccessDifference { gained, lost, counts, extent, left_out } = &self.difference;
        let ComparisonExtent { principals, targets, questions } = *extent;
        let mut text = format!(
            "{} ({}, {}, {questions} questions to each side)",
            self.difference.summary(),
            counted(principals, "principal"),
            counted(targets, "target"),
        );
        for (title, changes, count) in [("gained", gained, counts.gained), ("lost", lost, counts.lost)] {
            text.push_str(&section(title, changes, count));
        }
        for what in left_out {
            let _ = write!(text, "\n\nNOT COMPARED: {what}");
        }
        text
    }
}

/// The changes of one direction, by principal.
fn section(title: &str, changes: &[AccessChange], count: usize) -> String {
    let mut text = String::new();
    let mut last = None;
    for change in changes {
        let of = (change.kind, &change.principal, &change.upstream);
        if last != Some(of) {
            let AccessChange { kind, principal, upstream, .. } = change;
            let _ = write!(text, "\n\n{title} by {kind} {principal} at {upstream}");
            last = Some(of);
        }
        let _ = write!(text, "\n  {}  {}  ({})", change.target, classes(&change.arguments), change.refusal);
    }
    if changes.len() < count {
        let _ = write!(text, "\n\n{title}: {} more", count - changes.len());
    }
    text
}

/// The classes of arguments in one line.
fn classes(arguments: &[Option<Value>]) -> String {
    let shown = |arguments: &Option<Value>| match arguments {
        Some(arguments) => arguments.to_string(),
        None => "without arguments".to_owned(),
    };
    let mut classes: Vec<_> = arguments.iter().take(MOST_CLASSES).map(shown).collect();
    if arguments.len() > MOST_CLASSES {
        classes.push(format!("and {} more", arguments.len() - MOST_CLASSES));
    }
    classes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::difference::DifferenceCounts;

    #[test]
    fn changes_are_shown_by_principal() {
        let change = |principal: &str, target: &str, arguments: Vec<Option<Value>>| AccessChange {
            upstream: "bank".to_owned(),
            kind: "key",
            principal: principal.to_owned(),
            target: target.to_owned(),
            arguments,
            refusal: "roles: condition".to_owned(),
        };
        let amount = |amount: u64| Some(json!({ "amount": amount }));
        let difference = AccessDifference {
            gained: vec![
                change("ada", "pay", (1..=5).map(amount).collect()),
                change("ada", "refund", vec![None]),
            ],
            lost: vec![change("eve", "pay", vec![None])],
            counts: DifferenceCounts { gained: 3, lost: 1 },
            extent: ComparisonExtent { principals: 2, targets: 1, questions: 9 },
            left_out: vec!["a half".to_owned()],
        };
        let report = DifferenceReport { difference, notes: Vec::new() };
        let expected = "3 gained, 1 lost (2 principals, 1 target, 9 questions to each side)\n\n\
            gained by key ada at bank\n  \
              pay  {\"amount\":1}, {\"amount\":2}, {\"amount\":3}, and 2 more  (roles: condition)\n  \
              refund  without arguments  (roles: condition)\n\n\
            gained: 1 more\n\n\
            lost by key eve at bank\n  pay  without arguments  (roles: condition)\n\n\
            NOT COMPARED: a half";
        assert_eq!(report.text(), expected);
        assert_eq!(report.to_json()["complete"], false);
    }
}
