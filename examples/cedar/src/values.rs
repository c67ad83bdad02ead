//! Values of Cedar, made from JSON.
//!
//! Cedar's own reader of JSON is not used, because it would read `{"__entity": …}` in an argument as an entity of the
//! caller's choice.

use cedar_policy::RestrictedExpression as Value;
use witgate_plugin::json::{self, Json, Number, Object};

/// Maximum depth: deeper values would take much of the stack.
const DEEPEST: usize = 32;

/// The object in a text; without a text, an empty object.
///
/// # Errors
/// If Cedar has no such value: without it, a policy could take the incomplete object for the whole. Only members that
/// are `null` are left out.
pub(crate) fn record(text: Option<&str>) -> Result<Value, String> {
    let object = json::parse_object(text.unwrap_or("{}")).map_err(|error| error.to_string())?;
    record_of(&object, 0)
}

fn record_of(object: &Object<'_>, depth: usize) -> Result<Value, String> {
    let fields: Result<Vec<_>, String> = object
        .iter()
        .filter(|(_, value)| **value != Json::Null)
        .map(|(name, value)| Ok((name.to_owned(), value_of(value, depth + 1)?)))
        .collect();
    Value::new_record(fields?).map_err(|error| error.to_string())
}

fn value_of(value: &Json<'_>, depth: usize) -> Result<Value, String> {
    if depth > DEEPEST {
        return Err(format!("a value lies more than {DEEPEST} levels deep"));
    }
    match value {
        Json::Null => Err("Cedar has no `null` within a list".to_owned()),
        Json::Bool(flag) => Ok(Value::new_bool(*flag)),
        Json::Number(number) => number_of(*number),
        Json::String(text) => Ok(Value::new_string(text.to_string())),
        Json::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| value_of(item, depth + 1)).collect();
            Ok(Value::new_set(items?))
        }
        Json::Object(object) => record_of(object, depth),
    }
}

/// A number of Cedar: a whole number of 64 bits, or a decimal with four digits after the point.
fn number_of(number: Number) -> Result<Value, String> {
    match number {
        Number::Signed(n) => Ok(Value::new_long(n)),
        Number::Unsigned(n) => i64::try_from(n).map(Value::new_long).map_err(|_| too_large()),
        Number::Float(n) => {
            let text = format!("{n:.4}");
            // The same number again, so nothing was cut off.
            let exact = text.parse() == Ok(n) && n.abs() < 900_000_000_000_000.0;
            exact.then(|| Value::new_decimal(text)).ok_or_else(too_large)
        }
    }
}

fn too_large() -> String {
    "a number exceeds the range of Cedar".to_owned()
}
