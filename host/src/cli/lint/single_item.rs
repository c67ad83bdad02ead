//! Conditions on one item of a list, whose other items nothing tests.

use witgate_config::lint::LintCode;
use witgate_config::shape::listed;

use super::finding::{LintCheck, LintFinding};
use super::input_schema::{ArgumentPlace, argument};
use super::placed_rules::PlacedCondition;
use super::scene::LintScene;
use witgate_config::pins::EntryKind;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::SingleItem,
    title: "a condition tests one item of a list",
    why: "A caller passes the condition with a good item, and adds others that nothing tests.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    scene.conditions.iter().filter_map(|condition| single(scene, condition)).collect()
}

fn single(scene: &LintScene, condition: &PlacedCondition) -> Option<LintFinding> {
    let pointer = condition.condition.argument.as_deref()?;
    let tests_part = condition.condition.contains.is_some();
    let tools: Vec<_> = scene
        .tools_of(condition)
        .into_iter()
        .filter(|tool| matches!(argument(tool, pointer), ArgumentPlace::Described(found) if found.is_item))
        .filter_map(|tool| EntryKind::Tool.name_of(tool))
        .collect();
    if tools.is_empty() && !tests_part {
        return None;
    }
    let (what, setting) = match tests_part {
        true => (format!("`{pointer}` may contain other values as well"), "contains"),
        false => (format!("`{pointer}` is one item of a list of {}", listed(&tools)), "argument"),
    };
    let message = format!("{what}, and nothing tests those");
    let fix = "test the whole list with `equals` or `one_of`, or let the server take one value only";
    let remark = condition.place.below(&[setting]).remark(&message, "one of several");
    Some(LintFinding::new(pointer, remark, fix))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, condition, found};

    #[test]
    fn a_condition_on_the_first_item_is_found() {
        for bad in [
            "on = 'get_rows', argument = '/tables/0', equals = 'people'",
            "on = 'get_rows', argument = '/tables', contains = 'people'",
        ] {
            assert_eq!(found(super::CHECK, &condition(bad), LISTS).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_condition_on_a_whole_value_is_no_finding() {
        for good in [
            "on = 'get_rows', argument = '/tables', equals = ['people']",
            "on = 'pay', argument = '/amount', max = 5",
            "on = 'pay', claim = 'groups', contains = 'a'",
        ] {
            assert!(found(super::CHECK, &condition(good), LISTS).is_empty(), "{good}");
        }
    }
}
