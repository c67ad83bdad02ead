//! The rules of a configuration and of its stores, each with its place.

use std::fmt;
use std::sync::Arc;

use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::remark_in;
use witgate_plugin::{Pattern, TargetKind};
use witgate_rbac::settings::{Annotation, Condition};

/// A text with rules: that of the configuration, or of a store.
pub(super) struct RuleSource {
    /// The name in reports.
    pub(super) name: String,
    pub(super) text: String,
}

/// The place of a setting.
#[derive(Clone)]
pub(in crate::cli) struct RulePlace {
    source: Arc<RuleSource>,
    at: Vec<String>,
}

impl RulePlace {
    pub(super) fn new(source: &Arc<RuleSource>, at: &[&str]) -> Self {
        Self { source: Arc::clone(source), at: at.iter().map(|step| (*step).to_owned()).collect() }
    }

    /// The place of a setting below this one.
    pub(in crate::cli) fn below(&self, steps: &[&str]) -> Self {
        let at = self.at.iter().cloned().chain(steps.iter().map(|step| (*step).to_owned())).collect();
        Self { source: Arc::clone(&self.source), at }
    }

    /// The file and the line.
    pub(in crate::cli) fn position(&self) -> String {
        let line = self.remark("", "").position().map_or(1, |(line, _)| line);
        format!("{}:{line}", self.source.name)
    }

    /// A remark about the setting, with `label` at the caret.
    pub(super) fn remark(&self, message: &str, label: &str) -> Diagnostic {
        let at: Vec<_> = self.at.iter().map(String::as_str).collect();
        remark_in((&self.source.name, &self.source.text), &at, message, label)
    }
}

/// The use of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum PatternUse {
    Allow,
    Deny,
    Scopes,
    Condition,
    Limit,
    Argument,
    Needs,
    Owns,
}

/// As the verb of a sentence, whose subject is the pattern.
impl fmt::Display for PatternUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allows",
            Self::Deny => "denies",
            Self::Scopes => "requires scopes for",
            Self::Condition => "is a condition on",
            Self::Limit => "limits",
            Self::Argument => "takes a credential out of",
            Self::Needs => "requires credentials for",
            Self::Owns => "keeps the name of",
        })
    }
}

/// A pattern at its place.
#[derive(Clone)]
pub(in crate::cli) struct PlacedPattern {
    pub(in crate::cli) text: String,
    pub(in crate::cli) pattern: Pattern,
    pub(in crate::cli) usage: PatternUse,
    pub(in crate::cli) place: RulePlace,
    /// The upstreams whose calls it is about.
    pub(in crate::cli) upstreams: Arc<[String]>,
}

impl PlacedPattern {
    /// The pattern. None: it is invalid, which `witgate check` reports.
    pub(super) fn new(
        text: &str,
        usage: PatternUse,
        place: RulePlace,
        upstreams: &Arc<[String]>,
    ) -> Option<Self> {
        let pattern = text.parse().ok()?;
        Some(Self { text: text.to_owned(), pattern, usage, place, upstreams: Arc::clone(upstreams) })
    }

    /// The patterns of a list.
    pub(super) fn list(
        texts: &[String],
        usage: PatternUse,
        place: &RulePlace,
        upstreams: &Arc<[String]>,
    ) -> Vec<Self> {
        let placed = |(index, text): (usize, &String)| {
            Self::new(text, usage, place.below(&[&index.to_string()]), upstreams)
        };
        texts.iter().enumerate().filter_map(placed).collect()
    }
}

/// The owner of patterns.
pub(in crate::cli) enum RuleOwner {
    /// A role of an `rbac` policy.
    Role(String),
    /// An entry of a store: its kind, `key` or `user`, and its name.
    Entry(&'static str, String),
}

/// As a part of a sentence, such as "the role `user`".
impl fmt::Display for RuleOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(f, "the role `{name}`"),
            Self::Entry(kind, name) => write!(f, "the {kind} `{name}`"),
        }
    }
}

/// The patterns of a role of an `rbac` policy, or of an entry in a store.
pub(in crate::cli) struct RuleSet {
    pub(in crate::cli) owner: RuleOwner,
    /// The policy.
    pub(in crate::cli) policy: String,
    /// Its own patterns.
    pub(in crate::cli) allow: Vec<PlacedPattern>,
    pub(in crate::cli) deny: Vec<PlacedPattern>,
    /// Those of the roles that it inherits from.
    pub(in crate::cli) inherited_allow: Vec<PlacedPattern>,
    pub(in crate::cli) inherited_deny: Vec<PlacedPattern>,
    pub(in crate::cli) upstreams: Arc<[String]>,
}

impl RuleSet {
    /// All patterns that deny.
    pub(super) fn every_deny(&self) -> impl Iterator<Item = &PlacedPattern> {
        self.deny.iter().chain(&self.inherited_deny)
    }

    /// True if one of the patterns denies a target.
    pub(super) fn denies(&self, kind: TargetKind, name: &str) -> bool {
        self.every_deny().any(|pattern| pattern.pattern.matches(kind, name))
    }

    /// True if the patterns allow a target. Conditions do not count.
    pub(super) fn allows(&self, kind: TargetKind, name: &str) -> bool {
        let mut every = self.allow.iter().chain(&self.inherited_allow);
        every.any(|pattern| pattern.pattern.matches(kind, name)) && !self.denies(kind, name)
    }
}

/// A condition of an `rbac` policy at its place.
pub(super) struct PlacedCondition {
    pub(super) condition: Condition,
    pub(super) on: Pattern,
    pub(super) place: RulePlace,
    pub(super) policy: String,
    /// None: it is for all callers.
    pub(super) role: Option<String>,
    pub(super) upstreams: Arc<[String]>,
}

impl PlacedCondition {
    /// The name of what it tests.
    pub(super) fn subject(&self) -> &str {
        let Condition { argument, claim, annotation, .. } = &self.condition;
        let annotation = annotation.map(Annotation::name);
        argument.as_deref().or(claim.as_deref()).or(annotation).unwrap_or_default()
    }
}
