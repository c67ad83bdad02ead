//! The annotations in the definition of a tool.

use serde_json::{Map, Value};
use witgate_plugin::ToolAnnotations;

/// The annotations in a definition; those that it does not have are the defaults of MCP. None: they are not an object, or
/// one of them is neither true nor false, so that a client may read it in another way.
pub(super) fn annotations(definition: &Value) -> Option<ToolAnnotations> {
    let written = match definition.get("annotations") {
        None => return Some(ToolAnnotations::default()),
        Some(written) => written.as_object()?,
    };
    let default = ToolAnnotations::default();
    Some(ToolAnnotations {
        read_only: hint(written, "readOnlyHint", default.read_only)?,
        destructive: hint(written, "destructiveHint", default.destructive)?,
        idempotent: hint(written, "idempotentHint", default.idempotent)?,
        open_world: hint(written, "openWorldHint", default.open_world)?,
    })
}

fn hint(written: &Map<String, Value>, name: &str, default: bool) -> Option<bool> {
    written.get(name).map_or(Some(default), Value::as_bool)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hints_that_a_definition_does_not_have_are_those_of_mcp() {
        let default =
            ToolAnnotations { read_only: false, destructive: true, idempotent: false, open_world: true };
        for definition in [
            json!({ "name": "a" }),
            json!({ "name": "a", "annotations": {} }),
            json!({ "name": "a", "annotations": { "title": "A", "destructivehint": false } }),
        ] {
            assert_eq!(annotations(&definition), Some(default), "{definition}");
        }
        let hints = json!({
            "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false,
        });
        let opposite =
            ToolAnnotations { read_only: true, destructive: false, idempotent: true, open_world: false };
        assert_eq!(annotations(&json!({ "name": "a", "annotations": hints })), Some(opposite));
        let one = ToolAnnotations { destructive: false, ..default };
        assert_eq!(annotations(&json!({ "annotations": { "destructiveHint": false } })), Some(one));
    }

    #[test]
    fn annotations_that_are_neither_true_nor_false_are_none() {
        for written in [
            json!(null),
            json!([]),
            json!("destructiveHint"),
            json!({ "destructiveHint": "false" }),
            json!({ "destructiveHint": null }),
            json!({ "destructiveHint": 0 }),
            json!({ "destructiveHint": false, "openWorldHint": "no" }),
        ] {
            assert_eq!(annotations(&json!({ "name": "a", "annotations": written })), None, "{written}");
        }
    }
}
