//! `[lint]`: findings of `witgate lint` that the operator accepts.

use std::fmt;

/// The code of a lint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LintCode {
    /// A pattern that covers nothing of its upstreams.
    UnknownName,
    /// A condition on an argument that the tool does not have.
    UnknownArgument,
    /// A condition whose value the input schema of the tool does not permit.
    ImpossibleValue,
    /// A condition that nothing fulfils.
    ContradictoryCondition,
    /// A condition on an argument that callers may leave out.
    OptionalArgument,
    /// A condition on one item of a list, whose other items nothing tests.
    SingleItem,
    /// A role that nobody can have.
    UnreachableRole,
    /// A rule without an effect, because another one precedes it.
    ShadowedRule,
    /// A scope that no authorization server offers.
    UnsupportedScope,
    /// A tool that is allowed, while its user interface is not.
    DeniedUi,
    /// A destructive tool that a wildcard allows.
    DestructiveWildcard,
    /// A bound that is larger than that of the upstream.
    LimitAboveUpstream,
    /// Tokens that two policies or two upstreams accept.
    OverlappingIssuers,
    /// An origin that no browser can use.
    UnusableOrigin,
}

impl LintCode {
    /// All codes.
    pub const ALL: [Self; 14] = [
        Self::UnknownName,
        Self::UnknownArgument,
        Self::ImpossibleValue,
        Self::ContradictoryCondition,
        Self::OptionalArgument,
        Self::SingleItem,
        Self::UnreachableRole,
        Self::ShadowedRule,
        Self::UnsupportedScope,
        Self::DeniedUi,
        Self::DestructiveWildcard,
        Self::LimitAboveUpstream,
        Self::OverlappingIssuers,
        Self::UnusableOrigin,
    ];

    /// The name in the configuration and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownName => "unknown-name",
            Self::UnknownArgument => "unknown-argument",
            Self::ImpossibleValue => "impossible-value",
            Self::ContradictoryCondition => "contradictory-condition",
            Self::OptionalArgument => "optional-argument",
            Self::SingleItem => "single-item",
            Self::UnreachableRole => "unreachable-role",
            Self::ShadowedRule => "shadowed-rule",
            Self::UnsupportedScope => "unsupported-scope",
            Self::DeniedUi => "denied-ui",
            Self::DestructiveWildcard => "destructive-wildcard",
            Self::LimitAboveUpstream => "limit-above-upstream",
            Self::OverlappingIssuers => "overlapping-issuers",
            Self::UnusableOrigin => "unusable-origin",
        }
    }

    /// The code with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }
}

impl fmt::Display for LintCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Findings that the operator accepts: all of a lint, or those about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintException {
    /// The lint.
    pub code: LintCode,
    /// The pattern, role, scope or other name that the findings are about. None: any.
    pub name: Option<String>,
}

impl LintException {
    /// True if it is about a finding.
    pub fn covers(&self, code: LintCode, name: &str) -> bool {
        self.code == code && self.name.as_deref().is_none_or(|own| own == name)
    }
}
