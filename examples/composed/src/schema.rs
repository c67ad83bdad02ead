//! One schema of settings within another.

use serde_json::Value;

/// The place of the other authorizer's settings.
const PLACE: &str = "/properties/inner";

/// `own`, with `inner` in its place. What is no schema there takes no settings.
pub(crate) fn with_inner(mut own: Value, inner: &str) -> Value {
    let mut inner = serde_json::from_str(inner).unwrap_or(Value::Bool(false));
    move_references(&mut inner);
    if let Some(place) = own.pointer_mut(PLACE) {
        *place = inner;
    }
    own
}

/// References are from the root, which is another one now.
fn move_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // It names the dialect of a whole document.
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
