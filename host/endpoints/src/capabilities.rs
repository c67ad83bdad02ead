//! The capabilities of an endpoint: all that one of its upstreams has, and for which messages find their way. A client
//! that uses a capability reaches the upstreams that have it.

use serde_json::{Map, Value, json};

/// The capabilities whose messages find their way to an upstream.
const ROUTED: [&str; 7] = ["tools", "prompts", "resources", "completions", "logging", "tasks", "extensions"];

/// The capabilities of upstreams, each with whether its resources are offered.
pub(crate) fn joined<'a>(parts: impl Iterator<Item = (&'a Map<String, Value>, bool)>) -> Map<String, Value> {
    let mut joined = Map::new();
    for (part, offers_resources) in parts {
        for name in ROUTED.into_iter().filter(|name| offers_resources || *name != "resources") {
            if let Some(value @ Value::Object(_)) = part.get(name) {
                add(joined.entry(name).or_insert_with(|| json!({})), value);
            }
        }
        // Witgate's own statement, which is the same for all.
        let said = part.get("experimental").and_then(|said| said.get("authentication"));
        if let Some(said) = said {
            joined.entry("experimental").or_insert_with(|| json!({ "authentication": said }));
        }
    }
    joined
}

/// Adds the members of `part`. What both have is the first one's, except that a `true` wins.
fn add(whole: &mut Value, part: &Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                match whole.get_mut(name) {
                    Some(known) => add(known, value),
                    None => _ = whole.insert(name.clone(), value.clone()),
                }
            }
        }
        (Value::Bool(whole), Value::Bool(part)) => *whole |= *part,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(Value, bool)]) -> Value {
        let parts: Vec<_> = parts.iter().map(|(part, offers)| (part.as_object().unwrap(), *offers)).collect();
        Value::from(joined(parts.into_iter()))
    }

    #[test]
    fn an_endpoint_can_do_what_one_of_its_upstreams_can() {
        let a =
            json!({ "tools": { "listChanged": false }, "resources": { "subscribe": true }, "logging": {} });
        let b = json!({
            "tools": { "listChanged": true }, "resources": {}, "custom": {}, "prompts": 1,
            "experimental": { "authentication": { "required": true }, "other": {} },
            "extensions": { "io.modelcontextprotocol/ui": {} },
        });
        assert_eq!(
            of(&[(a, false), (b, true)]),
            json!({
                "tools": { "listChanged": true }, "resources": {}, "logging": {},
                "experimental": { "authentication": { "required": true } },
                "extensions": { "io.modelcontextprotocol/ui": {} },
            })
        );
    }
}
