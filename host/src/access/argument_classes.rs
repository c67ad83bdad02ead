//! Classes of arguments of a call: one representative for each side of each boundary that conditions draw, and the
//! values that a schema names.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use witgate_rbac::settings::Condition;

use super::condition_values::{escaped, failing, passing, placed, removed};

/// The most classes of one call.
pub(crate) const MOST_CLASSES: usize = 48;

/// The most values of one argument.
const MOST_VALUES: usize = 12;

/// The most enumerated values of one argument.
const MOST_ENUMERATED: usize = 8;

/// The classes of the arguments of one call. None among them: a call without arguments.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ArgumentClasses {
    pub(crate) all: Vec<Option<Value>>,
    /// True if there are more than are listed.
    pub(crate) is_cut: bool,
}

/// The values of each argument, by its JSON pointer. None among them: the argument is absent.
type ArgumentValues = BTreeMap<String, Vec<Option<Value>>>;

impl ArgumentClasses {
    /// The call without arguments alone, which is enough if nothing reads arguments.
    pub(crate) fn none() -> Self {
        Self { all: vec![None], is_cut: false }
    }

    /// The classes for these conditions and the schema of the arguments. With `all_arguments`, arguments that no condition
    /// names count as well, because a policy may read them.
    pub(crate) fn of(conditions: &[&Condition], schema: Option<&Value>, all_arguments: bool) -> Self {
        let (mut values, is_cut) = values(conditions, schema, all_arguments);
        let base = required(schema);
        let mut classes = Self { all: vec![None], is_cut };
        classes.add(base.clone());
        let product = values.values().try_fold(1_usize, |all, some| all.checked_mul(some.len()));
        if product.is_some_and(|product| product <= MOST_CLASSES) {
            classes.add_product(&base, &values);
            return classes;
        }
        // Too many combinations: each value beside the first ones of the others.
        classes.is_cut = true;
        let first: Vec<_> = values
            .iter_mut()
            .filter_map(|(pointer, some)| Some((pointer.clone(), some.first()?.clone())))
            .collect();
        let base = first.iter().fold(base, |whole, (pointer, value)| with(whole, pointer, value.as_ref()));
        classes.add(base.clone());
        for (pointer, some) in &values {
            some.iter().for_each(|value| classes.add(with(base.clone(), pointer, value.as_ref())));
        }
        classes
    }

