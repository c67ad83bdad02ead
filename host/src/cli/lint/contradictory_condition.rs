//! Conditions that nothing fulfils.

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_rbac::settings::Condition;

use super::coverage::covers;
use super::finding::{LintCheck, LintFinding};
use super::input_schema::{ArgumentPlace, argument, largest, smallest};
use super::placed_rules::PlacedCondition;
use super::scene::LintScene;
use crate::cli::explain::rule::fits;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::ContradictoryCondition,
    title: "a condition that nothing fulfils",
    why: "The rule with the condition never allows anything, although it looks as if it did.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    let conditions = &scene.conditions;
    let alone = conditions.iter().filter_map(|condition| {
        let why = contradiction(&condition.condition).or_else(|| with_schema(scene, condition))?;
        Some(finding(condition, &why))
    });
    let pairs = conditions.iter().enumerate().filter_map(|(place, later)| {
        let earlier = conditions.iter().take(place);
        let is_possible = |condition: &PlacedCondition| contradiction(&condition.condition).is_none();
        let mut others = earlier.filter(|earlier| applies_with(earlier, later) && is_possible(earlier));
        let other = others.find(|earlier| excludes(&earlier.condition, &later.condition))?;
        let why = format!("no value passes this condition and the one on `{}`", other.condition.on);
        is_possible(later).then(|| finding(later, &why))
    });
    alone.chain(pairs).collect()
}

fn finding(condition: &PlacedCondition, why: &str) -> LintFinding {
    let subject = condition.subject();
    let message = format!("no call fulfils this condition on `{subject}`: {why}");
    let fix = "correct one of the tests, or remove the rule";
    LintFinding::new(subject, condition.place.remark(&message, "never holds"), fix)
}

/// The contradiction between the tests of one condition.
fn contradiction(condition: &Condition) -> Option<String> {
    let (least, most) = bounds(condition);
    if least.zip(most).is_some_and(|(least, most)| least > most) {
        return Some("`min` is larger than `max`".to_owned());
    }
    let is_number = least.or(most).is_some();
    let kinds = [
        (is_number, "a number"),
        (condition.matches.is_some(), "a text"),
        (condition.contains.is_some(), "a list"),
    ];
    let kinds: Vec<_> = kinds.into_iter().filter(|(is_needed, _)| *is_needed).map(|(_, name)| name).collect();
    if kinds.len() > 1 {
        return Some(format!("its tests expect {}", kinds.join(" and ")));
    }
    let values = values(condition)?;
    let is_any = values.iter().any(|value| fits(condition, Some(value)));
    (!is_any).then(|| "none of its values passes its other tests".to_owned())
}

/// The only values that can fulfil a condition, if it lists them.
fn values(condition: &Condition) -> Option<Vec<&Value>> {
    match (&condition.equals, &condition.one_of) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(several)) => Some(several.iter().collect()),
        (None, None) => None,
    }
}

fn bounds(condition: &Condition) -> (Option<f64>, Option<f64>) {
    let number = |bound: &Option<serde_json::Number>| bound.as_ref().and_then(serde_json::Number::as_f64);
    (number(&condition.min), number(&condition.max))
}

/// The contradiction between the bounds of a condition and those of the schema.
fn with_schema(scene: &LintScene, condition: &PlacedCondition) -> Option<String> {
    let pointer = condition.condition.argument.as_deref()?;
    let tools = scene.every_tool_of(condition)?;
    let (least, most) = bounds(&condition.condition);
    let mut schemas = Vec::new();
    for tool in tools {
        match argument(tool, pointer) {
            ArgumentPlace::Described(found) => schemas.extend(found.schemas),
            ArgumentPlace::Undescribed => return None,
            ArgumentPlace::Absent(_) => {}
        }
    }
    let is_outside = |schema: &&Value| {
        least.zip(largest(schema)).is_some_and(|(least, largest)| least > largest)
            || most.zip(smallest(schema)).is_some_and(|(most, smallest)| most < smallest)
    };
    let is_impossible = !schemas.is_empty() && schemas.iter().all(is_outside);
    is_impossible.then(|| "the bounds in the input schema exclude its own".to_owned())
}

