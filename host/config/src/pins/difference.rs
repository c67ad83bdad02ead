//! The differences between two definitions, for people who approve one.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use witgate_base::printable;

use super::hidden::{HiddenCharacters, shown};
use super::schema_difference::widenings;

/// The most differences of one entry. A definition with more is another one.
const MOST: usize = 200;

/// The characters of a changed text that are shown.
const LONGEST: usize = 4_000;

/// The equal characters around the changed part of a text that are shown.
const AROUND: usize = 40;

/// The members of `annotations` that say what a tool does.
const HINTS: [&str; 4] = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];

/// A difference between two definitions of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionDifference {
    /// A schema accepts values that it did not accept before.
    Wider {
        /// The JSON pointer of the schema.
        place: String,
        /// The values that it accepts now.
        what: String,
    },
    /// A tool says something else about what it does.
    Hint {
        /// The annotation.
        name: &'static str,
        /// The former value. None: there was none.
        before: Option<String>,
        /// The new value. None: there is none.
        after: Option<String>,
    },
    /// Any value is different.
    Value {
        /// Its JSON pointer.
        place: String,
        /// The former value, with escapes for hidden characters. None: there was none.
        before: Option<String>,
        /// The new value, likewise. None: there is none.
        after: Option<String>,
        /// The hidden characters of the new value.
        hidden: HiddenCharacters,
    },
    /// There are more differences than are shown.
    More,
}

/// The differences between two definitions: first those that give a tool more, then each changed value.
pub fn differences(before: Option<&Value>, after: Option<&Value>) -> Vec<DefinitionDifference> {
    let mut all = Vec::new();
    if let (Some(before), Some(after)) = (before, after) {
        all.extend(hints(before, after));
        for schema in ["inputSchema", "outputSchema"] {
            let wider = widenings(before.get(schema), after.get(schema), &format!("/{schema}"));
            all.extend(wider.into_iter().map(|(place, what)| DefinitionDifference::Wider { place, what }));
        }
    }
    compare(before, after, String::new(), &mut all);
    if all.len() > MOST {
        all.truncate(MOST);
        all.push(DefinitionDifference::More);
    }
    all
}

fn hints(before: &Value, after: &Value) -> impl Iterator<Item = DefinitionDifference> {
    let value =
        |definition: &Value, name: &str| definition.get("annotations")?.get(name).map(Value::to_string);
    HINTS.into_iter().filter_map(move |name| {
        let (before, after) = (value(before, name), value(after, name));
        (before != after).then_some(DefinitionDifference::Hint { name, before, after })
    })
}

/// Adds each value that is different. Objects are compared member by member, everything else as a whole.
fn compare(
    before: Option<&Value>,
    after: Option<&Value>,
    place: String,
    all: &mut Vec<DefinitionDifference>,
) {
    if before == after || all.len() > MOST {
        return;
    }
    let empty = Map::new();
    let members = match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => Some((before, after)),
        // The definition of a new entry is shown member by member.
        (None, Some(Value::Object(after))) if place.is_empty() => Some((&empty, after)),
        _ => None,
    };
    let Some((before_members, after_members)) = members else {
        all.push(value_difference(before, after, place));
        return;
    };
    let names: BTreeSet<_> = before_members.keys().chain(after_members.keys()).collect();
    for name in names {
        let step = name.replace('~', "~0").replace('/', "~1");
        compare(before_members.get(name), after_members.get(name), format!("{place}/{step}"), all);
    }
}

fn value_difference(before: Option<&Value>, after: Option<&Value>, place: String) -> DefinitionDifference {
    let hidden = after.map(|after| HiddenCharacters::of(&text_of(after))).unwrap_or_default();
    let (before, after) = match (before, after) {
        (Some(Value::String(before)), Some(Value::String(after))) => {
            let [before, after] = changed_parts(before, after);
            (Some(before), Some(after))
        }
        (before, after) => (before.map(value_text), after.map(value_text)),
    };
    DefinitionDifference::Value { place: shown(&place), before, after, hidden }
}

/// All texts in a value, also the names of members.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| name.clone() + &text_of(value)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => cut(text.chars().collect()),
        value => cut(printable::json(&value.to_string()).chars().collect()),
    }
}

