//! The result of a check: the facts, why they matter, and the line to change.

use serde::Serialize;

/// The weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FindingLevel {
    /// It is as it should be.
    Pass,
    /// It was not examined.
    Skip,
    /// It works, and is probably not meant, or will not work for long.
    Warn,
    /// It does not work, or is not safe.
    Fail,
}

impl FindingLevel {
    /// The mark in text, of the same width for all levels.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Pass => "ok  ",
            Self::Skip => "skip",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// The place of a setting in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingPlace {
    pub(super) file: String,
    /// From 1.
    pub(super) line: usize,
}

/// One result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct CheckFinding {
    pub(super) level: FindingLevel,
    /// The facts, without any secret.
    pub(super) message: String,
    /// The consequence.
    pub(super) why: Option<String>,
    /// The advice.
    pub(super) fix: Option<String>,
    /// The setting to change.
    pub(super) place: Option<SettingPlace>,
}

impl CheckFinding {
    pub(super) fn pass(message: impl Into<String>) -> Self {
        Self::new(FindingLevel::Pass, message.into())
    }

    pub(super) fn skip(message: impl Into<String>) -> Self {
        Self::new(FindingLevel::Skip, message.into())
    }

    pub(super) fn warn(message: impl Into<String>) -> Self {
        Self::new(FindingLevel::Warn, message.into())
    }

    pub(super) fn fail(message: impl Into<String>) -> Self {
        Self::new(FindingLevel::Fail, message.into())
    }

    fn new(level: FindingLevel, message: String) -> Self {
        Self { level, message, why: None, fix: None, place: None }
    }

    /// Sets the consequence.
    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Sets the advice.
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// Sets the setting to change.
    pub(super) fn at(self, place: Option<SettingPlace>) -> Self {
        Self { place, ..self }
    }
}