/// True if both conditions apply to all calls of one of them.
fn applies_with<'c>(one: &'c PlacedCondition, other: &'c PlacedCondition) -> bool {
    let is_of_same_callers =
        one.policy == other.policy && (one.role == other.role || one.role.is_none() || other.role.is_none());
    let (on_one, on_other) = (&one.condition.on, &other.condition.on);
    let subject = |placed: &'c PlacedCondition| {
        let Condition { argument, claim, annotation, .. } = &placed.condition;
        (argument, claim, annotation)
    };
    let has_same_subject = subject(one) == subject(other);
    is_of_same_callers && has_same_subject && (covers(on_one, on_other) || covers(on_other, on_one))
}

/// True if no value passes both.
fn excludes(one: &Condition, other: &Condition) -> bool {
    let passes_both = |value: &&Value| fits(one, Some(value)) && fits(other, Some(value));
    let by_values =
        values(one).or_else(|| values(other)).is_some_and(|values| !values.iter().any(passes_both));
    let ((least, most), (other_least, other_most)) = (bounds(one), bounds(other));
    let is_above =
        |least: Option<f64>, most: Option<f64>| least.zip(most).is_some_and(|(least, most)| least > most);
    by_values || is_above(least, other_most) || is_above(other_least, most)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, condition, found, held, with_roles};

    #[test]
    fn tests_that_exclude_each_other_are_found() {
        for (bad, why) in [
            ("on = 'pay', argument = '/amount', min = 10, max = 5", "`min` is larger than `max`"),
            ("on = 'pay', argument = '/amount', equals = 10, max = 5", "none of its values passes"),
            (
                "on = 'pay', claim = 'team', one_of = ['red', 'blue'], matches = 'g*'",
                "none of its values passes",
            ),
            ("on = 'pay', claim = 'team', matches = 'g*', max = 3", "its tests expect a number and a text"),
            ("on = 'get_rows', argument = '/limit', min = 1001", "the bounds in the input schema exclude"),
        ] {
            let found = found(super::CHECK, &condition(bad), LISTS);
            assert_eq!(found.len(), 1, "{bad}");
            let message = found[0].remark.to_string();
            assert!(message.contains(why), "{bad}: {message}");
        }
    }

    #[test]
    fn conditions_of_one_role_that_exclude_each_other_are_found() {
        let both = |second: &str| {
            with_roles(&format!(
                "user = {{ allow = ['pay'], conditions = [{{ on = 'pay', argument = '/amount', max = 5 }}, {{ {second} }}] }}"
            ))
        };
        let bad = found(super::CHECK, &both("on = 'p*', argument = '/amount', min = 6"), LISTS);
        assert_eq!(bad.len(), 1);
        for good in [
            "on = 'p*', argument = '/amount', min = 5",
            "on = 'echo', argument = '/amount', min = 6",
            "on = 'pay', argument = '/other', min = 6",
        ] {
            assert!(found(super::CHECK, &both(good), LISTS).is_empty(), "{good}");
        }
    }

    #[test]
    fn conditions_on_annotations_that_exclude_each_other_are_found() {
        let both = |second: &str| {
            held(&with_roles(&format!(
                "user = {{ allow = ['pay'], conditions = [{{ on = 'pay', annotation = 'readOnlyHint', equals = true }}, {{ on = 'pay', {second} }}] }}"
            )))
        };
        let bad = found(super::CHECK, &both("annotation = 'readOnlyHint', equals = false"), LISTS);
        assert_eq!(bad.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["readOnlyHint"]);
        let good = found(super::CHECK, &both("annotation = 'destructiveHint', equals = false"), LISTS);
        assert!(good.is_empty(), "{good:?}");
    }

    #[test]
    fn conditions_that_can_hold_are_no_findings() {
        for good in [
            "on = 'pay', argument = '/amount', min = 5, max = 5",
            "on = 'pay', argument = '/amount', equals = 4, max = 5",
            "on = 'pay', claim = 'team', one_of = ['red', 'green'], matches = 'g*'",
            "on = 'get_rows', argument = '/limit', min = 1000",
        ] {
            assert!(found(super::CHECK, &condition(good), LISTS).is_empty(), "{good}");
        }
    }
}
