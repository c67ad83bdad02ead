//! A check of a configuration, and what it finds.

use witgate_config::diagnostic::Diagnostic;
use witgate_config::lint::LintCode;

use super::scene::LintScene;

/// A check of a configuration.
#[derive(Clone, Copy)]
pub(super) struct LintCheck {
    pub(super) code: LintCode,
    /// The fault in a few words.
    pub(super) title: &'static str,
    /// The reason why it matters.
    pub(super) why: &'static str,
    /// The search for it.
    pub(super) find: fn(&LintScene) -> Vec<LintFinding>,
}

/// A place in the configuration, or in a file that it names, that is probably a mistake.
#[derive(Debug)]
pub(super) struct LintFinding {
    /// The pattern, role, scope or other name that it is about.
    pub(super) name: String,
    /// The message at its place.
    pub(super) remark: Diagnostic,
    /// The change that repairs it.
    pub(super) fix: String,
}

impl LintFinding {
    pub(super) fn new(name: &str, remark: Diagnostic, fix: impl Into<String>) -> Self {
        Self { name: name.to_owned(), remark, fix: fix.into() }
    }
}