    /// Adds all combinations of values.
    fn add_product(&mut self, base: &Value, values: &ArgumentValues) {
        let mut all = vec![base.clone()];
        for (pointer, some) in values {
            let each = |whole: &Value| {
                let whole = whole.clone();
                some.iter().map(move |value| with(whole.clone(), pointer, value.as_ref())).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(each).collect();
        }
        all.into_iter().for_each(|arguments| self.add(arguments));
    }

    fn add(&mut self, arguments: Value) {
        let is_empty = arguments.as_object().is_some_and(Map::is_empty);
        let arguments = Some(arguments).filter(|_| !is_empty);
        match self.all.contains(&arguments) {
            true => {}
            false if self.all.len() < MOST_CLASSES => self.all.push(arguments),
            false => self.is_cut = true,
        }
    }
}

/// The values of the arguments, and whether some are left out.
fn values(conditions: &[&Condition], schema: Option<&Value>, all_arguments: bool) -> (ArgumentValues, bool) {
    let (mut values, mut is_cut) = (ArgumentValues::new(), false);
    for condition in conditions {
        let Some(pointer) = condition.argument.as_deref().filter(|pointer| pointer.starts_with('/')) else {
            continue;
        };
        let some = values.entry(pointer.to_owned()).or_default();
        let beside = passing(condition).into_iter().chain(failing(condition)).map(Some);
        beside.for_each(|value| is_cut |= !insert(some, value, MOST_VALUES));
    }
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    for (name, property) in properties.into_iter().flatten() {
        let pointer = format!("/{}", escaped(name));
        if !all_arguments && !values.contains_key(&pointer) {
            continue;
        }
        let enumerated = property.get("enum").and_then(Value::as_array).into_iter().flatten();
        let enumerated: Vec<_> = enumerated.cloned().map(Some).collect();
        is_cut |= enumerated.len() > MOST_ENUMERATED;
        if !enumerated.is_empty() {
            let some = values.entry(pointer).or_default();
            let room = some.len() + MOST_ENUMERATED;
            for value in enumerated.into_iter().take(MOST_ENUMERATED) {
                insert(some, value, room);
            }
        }
    }
    for some in values.values_mut() {
        insert(some, None, usize::MAX);
    }
    (values, is_cut)
}

/// Adds a value that is not there yet. False: there was no room.
fn insert(values: &mut Vec<Option<Value>>, value: Option<Value>, most: usize) -> bool {
    if values.contains(&value) {
        return true;
    }
    if values.len() >= most {
        return false;
    }
    values.push(value);
    true
}

/// The arguments with a value at `pointer`, or without one.
fn with(arguments: Value, pointer: &str, value: Option<&Value>) -> Value {
    match value {
        Some(value) => placed(arguments.clone(), pointer, value.clone()).unwrap_or(arguments),
        None => removed(arguments, pointer),
    }
}

/// The arguments that a schema requires, each with a value of its type.
fn required(schema: Option<&Value>) -> Value {
    let named = schema.and_then(|schema| schema.get("required")?.as_array()).into_iter().flatten();
    let sample = |name: &str| {
        let property = schema.and_then(|schema| schema.get("properties")?.get(name));
        (name.to_owned(), property.map_or(Value::Null, sample))
    };
    Value::Object(named.filter_map(Value::as_str).map(sample).collect())
}

/// A value that a schema accepts, as far as its type tells.
fn sample(schema: &Value) -> Value {
    let first = |name: &str| schema.get(name).and_then(|all| all.get(0)).cloned();
    let own = |name: &str| schema.get(name).cloned();
    if let Some(value) = own("const").or_else(|| first("enum")).or_else(|| own("default")) {
        return value;
    }
    let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind));
    match kind.and_then(Value::as_str) {
        Some("string") => json!("x"),
        Some("integer" | "number") => own("minimum").unwrap_or_else(|| json!(0)),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(whole: Value) -> Condition {
        serde_json::from_value(whole).unwrap()
    }

    fn classes(conditions: &[&Condition], schema: Option<&Value>, all: bool) -> Vec<Value> {
        let classes = ArgumentClasses::of(conditions, schema, all);
        assert!(!classes.is_cut);
        classes.all.into_iter().map(|arguments| arguments.unwrap_or(Value::Null)).collect()
    }

    #[test]
    fn each_boundary_has_a_class_on_both_sides() {
        let most = condition(json!({ "on": "pay", "argument": "/amount", "max": 10 }));
        let more = condition(json!({ "on": "pay", "argument": "/amount", "max": 20 }));
        let amounts = |amount: u64| json!({ "amount": amount });
        let expected = [Value::Null, amounts(10), amounts(11), amounts(20), amounts(21)];
        assert_eq!(classes(&[&most, &more], None, false), expected);
        assert_eq!(classes(&[], None, true), [Value::Null]);
    }

    #[test]
    fn values_of_several_arguments_are_combined() {
        let amount = condition(json!({ "on": "pay", "argument": "/amount", "max": 10 }));
        let to = condition(json!({ "on": "pay", "argument": "/to", "equals": "ada" }));
        let all = classes(&[&amount, &to], None, false);
        assert_eq!(all.len(), 9, "{all:?}");
        assert!(all.contains(&json!({ "amount": 10, "to": "ada" })));
        assert!(all.contains(&json!({ "amount": 11, "to": "other" })));
    }

    #[test]
    fn schemas_give_required_arguments_and_enumerated_values() {
        let schema = json!({
            "properties": { "mode": { "enum": ["read", "write"] }, "path": { "type": "string" } },
            "required": ["path"],
        });
        let read = |mode: &str| json!({ "path": "x", "mode": mode });
        let expected = [Value::Null, json!({ "path": "x" }), read("read"), read("write")];
        assert_eq!(classes(&[], Some(&schema), true), expected);
        assert_eq!(classes(&[], Some(&schema), false), [Value::Null, json!({ "path": "x" })]);
    }

    #[test]
    fn many_combinations_are_cut() {
        let conditions: Vec<_> = (0..10)
            .map(|place| condition(json!({ "on": "*", "argument": format!("/a{place}"), "max": 10 })))
            .collect();
        let classes = ArgumentClasses::of(&conditions.iter().collect::<Vec<_>>(), None, false);
        assert!(classes.is_cut && classes.all.len() <= MOST_CLASSES, "{}", classes.all.len());
        let all: Map<_, _> = (0..10).map(|place| (format!("a{place}"), json!(10))).collect();
        assert!(classes.all.contains(&Some(Value::Object(all))), "all conditions hold together");
    }
}
