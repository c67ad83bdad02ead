//! The JSON Schema of `witgate.toml`.

use std::sync::LazyLock;

use super::File;

/// The JSON Schema of `witgate.toml`.
pub fn schema() -> &'static serde_json::Value {
    static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(File).to_value();
        without_null(&mut schema);
        schema
    });
    &SCHEMA
}

/// TOML has no null: an optional setting is simply not required.
pub fn without_null(schema: &mut serde_json::Value) {
    use serde_json::Value;
    match schema {
        Value::Object(members) => {
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            unwrap_optional(members);
            members.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// `anyOf: [X, null]` → `X`.
fn unwrap_optional(members: &mut serde_json::Map<String, serde_json::Value>) {
    let Some(serde_json::Value::Array(choices)) = members.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    if let [serde_json::Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        members.remove("anyOf");
        members.extend(only);
    }
}
