//! Targets that stand for the patterns of rules: for each pattern a name that it covers, and for each two patterns a name
//! that both may cover. They show where two sets of rules differ, whatever an upstream lists.

use std::collections::BTreeSet;

use serde_json::Value;
use witgate_message::call::Target;
use witgate_message::names;
use witgate_plugin::Pattern;

use super::known_principals::keys;
use super::scene::DecisionScene;
use super::written_rules::WrittenRules;
use witgate_cases::CaseCall;

/// The text in the place of a `*`.
const ANYTHING: &str = "x";

/// The most patterns of which each two are combined.
const MOST_COMBINED: usize = 48;

/// The targets, as patterns write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleTargets {
    pub(crate) names: BTreeSet<String>,
    /// True if not all patterns are combined with each other.
    pub(crate) is_cut: bool,
}

/// The patterns in the rules and key stores of a configuration.
pub(crate) fn patterns(scene: DecisionScene<'_>, place: usize) -> BTreeSet<String> {
    let mut patterns = BTreeSet::new();
    for rules in scene.config.policies.values().filter_map(WrittenRules::of) {
        let settings = rules.settings();
        for role in settings.roles.values() {
            patterns.extend(role.allow.iter().chain(&role.deny).cloned());
            patterns.extend(role.conditions.iter().map(|condition| condition.on.clone()));
        }
        patterns.extend(settings.conditions.iter().map(|condition| condition.on.clone()));
        patterns.extend(settings.scopes.keys().cloned());
    }
    for (_, key) in keys(scene, place) {
        patterns.extend(key.allow.into_iter().chain(key.deny));
    }
    let configured =
        scene.config.policies.values().filter_map(|policy| policy.config.get("keys")?.as_array());
    for key in configured.flatten() {
        let lists = ["allow", "deny"].into_iter().filter_map(|name| key.get(name)?.as_array());
        patterns.extend(lists.flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    patterns
}

impl RuleTargets {
    /// The targets for these patterns.
    pub(crate) fn of(patterns: &BTreeSet<String>) -> Self {
        let patterns: Vec<_> = patterns.iter().filter_map(|text| PrefixedGlob::of(text)).collect();
        let mut targets = Self { is_cut: patterns.len() > MOST_COMBINED, ..Self::default() };
        for pattern in &patterns {
            targets.add(pattern, ANYTHING);
            if pattern.glob == "*" && pattern.prefix.is_empty() {
                // This pattern alone covers more than tools.
                ["resource:", "prompt:"]
                    .into_iter()
                    .for_each(|prefix| targets.add_text(&format!("{prefix}{ANYTHING}")));
            }
        }
        for one in patterns.iter().take(MOST_COMBINED) {
            for other in patterns.iter().take(MOST_COMBINED).filter(|other| one.may_meet(other)) {
                targets.add(one, &other.glob.replace('*', ""));
            }
        }
        targets
    }

    fn add(&mut self, pattern: &PrefixedGlob<'_>, anything: &str) {
        self.add_text(&format!("{}{}", pattern.prefix, pattern.glob.replace('*', anything)));
    }

    fn add_text(&mut self, text: &str) {
        let call = CaseCall::named(text);
        if names::check(call.kind, &call.target).is_ok() {
            self.names.insert(text.to_owned());
        }
    }
}

/// A pattern, taken apart.
struct PrefixedGlob<'p> {
    prefix: &'static str,
    glob: &'p str,
}

impl<'p> PrefixedGlob<'p> {
    /// None: the text is no pattern.
    fn of(text: &'p str) -> Option<Self> {
        text.parse::<Pattern>().ok()?;
        let kind = CaseCall::named(text).kind;
        let prefix = Target { kind, name: "".into() }.prefix();
        Some(Self { prefix, glob: text.strip_prefix(prefix)? })
    }

    /// True if a name may be covered by both.
    fn may_meet(&self, other: &Self) -> bool {
        self.glob.contains('*') && other.glob.len() > 1 && self.prefix == other.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_each_two_of_them_have_a_target() {
        let patterns = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let targets = RuleTargets::of(&patterns(&["a*", "*b", "pay", "resource:file:///docs/*", "*"]));
        for name in ["ax", "xb", "ab", "pay", "resource:file:///docs/x", "x", "resource:x", "prompt:x"] {
            let is_there = targets.names.contains(name);
            let is_valid = names::check(CaseCall::named(name).kind, &CaseCall::named(name).target).is_ok();
            assert_eq!(is_there, is_valid, "{name} {targets:?}");
        }
        assert!(!targets.is_cut);
        assert_eq!(RuleTargets::of(&BTreeSet::new()), RuleTargets::default());
    }
}
