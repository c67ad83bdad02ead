//! Destructive tools that a wildcard allows.

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_config::shape::listed;
use witgate_plugin::TargetKind;
use witgate_rbac::settings::{Annotation, Condition};

use super::coverage::is_wildcard;
use super::finding::{LintCheck, LintFinding};
use super::placed_rules::{PlacedCondition, PlacedPattern, RuleOwner, RuleSet};
use super::scene::LintScene;
use witgate_config::pins::EntryKind;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::DestructiveWildcard,
    title: "a wildcard allows a destructive tool",
    why: "The server says of the tool that it may destroy something (`destructiveHint`). A wildcard also allows such \
          tools that the server gets later, and nobody has decided about them.",
    find,
};

/// The most tools in a message.
const MOST_NAMED: usize = 5;

fn find(scene: &LintScene) -> Vec<LintFinding> {
    let of_set = |set| {
        let allow = set_wildcards(set);
        allow.filter_map(move |pattern| destructive(scene, set, pattern))
    };
    scene.rule_sets.iter().flat_map(of_set).collect()
}

fn set_wildcards(set: &RuleSet) -> impl Iterator<Item = &PlacedPattern> {
    set.allow.iter().filter(|pattern| is_wildcard(&pattern.text))
}

fn destructive(scene: &LintScene, set: &RuleSet, pattern: &PlacedPattern) -> Option<LintFinding> {
    let is_allowed = |name: &&str| {
        pattern.pattern.matches(TargetKind::Tool, name)
            && !set.denies(TargetKind::Tool, name)
            && !is_kept_out(scene, set, name)
    };
    let tools = scene.lists.known(&set.upstreams, EntryKind::Tool).into_iter();
    let tools = tools.filter(|tool| is_destructive(tool)).filter_map(|tool| EntryKind::Tool.name_of(tool));
    let tools: Vec<_> = tools.filter(is_allowed).collect();
    let shown = tools.get(..MOST_NAMED.min(tools.len())).filter(|shown| !shown.is_empty())?;
    let more = if tools.len() > shown.len() { " and others" } else { "" };
    let names = listed(shown);
    let message = format!("`{}` allows the destructive {names}{more} for {}", pattern.text, set.owner);
    let quoted: Vec<_> = tools.iter().map(|name| format!("\"{name}\"")).collect();
    let fix = format!(
        "name the tools that are meant in its place, deny the others (`deny = [{}]`), or accept it with \
         `[lint] allow = [\"destructive-wildcard:{}\"]`",
        quoted.join(", "),
        pattern.text
    );
    Some(LintFinding::new(&pattern.text, pattern.place.remark(&message, "covers it"), fix))
}

/// True if a condition on annotations, which applies whenever the set allows the tool, does not hold for a destructive tool.
fn is_kept_out(scene: &LintScene, set: &RuleSet, name: &str) -> bool {
    let is_of_set = |condition: &PlacedCondition| match (&condition.role, &set.owner) {
        (Some(role), RuleOwner::Role(own)) => condition.policy == set.policy && role == own,
        (Some(_), RuleOwner::Entry(..)) => false,
        (None, _) => set.upstreams.iter().all(|upstream| condition.upstreams.contains(upstream)),
    };
    let keeps_out = |condition: &Condition| match condition.annotation {
        Some(Annotation::Destructive) => condition.equals == Some(Value::Bool(false)),
        Some(Annotation::ReadOnly) => condition.equals == Some(Value::Bool(true)),
        _ => false,
    };
    scene.conditions.iter().any(|placed| {
        is_of_set(placed) && placed.on.matches(TargetKind::Tool, name) && keeps_out(&placed.condition)
    })
}

/// True if the server says so. Its silence would mean the same, but then nearly every tool would be a finding.
fn is_destructive(tool: &Value) -> bool {
    let hint =
        |name: &str| tool.get("annotations").and_then(|hints| hints.get(name)).and_then(Value::as_bool);
    hint("destructiveHint") == Some(true) && hint("readOnlyHint") != Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, found, held, with_roles};

    #[test]
    fn a_destructive_tool_under_a_wildcard_is_found() {
        for bad in ["user = { allow = ['*'] }", "user = { allow = ['get_*', 'drop_*'] }"] {
            let found = found(super::CHECK, &with_roles(bad), LISTS);
            assert_eq!(found.len(), 1, "{bad}");
            assert!(found[0].remark.to_string().contains("allows the destructive `drop_all`"), "{found:?}");
            assert!(found[0].fix.contains("deny = [\"drop_all\"]"), "{found:?}");
        }
    }

    #[test]
    fn a_wildcard_with_a_condition_on_the_annotation_is_no_finding() {
        let roles = |conditions: &str| {
            let roles = format!("user = {{ allow = ['*'], conditions = [{{ {conditions} }}] }}");
            found(super::CHECK, &held(&with_roles(&roles)), LISTS)
        };
        for good in [
            "on = '*', annotation = 'destructiveHint', equals = false",
            "on = 'drop_*', annotation = 'readOnlyHint', equals = true",
        ] {
            assert!(roles(good).is_empty(), "{good}");
        }
        for bad in [
            "on = '*', annotation = 'destructiveHint', equals = true",
            "on = 'get_*', annotation = 'destructiveHint', equals = false",
            "on = '*', annotation = 'openWorldHint', equals = false",
        ] {
            assert_eq!(roles(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_named_or_denied_destructive_tool_is_no_finding() {
        for good in [
            "user = { allow = ['drop_all'] }",
            "user = { allow = ['*'], deny = ['drop_*'] }",
            "user = { allow = ['*'], inherits = ['base'] }\nbase = { deny = ['drop_all'] }",
            "user = { allow = ['get_*'] }",
        ] {
            assert!(found(super::CHECK, &with_roles(good), LISTS).is_empty(), "{good}");
        }
    }
}
