//! Headers that repeat arguments (MCP 2026-07-28, "Streamable HTTP", "Custom Headers"). A tool's input schema names
//! them by `x-mcp-header`. An HTTP upstream of that version checks them itself. A child never gets them, so Witgate
//! checks them.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::agree::{decode, mismatch};
use super::credentials::fold;
use super::{PARAM_PREFIX, SingleValue, single};
use crate::fault::MessageFault;
use crate::parse::folds_to;

/// Maximum depth of a schema, which bounds the recursion. Real schemas are not as deep.
const DEPTH: usize = 32;

/// The arguments of one tool that are repeated in headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderArguments(Vec<(HeaderName, Vec<String>)>);

impl HeaderArguments {
    /// The arguments that an input schema names. A schema with an invalid annotation names none, because clients drop
    /// such a tool from the list.
    pub fn of(input_schema: &Value) -> Self {
        let mut found = Vec::new();
        collect(input_schema, &mut Vec::new(), &mut found);
        Self(found)
    }

    /// Checks the headers of a call against its arguments, as JSON text.
    ///
    /// # Errors
    /// `HeaderMismatch` if one is missing, malformed, without its argument, or different from it.
    pub fn check(&self, arguments: Option<&str>, headers: &HeaderMap) -> Result<(), MessageFault> {
        if self.0.is_empty() {
            return Ok(());
        }
        let arguments: Value = arguments.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        for (name, path) in &self.0 {
            let argument = argument(&arguments, path, name)?;
            match (single(headers, name), argument) {
                (SingleValue::Absent, None) => {}
                (SingleValue::Absent, Some(_)) => return Err(mismatch(name, "is missing")),
                (SingleValue::Bad, _) => {
                    return Err(mismatch(name, "must occur once, in visible ASCII"));
                }
                (SingleValue::One(_), None) => {
                    return Err(mismatch(name, "has no argument to repeat"));
                }
                (SingleValue::One(header), Some(argument)) => {
                    if !says(&decode(name, header)?, argument) {
                        return Err(mismatch(name, "differs from the argument"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Removes the headers that repeat one of these arguments, by its name or its value. A tool may choose any name for the
/// header.
pub fn remove(headers: &mut HeaderMap, names: &[Arc<str>], is_value: impl Fn(&str) -> bool) {
    let is_name = |folded: String| names.iter().any(|name| fold(name) == folded);
    let repeats = |(name, value): (&HeaderName, &HeaderValue)| {
        let argument = name.as_str().strip_prefix(PARAM_PREFIX)?;
        let text = value.to_str().ok().map(|text| text.trim_matches([' ', '\t']));
        let text = text.and_then(|text| decode(name, text).ok());
        (is_name(fold(argument)) || text.is_some_and(|text| is_value(&text))).then(|| name.clone())
    };
    let found: Vec<HeaderName> = headers.iter().filter_map(repeats).collect();
    for name in found {
        headers.remove(name);
    }
}

/// The argument that a header repeats. Some servers read an argument whose name differs in case as this one, but a
/// proxy that reads the header does not see it.
fn argument<'a>(
    arguments: &'a Value,
    path: &[String],
    name: &HeaderName,
) -> Result<Option<&'a Value>, MessageFault> {
    let mut value = arguments;
    for key in path {
        let Some(object) = value.as_object() else { return Ok(None) };
        match object.get(key) {
            Some(next) => value = next,
            None if object.keys().any(|other| folds_to(other, key)) => {
                return Err(mismatch(name, "repeats an argument that has the name only in another case"));
            }
            None => return Ok(None),
        }
    }
    Ok(Some(value).filter(|value| !value.is_null()))
}

/// Follows only `properties`, because values elsewhere have no fixed place.
fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<(HeaderName, Vec<String>)>) {
    let properties: Option<&Map<String, Value>> = schema.get("properties").and_then(Value::as_object);
    if path.len() >= DEPTH {
        return;
    }
    for (key, property) in properties.into_iter().flatten() {
        path.push(key.clone());
        let name = property.get("x-mcp-header").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.and_then(|name| format!("{PARAM_PREFIX}{name}").to_ascii_lowercase().parse().ok());
        found.extend(name.map(|name| (name, path.clone())));
        collect(property, path, found);
        path.pop();
    }
}

fn says(header: &str, argument: &Value) -> bool {
    match argument {
        Value::String(text) => header == text,
        Value::Bool(value) => header == if *value { "true" } else { "false" },
        // The specification compares integers as numbers.
        Value::Number(number) => {
            let text = number.to_string();
            header == text || (is_number(header) && header.parse() == text.parse::<f64>())
        }
        // Only these three types can be annotated. The tool itself refuses other values.
        Value::Null | Value::Array(_) | Value::Object(_) => true,
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(arguments: &Value, headers: &[(&str, &str)]) -> bool {
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "page": { "type": "object", "properties": { "size": { "type": "integer", "x-mcp-header": "Size" } } },
            "all": { "type": "boolean", "x-mcp-header": "All" },
            "free": { "type": "string" },
        } });
        let header =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let headers: HeaderMap = headers.iter().map(header).collect();
        HeaderArguments::of(&schema).check(Some(&arguments.to_string()), &headers).is_ok()
    }

    #[test]
    fn headers_equal_to_the_arguments_are_accepted() {
        assert!(check(&json!({ "free": "x" }), &[]));
        assert!(check(&json!({ "region": "west" }), &[("mcp-param-region", "west")]));
        assert!(check(&json!({ "region": "Hi \u{e9}" }), &[("mcp-param-region", "=?base64?SGkgw6k=?=")]));
        assert!(check(&json!({ "region": "=?base64?SGk=" }), &[("mcp-param-region", "=?base64?SGk=")]));
        assert!(check(&json!({ "page": { "size": 42 } }), &[("mcp-param-size", "42.0")]));
        assert!(check(&json!({ "all": true }), &[("mcp-param-all", "true")]));
        assert!(check(&json!({ "region": null }), &[("mcp-param-other", "x")]));
    }

    #[test]
    fn headers_that_differ_from_the_arguments_are_refused() {
        for (arguments, headers) in [
            (json!({ "region": "west" }), vec![]),
            (json!({ "Region": "west" }), vec![]),
            (json!({ "page": { "SIZE": 42 } }), vec![]),
            (json!({ "PAGE": { "size": 42 } }), vec![]),
            (json!({ "region": "west" }), vec![("mcp-param-region", "east")]),
            (json!({ "region": "west" }), vec![("mcp-param-region", "west"), ("mcp-param-region", "west")]),
            (json!({ "region": "west" }), vec![("mcp-param-region", "=?base64?d2Vzd?=")]),
            (json!({}), vec![("mcp-param-region", "west")]),
            (json!({ "region": null }), vec![("mcp-param-region", "west")]),
            (json!({ "page": { "size": 42 } }), vec![("mcp-param-size", "43")]),
            (json!({ "page": { "size": 42 } }), vec![("mcp-param-size", "inf")]),
            (json!({ "all": true }), vec![("mcp-param-all", "false")]),
        ] {
            assert!(!check(&arguments, &headers), "{arguments} {headers:?}");
        }
    }
}
