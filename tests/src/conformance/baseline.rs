//! Differences that are known, each with its reason.

use std::{collections::BTreeSet, fmt, fs};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::{Status, directory};

/// The entries of `tests/conformance/baseline.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    #[serde(default)]
    expected: Vec<Expected>,
}

/// A check with another outcome through Witgate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The requirement set of the run.
    pub revision: String,
    /// The scenario of the check.
    pub scenario: String,
    /// The upstream that the entry is for, `http` or `child`. None: both.
    pub upstream: Option<String>,
    /// The check, numbered as in [`super::Check::id`].
    pub check: String,
    /// The outcome.
    pub through: Outcome,
    /// The reason.
    pub reason: String,
}

/// The outcome of a check in one of two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "RawOutcome")]
pub enum Outcome {
    /// The check ran, with this verdict.
    Ran(Status),
    /// The check ran only in the other run.
    Missing,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawOutcome {
    Ran(Status),
    Missing(Missing),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Missing {
    Missing,
}

impl From<RawOutcome> for Outcome {
    fn from(raw: RawOutcome) -> Self {
        match raw {
            RawOutcome::Ran(status) => Self::Ran(status),
            RawOutcome::Missing(Missing::Missing) => Self::Missing,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran(status) => status.fmt(formatter),
            Self::Missing => formatter.write_str("missing"),
        }
    }
}

impl Baseline {
    /// The committed baseline.
    ///
    /// # Errors
    /// When it cannot be read or [parsed](Self::parse).
    pub fn installed() -> anyhow::Result<Self> {
        let file = directory().join("baseline.toml");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Self::parse(&text).with_context(|| file.display().to_string())
    }

    /// A baseline from its text.
    ///
    /// # Errors
    /// When the format is wrong, an entry has no reason, or two entries are about the same check.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let baseline: Self = toml::from_str(text)?;
        let mut seen = BTreeSet::new();
        for entry in &baseline.expected {
            let check = (&entry.revision, &entry.upstream, &entry.scenario, &entry.check);
            ensure!(!entry.reason.trim().is_empty(), "{check:?} has no reason");
            if !seen.insert(check) {
                bail!("{check:?} is listed twice");
            }
        }
        Ok(baseline)
    }

    /// The entries for one requirement set, before one upstream.
    pub fn of(&self, revision: &str, upstream: &str) -> Vec<Expected> {
        let concerns = |entry: &&Expected| {
            entry.revision == revision && entry.upstream.as_deref().is_none_or(|only| only == upstream)
        };
        self.expected.iter().filter(concerns).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
        [[expected]]
        revision = "2026-07-28"
        scenario = "s"
        check = "c#2"
        through = "FAILURE"
        reason = "It cannot be otherwise."
    "#;

    #[test]
    fn the_committed_baseline_is_valid() {
        Baseline::installed().unwrap();
    }

    #[test]
    fn entries_belong_to_one_revision() {
        let baseline = Baseline::parse(ENTRY).unwrap();
        let [entry] = baseline.of("2026-07-28", "http").try_into().unwrap();
        assert_eq!(entry.through, Outcome::Ran(Status::Failure));
        assert_eq!(baseline.of("2025-11-25", "http"), []);
        let of_child = Baseline::parse(&format!("{ENTRY}\nupstream = \"child\"")).unwrap();
        assert_eq!(
            (of_child.of("2026-07-28", "http").len(), of_child.of("2026-07-28", "child").len()),
            (0, 1)
        );
        let missing = Baseline::parse(&ENTRY.replace("FAILURE", "missing")).unwrap();
        assert_eq!(missing.of("2026-07-28", "http")[0].through, Outcome::Missing);
    }

    #[test]
    fn an_entry_needs_a_reason_a_known_outcome_and_a_unique_name() {
        let invalid = [
            ENTRY.replace("It cannot be otherwise.", " "),
            ENTRY.replace("reason", "# reason"),
            ENTRY.replace("FAILURE", "BROKEN"),
            ENTRY.replace("scenario", "scenery"),
            ENTRY.repeat(2),
        ];
        for text in invalid {
            assert!(Baseline::parse(&text).is_err(), "accepted: {text}");
        }
    }
}
