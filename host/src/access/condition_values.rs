//! Values of arguments and claims that pass the tests of a condition, and such that do not.

use serde_json::{Map, Number, Value, json};
use witgate_plugin::Glob;
use witgate_rbac::settings::Condition;

/// Values that pass the tests of a condition, as far as the tests name them.
pub(crate) fn passing(condition: &Condition) -> Vec<Value> {
    let mut values: Vec<Value> = condition.equals.iter().cloned().collect();
    values.extend(condition.one_of.iter().flatten().take(3).cloned());
    values.extend(condition.max.iter().chain(&condition.min).cloned().map(Value::Number));
    values.extend(condition.contains.iter().map(|value| json!([value])));
    values.extend(condition.matches.iter().map(|glob| Value::from(glob.replace('*', ""))));
    values
}

/// Values that fail a test of a condition, each next to a value that passes.
pub(crate) fn failing(condition: &Condition) -> Vec<Value> {
    let mut values = Vec::new();
    let named = condition.equals.iter().chain(condition.one_of.iter().flatten());
    let named: Vec<&Value> = named.collect();
    values.extend(named.first().map(|value| unlike(value, &named)));
    values.extend(condition.max.as_ref().map(|most| beside(most, 1)));
    values.extend(condition.min.as_ref().map(|least| beside(least, -1)));
    values.extend(condition.contains.iter().map(|_| json!([])));
    values.extend(condition.matches.as_deref().and_then(unmatched).map(Value::from));
    values
}

/// A value of the same type that is none of `others`.
fn unlike(value: &Value, others: &[&Value]) -> Value {
    let made = |attempt: usize| match value {
        Value::String(_) if attempt == 0 => json!("other"),
        Value::String(_) => json!(format!("other{attempt}")),
        Value::Number(_) => json!(attempt),
        Value::Bool(is) if attempt == 0 => json!(!is),
        Value::Array(_) if attempt == 0 => json!([]),
        Value::Object(_) if attempt == 0 => Value::Object(Map::new()),
        _ => json!(format!("other{attempt}")),
    };
    (0..=others.len()).map(made).find(|made| !others.contains(&made)).unwrap_or(Value::Null)
}

/// The number that is `step` further.
fn beside(number: &Number, step: i64) -> Value {
    let whole = number.as_i64().and_then(|whole| whole.checked_add(step));
    let real = || number.as_f64().map(|real| json!(real + step as f64));
    whole.map(Value::from).or_else(real).unwrap_or(Value::Null)
}

/// A text that a glob does not match. None: it matches every text that is tried.
fn unmatched(glob: &str) -> Option<String> {
    let glob = Glob::new(glob);
    ["other", "", "-", "/"].into_iter().find(|text| !glob.matches(text)).map(str::to_owned)
}

/// The value with another one at `pointer`. None: the way leads through something else than objects.
pub(crate) fn placed(mut whole: Value, pointer: &str, value: Value) -> Option<Value> {
    let mut at = &mut whole;
    for step in pointer.strip_prefix('/')?.split('/') {
        let step = unescaped(step);
        if at.is_null() {
            *at = json!({});
        }
        at = match at {
            Value::Object(members) => members.entry(step).or_insert(Value::Null),
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    *at = value;
    Some(whole)
}

/// The value without that at `pointer`.
pub(crate) fn removed(mut whole: Value, pointer: &str) -> Value {
    if let Some((parent, step)) = pointer.rsplit_once('/')
        && let Some(Value::Object(members)) = whole.pointer_mut(parent)
    {
        members.remove(&unescaped(step));
    }
    whole
}

/// A member's name as a step of a JSON Pointer (RFC 6901).
pub(crate) fn escaped(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_placed_where_its_pointer_leads() {
        let whole = json!({ "a": { "b": 1 }, "list": [1, 2], "text": "x" });
        let at = |pointer: &str| placed(whole.clone(), pointer, json!(7));
        assert_eq!(at("/a/b").unwrap()["a"], json!({ "b": 7 }));
        assert_eq!(at("/new/deep").unwrap()["new"], json!({ "deep": 7 }));
        assert_eq!(at("/list/1").unwrap()["list"], json!([1, 7]));
        assert_eq!(at("/a~1b").unwrap()["a/b"], 7);
        assert_eq!((at("/text/x"), at("/list/9"), at("a")), (None, None, None));
    }

    #[test]
    fn a_value_is_removed_where_its_pointer_leads() {
        let whole = json!({ "a": { "b": 1 }, "c/d": 2 });
        assert_eq!(removed(whole.clone(), "/a/b"), json!({ "a": {}, "c/d": 2 }));
        assert_eq!(removed(whole.clone(), "/c~1d"), json!({ "a": { "b": 1 } }));
        assert_eq!(removed(whole.clone(), "/x/y"), whole);
    }

    #[test]
    fn values_beside_a_bound_fail_its_test() {
        let condition = |tests: Value| -> Condition {
            let mut whole = json!({ "on": "*", "argument": "/a" });
            whole.as_object_mut().unwrap().extend(tests.as_object().unwrap().clone());
            serde_json::from_value(whole).unwrap()
        };
        assert_eq!(failing(&condition(json!({ "max": 10 }))), [json!(11)]);
        assert_eq!(failing(&condition(json!({ "min": 1.5 }))), [json!(0.5)]);
        assert_eq!(failing(&condition(json!({ "equals": true }))), [json!(false)]);
        assert_eq!(failing(&condition(json!({ "one_of": ["other", "b"] }))), [json!("other1")]);
        assert_eq!(failing(&condition(json!({ "one_of": [0, 1] }))), [json!(2)]);
        assert_eq!(failing(&condition(json!({ "matches": "a*" }))), [json!("other")]);
        assert_eq!(failing(&condition(json!({ "matches": "*" }))), [] as [Value; 0]);
        assert_eq!(failing(&condition(json!({ "contains": 1 }))), [json!([])]);
    }
}
