//! Conditions whose values the input schema of the tool does not permit.

use serde_json::Value;
use witgate_config::lint::LintCode;
use witgate_plugin::Glob;

use super::finding::{LintCheck, LintFinding};
use super::input_schema::{ArgumentPlace, argument, enumerated, may_be, permits};
use super::placed_rules::PlacedCondition;
use super::scene::LintScene;

pub(super) const CHECK: LintCheck = LintCheck {
    code: LintCode::ImpossibleValue,
    title: "a condition expects a value that the tool does not take",
    why: "No valid call has such a value, so the condition refuses calls that it should allow.",
    find,
};

fn find(scene: &LintScene) -> Vec<LintFinding> {
    scene.conditions.iter().flat_map(|condition| impossible(scene, condition)).collect()
}

fn impossible(scene: &LintScene, condition: &PlacedCondition) -> Vec<LintFinding> {
    let Some(schemas) = schemas(scene, condition) else { return Vec::new() };
    let is_impossible = |test: &ValueTest<'_>| !schemas.iter().any(|schema| test.may_pass(schema));
    let finding = |(at, test): (Vec<String>, ValueTest<'_>)| {
        let at: Vec<_> = at.iter().map(String::as_str).collect();
        let pointer = condition.subject();
        let message = format!("`{pointer}` of `{}` never {}", condition.condition.on, test.text());
        let remark = condition.place.below(&at).remark(&message, "not in the input schema");
        LintFinding::new(pointer, remark, fix(&schemas))
    };
    tests(condition).into_iter().filter(|(_, test)| is_impossible(test)).map(finding).collect()
}

/// The schemas of the argument in all tools. None: it may have any value in one of them.
fn schemas<'s>(scene: &'s LintScene, condition: &PlacedCondition) -> Option<Vec<&'s Value>> {
    let pointer = condition.condition.argument.as_deref()?;
    let tools = scene.every_tool_of(condition)?;
    let mut all = Vec::new();
    for tool in tools {
        match argument(tool, pointer) {
            ArgumentPlace::Described(found) => all.extend(found.schemas),
            ArgumentPlace::Undescribed => return None,
            ArgumentPlace::Absent(_) => {}
        }
    }
    Some(all).filter(|all| !all.is_empty())
}

/// One test of a condition.
enum ValueTest<'c> {
    Value(&'c Value),
    Matches(&'c str),
    Number,
    Contains(&'c Value),
}

/// The tests of a condition, each with its setting.
fn tests(condition: &PlacedCondition) -> Vec<(Vec<String>, ValueTest<'_>)> {
    let written = &condition.condition;
    let at = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>();
    let mut tests: Vec<_> =
        written.equals.iter().map(|value| (at(&["equals"]), ValueTest::Value(value))).collect();
    let several = written.one_of.iter().flatten().enumerate();
    tests
        .extend(several.map(|(index, value)| (at(&["one_of", &index.to_string()]), ValueTest::Value(value))));
    tests.extend(written.matches.iter().map(|text| (at(&["matches"]), ValueTest::Matches(text))));
    for (name, bound) in [("min", &written.min), ("max", &written.max)] {
        tests.extend(bound.iter().map(|_| (at(&[name]), ValueTest::Number)));
    }
    tests.extend(written.contains.iter().map(|value| (at(&["contains"]), ValueTest::Contains(value))));
    tests
}

impl ValueTest<'_> {
    /// False if no value that meets the schema passes.
    fn may_pass(&self, schema: &Value) -> bool {
        match self {
            Self::Value(value) => permits(schema, value),
            Self::Matches(glob) => {
                let glob = Glob::new(glob);
                let is_match = |value: &&Value| value.as_str().is_some_and(|text| glob.matches(text));
                may_be(schema, &["string"])
                    && enumerated(schema).is_none_or(|values| values.iter().any(is_match))
            }
            Self::Number => may_be(schema, &["number", "integer"]),
            Self::Contains(value) => {
                let items = schema.get("items").filter(|items| items.is_object());
                // References are not followed here.
                let is_simple = |items: &&Value| items.get("$ref").is_none();
                may_be(schema, &["array"])
                    && items.filter(is_simple).is_none_or(|items| permits(items, value))
            }
        }
    }

    /// As the rest of a sentence with "never".
    fn text(&self) -> String {
        match self {
            Self::Value(value) => format!("is {value}"),
            Self::Matches(glob) => format!("matches `{glob}`"),
            Self::Number => "is a number".to_owned(),
            Self::Contains(value) => format!("contains {value}"),
        }
    }
}

/// The permitted values, as a fix.
fn fix(schemas: &[&Value]) -> String {
    let values: Vec<_> = schemas.iter().copied().filter_map(enumerated).flatten().collect();
    if !values.is_empty() {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        return format!("the schema permits {}", values.join(", "));
    }
    let types: Vec<_> =
        schemas.iter().filter_map(|schema| schema.get("type")).map(ToString::to_string).collect();
    match types.is_empty() {
        true => "write a value that the schema permits".to_owned(),
        false => format!("write a test for the type {}", types.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{LISTS, condition, found};

    #[test]
    fn a_value_outside_the_enumeration_or_the_type_is_found() {
        for (bad, fix) in [
            ("on = 'pay', argument = '/currency', equals = 'EURO'", "the schema permits \"EUR\", \"USD\""),
            (
                "on = 'pay', argument = '/currency', one_of = ['EUR', 'CHF']",
                "the schema permits \"EUR\", \"USD\"",
            ),
            ("on = 'pay', argument = '/currency', matches = 'C*'", "the schema permits \"EUR\", \"USD\""),
            ("on = 'pay', argument = '/amount', equals = '10'", "write a test for the type \"number\""),
            ("on = 'pay', argument = '/currency', max = 5", "the schema permits \"EUR\", \"USD\""),
            ("on = 'get_rows', argument = '/tables', contains = 7", "write a test for the type \"array\""),
        ] {
            let found = found(super::CHECK, &condition(bad), LISTS);
            assert_eq!(found.iter().map(|it| &*it.fix).collect::<Vec<_>>(), [fix], "{bad}");
        }
    }

    #[test]
    fn a_permitted_value_is_no_finding() {
        for good in [
            "on = 'pay', argument = '/currency', one_of = ['EUR', 'USD']",
            "on = 'pay', argument = '/currency', matches = 'E*'",
            "on = 'pay', argument = '/amount', max = 5",
            "on = 'get_rows', argument = '/tables', contains = 'people'",
            "on = 'echo', argument = '/anything', equals = 1",
        ] {
            assert!(found(super::CHECK, &condition(good), LISTS).is_empty(), "{good}");
        }
    }
}
