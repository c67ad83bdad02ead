//! Conditions on arguments that the tool does not have.

use std::collections::BTreeSet;

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_config::shape::{listed, nearest};

use super::finding::{LintCheck, LintFinding};
use super::input_schema::{ArgumentPlace, argument};
use super::placed_rules::PlacedCondition;
use super::scene::LintScene;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::UnknownArgument,
    title: "a condition is on an argument that the tool does not have",
    why: "A condition on a missing value does not hold, so every call that respects the schema of the tool is refused. \
          After a rename of the argument at the server, the condition tests nothing that the tool uses.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    scene.conditions.iter().filter_map(|condition| unknown(scene, condition)).collect()
}

fn unknown(scene: &LintScene, condition: &PlacedCondition) -> Option<LintFinding> {
    let pointer = condition.condition.argument.as_deref()?;
    let tools = scene.every_tool_of(condition).filter(|tools| !tools.is_empty())?;
    let known = known_in_all(&tools, pointer)?;
    let (parent, last) = pointer.rsplit_once('/')?;
    let message =
        format!("no input schema of a tool that `{}` covers has `{pointer}`", condition.condition.on);
    let fix = match nearest(last, known.iter().copied()) {
        Some(near) => format!("write `{parent}/{}`", near.replace('~', "~0").replace('/', "~1")),
        None if known.is_empty() => "remove the condition: there are no arguments".to_owned(),
        None => format!("name an argument that exists: {}", listed(&known.into_iter().collect::<Vec<_>>())),
    };
    let remark = condition.place.below(&["argument"]).remark(&message, "no such argument");
    Some(LintFinding::new(pointer, remark, fix))
}

/// The arguments beside a missing one. None: a tool may have it.
fn known_in_all<'s>(tools: &[&'s Value], pointer: &str) -> Option<BTreeSet<&'s str>> {
    let mut all = BTreeSet::new();
    for tool in tools.iter().copied() {
        match argument(tool, pointer) {
            ArgumentPlace::Absent(known) => all.extend(known),
            ArgumentPlace::Described(_) | ArgumentPlace::Undescribed => return None,
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, condition, found};

    #[test]
    fn a_misspelt_argument_is_found_with_the_nearest_one() {
        let found = found(super::CHECK, &condition("on = 'pay', argument = '/amonut', max = 10"), LISTS);
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].name, &*found[0].fix), ("/amonut", "write `/amount`"));
    }

    #[test]
    fn an_existing_argument_is_no_finding() {
        for good in [
            "on = 'pay', argument = '/amount', max = 10",
            "on = 'pay', claim = 'amonut', max = 10",
            // One of the tools has it.
            "on = '*', argument = '/amount', max = 10",
            // Its schema permits any other argument.
            "on = 'echo', argument = '/amount', max = 10",
        ] {
            assert!(found(super::CHECK, &condition(good), LISTS).is_empty(), "{good}");
        }
    }
}