/// The parts of two texts that differ, with some characters around them.
fn changed_parts(before: &str, after: &str) -> [String; 2] {
    let (before, after): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
    let equal = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
    let shorter = before.len().min(after.len());
    let equal_at_end = before.iter().rev().zip(after.iter().rev()).take(shorter - equal);
    let equal_at_end = equal_at_end.take_while(|(one, other)| one == other).count();
    let start = if equal > 2 * AROUND { equal - AROUND } else { 0 };
    let rest = if equal_at_end > 2 * AROUND { equal_at_end - AROUND } else { 0 };
    [before, after].map(|text| {
        let part = text.get(start..text.len() - rest).unwrap_or_default().to_vec();
        let (before, behind) = (if start > 0 { "…" } else { "" }, if rest > 0 { "…" } else { "" });
        format!("{before}{}{behind}", cut(part))
    })
}

/// The text with escapes for hidden characters, up to the longest length.
fn cut(mut text: Vec<char>) -> String {
    let left_out = text.len().saturating_sub(LONGEST);
    text.truncate(LONGEST);
    let text = shown(&text.into_iter().collect::<String>());
    match left_out {
        0 => text,
        _ => format!("{text}… ({left_out} more characters)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hidden_characters_of_a_new_description_are_shown_and_named() {
        let before = json!({ "name": "a", "description": "Adds numbers." });
        let after = json!({ "name": "a", "description": "Adds numbers.\u{200b}\u{200b}" });
        let [DefinitionDifference::Value { place, before, after, hidden }] =
            &differences(Some(&before), Some(&after))[..]
        else {
            panic!("one difference")
        };
        assert_eq!(place, "/description");
        assert_eq!(before.as_deref(), Some("Adds numbers."));
        assert_eq!(after.as_deref(), Some(r"Adds numbers.\u{200b}\u{200b}"));
        assert_eq!(hidden.to_string(), "U+200B zero width space (2 times)");
    }

    #[test]
    fn a_change_behind_a_long_text_is_shown() {
        let long = "x".repeat(100_000);
        let [before, after] = changed_parts(&format!("{long}a{long}"), &format!("{long}b{long}"));
        let around = "x".repeat(AROUND);
        assert_eq!((before, after), (format!("…{around}a{around}…"), format!("…{around}b{around}…")));
        let [before, after] = changed_parts("aaa", "aaaa");
        assert_eq!((before.as_str(), after.as_str()), ("aaa", "aaaa"));
    }

    #[test]
    fn a_change_of_a_hint_comes_first() {
        let before = json!({ "name": "a", "annotations": { "destructiveHint": true } });
        let after = json!({ "name": "a", "annotations": { "readOnlyHint": true } });
        let found = differences(Some(&before), Some(&after));
        let hint = |name, before: Option<&str>, after: Option<&str>| DefinitionDifference::Hint {
            name,
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(found[0], hint("readOnlyHint", None, Some("true")));
        assert_eq!(found[1], hint("destructiveHint", Some("true"), None));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_new_definition_is_shown_member_by_member_and_a_gone_one_as_a_whole() {
        let definition = json!({ "name": "a", "x/y": { "b": 1 } });
        let places = |found: Vec<DefinitionDifference>| {
            let place = |difference| match difference {
                DefinitionDifference::Value { place, .. } => place,
                other => panic!("{other:?}"),
            };
            found.into_iter().map(place).collect::<Vec<_>>()
        };
        assert_eq!(places(differences(None, Some(&definition))), ["/name", "/x~1y"]);
        assert_eq!(places(differences(Some(&definition), None)), [""]);
        assert!(differences(Some(&definition), Some(&definition)).is_empty());
    }

    #[test]
    fn many_differences_are_bounded() {
        let many = |value: u32| Value::from_iter((0..1000).map(|name| (format!("m{name}"), json!(value))));
        let found = differences(Some(&many(1)), Some(&many(2)));
        assert_eq!(found.len(), MOST + 1);
        assert_eq!(found.last(), Some(&DefinitionDifference::More));
    }
}
