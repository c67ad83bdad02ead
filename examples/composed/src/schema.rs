//! One schema of settings within another.

use serde_json::Value;

/// The place of the other authorizer's settings.
const PLACE: &str = "/properties/inner";

/// Puts `inner` in its place in `own`. If `inner` is not a schema, no settings are valid.
pub(crate) fn with_inner(mut own: Value, inner: &str) -> Value {
    let mut inner = serde_json::from_str(inner).unwrap_or(Value::Bool(false));
    move_references(&mut inner);
    if let Some(place) = own.pointer_mut(PLACE) {
        *place = inner;
    }
    own
}

/// Adapts references, which begin at the root, to the new root.
fn move_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // It applies to a whole document only.
            members.remove("$schema");
            for (name, value) in members {
                match value {
                    Value::String(target) if name == "$ref" => {
                        if let Some(rest) = target.strip_prefix('#') {
                            *target = format!("#{PLACE}{rest}");
                        }
                    }
                    value => move_references(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
