//! Conditions on arguments that callers may leave out.

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_config::shape::listed;

use super::finding::{LintCheck, LintFinding};
use super::input_schema::{ArgumentPlace, argument};
use super::placed_rules::PlacedCondition;
use super::scene::LintScene;
use witgate_config::pins::EntryKind;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::OptionalArgument,
    title: "a condition is on an argument that callers may leave out",
    why: "Without the argument, the server uses a default that no rule has seen. A condition of `rbac` does not hold \
          then, so such calls are refused, and callers do not see why. A rule of your own component that only looks at \
          the value, if there is one, is passed by leaving it out.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    scene.conditions.iter().filter_map(|condition| optional(scene, condition)).collect()
}

fn optional(scene: &LintScene, condition: &PlacedCondition) -> Option<LintFinding> {
    let pointer = condition.condition.argument.as_deref()?;
    let tools: Vec<_> = scene
        .tools_of(condition)
        .into_iter()
        .filter_map(|tool| Some((tool, default(tool, pointer)?)))
        .collect();
    let (_, default) = tools.first()?;
    let names: Vec<_> = tools.iter().filter_map(|(tool, _)| EntryKind::Tool.name_of(tool)).collect();
    let message = format!("`{pointer}` is optional for {}, and a call without it is refused", listed(&names));
    let default = default.map(|default| format!(" (its default is {default})")).unwrap_or_default();
    let fix =
        format!("tell callers to send it{default}, or make it required in the input schema of the server");
    let remark = condition.place.below(&["argument"]).remark(&message, "may be left out");
    Some(LintFinding::new(pointer, remark, fix))
}

/// The default of an optional argument, if it has one. None: it is not optional, or no single argument.
fn default<'s>(tool: &'s Value, pointer: &str) -> Option<Option<&'s Value>> {
    match argument(tool, pointer) {
        ArgumentPlace::Described(found) if !found.is_required && !found.is_item => {
            Some(found.schemas.iter().find_map(|schema| schema.get("default")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, condition, found};

    #[test]
    fn an_optional_argument_is_found_with_its_default() {
        let found = found(super::CHECK, &condition("on = 'get_*', argument = '/limit', max = 100"), LISTS);
        assert_eq!(found.len(), 1);
        assert!(found[0].remark.to_string().contains("`/limit` is optional for `get_rows`"), "{found:?}");
        assert!(found[0].fix.contains("its default is 10"), "{found:?}");
    }

    #[test]
    fn a_required_argument_is_no_finding() {
        for good in ["on = 'pay', argument = '/amount', max = 100", "on = 'pay', claim = 'limit', max = 100"]
        {
            assert!(found(super::CHECK, &condition(good), LISTS).is_empty(), "{good}");
        }
    }
}
