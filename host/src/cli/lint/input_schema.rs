//! The part of a tool's input schema that describes one argument. Only what a schema surely says counts: an unusual
//! keyword makes the answer "undescribed" or "permitted".

use std::collections::BTreeSet;

use serde_json::Value;

/// The most references and alternatives that are followed.
const DEEPEST: usize = 16;

/// The statement of a schema about a place in the arguments.
pub(super) enum ArgumentPlace<'s> {
    /// A value at the place, by one of these schemas.
    Described(ArgumentSchemas<'s>),
    /// There is no such argument. These exist in the same object.
    Absent(BTreeSet<&'s str>),
    /// The schema does not say.
    Undescribed,
}

/// The schemas of an argument, one of which its value has to meet.
pub(super) struct ArgumentSchemas<'s> {
    pub(super) schemas: Vec<&'s Value>,
    /// True if a call without it, or without an object around it, is invalid.
    pub(super) is_required: bool,
    /// True if it is an item of a list that may have others.
    pub(super) is_item: bool,
}

/// The place in the arguments of `tool` to which a JSON Pointer leads.
pub(super) fn argument<'s>(tool: &'s Value, pointer: &str) -> ArgumentPlace<'s> {
    let Some(root) = tool.get("inputSchema") else { return ArgumentPlace::Undescribed };
    let mut at = ArgumentSchemas { schemas: alternatives(root, root), is_required: true, is_item: false };
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let step = SchemaStep::of(root, &at.schemas, &token);
        if step.schemas.is_empty() {
            return match step.is_open {
                true => ArgumentPlace::Undescribed,
                false => ArgumentPlace::Absent(step.known),
            };
        }
        at = ArgumentSchemas {
            schemas: step.schemas,
            is_required: at.is_required && step.is_required,
            is_item: at.is_item || step.is_item,
        };
    }
    ArgumentPlace::Described(at)
}

/// One step into an object or a list.
#[derive(Default)]
struct SchemaStep<'s> {
    schemas: Vec<&'s Value>,
    known: BTreeSet<&'s str>,
    is_required: bool,
    is_item: bool,
    /// True if the schemas permit values there that they do not describe.
    is_open: bool,
}

impl<'s> SchemaStep<'s> {
    fn of(root: &'s Value, from: &[&'s Value], token: &str) -> Self {
        let mut step = Self::default();
        for schema in from.iter().copied() {
            step.enter_object(root, schema, token);
            step.enter_list(root, schema, token);
        }
        step
    }

    fn enter_object(&mut self, root: &'s Value, schema: &'s Value, token: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        if let Some(found) = properties.and_then(|properties| properties.get(token)) {
            self.schemas.extend(alternatives(root, found));
        }
        self.known.extend(properties.into_iter().flatten().map(|(name, _)| name.as_str()));
        let required = schema.get("required").and_then(Value::as_array);
        self.is_required |= required.is_some_and(|names| names.iter().any(|name| name == token));
        let others = schema.get("additionalProperties");
        let describes_others =
            others.is_some_and(|others| others.is_object() || *others == Value::Bool(true));
        let describes_nothing = properties.is_none() && others.is_none() && schema.get("items").is_none();
        let is_unusual = ["patternProperties", "if", "dependentSchemas", "$dynamicRef", "not"]
            .iter()
            .any(|name| schema.get(name).is_some());
        self.is_open |= describes_others || describes_nothing || is_unusual;
    }

    fn enter_list(&mut self, root: &'s Value, schema: &'s Value, token: &str) {
        let Ok(index) = token.parse::<usize>() else { return };
        let fixed = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
        let item = match index < fixed {
            true => schema.get("prefixItems").and_then(|items| items.get(index)),
            false => schema.get("items").filter(|items| items.is_object()),
        };
        let Some(item) = item else { return };
        self.schemas.extend(alternatives(root, item));
        let bound =
            |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        self.is_required |= bound("minItems").is_some_and(|fewest| index < fewest);
        self.is_item |= index >= fixed && bound("maxItems").is_none_or(|most| most > 1);
    }
}

/// A schema, with references and alternatives in place of those that only combine others.
fn alternatives<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    let mut found = Vec::new();
    let mut open = vec![(schema, 0)];
    while let Some((schema, depth)) = open.pop() {
        let lists = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|name| schema.get(name)?.as_array());
        let referred = schema.get("$ref").and_then(Value::as_str).and_then(|target| local(root, target));
        let others: Vec<_> = lists.flatten().chain(referred).collect();
        let describes =
            ["type", "properties", "enum", "const", "items"].iter().any(|name| schema.get(name).is_some());
        if others.is_empty() || describes || depth >= DEEPEST || found.len() >= MOST_ALTERNATIVES {
            found.push(schema);
        }
        if depth < DEEPEST && found.len() < MOST_ALTERNATIVES {
            open.extend(others.into_iter().map(|other| (other, depth + 1)));
        }
    }
    found
}

/// The most alternatives of one argument that are compared.
const MOST_ALTERNATIVES: usize = 64;

/// The schema in the same document that a reference names.
fn local<'s>(root: &'s Value, target: &str) -> Option<&'s Value> {
    root.pointer(target.strip_prefix('#')?)
}

/// False if no value of one of these types can meet the schema.
pub(super) fn may_be(schema: &Value, types: &[&str]) -> bool {
    let is_one = |name: &Value| name.as_str().is_some_and(|name| types.contains(&name));
    let by_type = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().any(is_one),
        Some(name) => is_one(name),
        None => true,
    };
    let values = enumerated(schema);
    by_type
        && values.is_none_or(|values| values.iter().any(|value| types.iter().any(|name| is_of(value, name))))
}

/// The only values that the schema permits, if it lists them.
pub(super) fn enumerated(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => Some(values.iter().collect()),
        (_, Some(only)) => Some(vec![only]),
        _ => None,
    }
}

/// The largest number that the schema permits.
pub(super) fn largest(schema: &Value) -> Option<f64> {
    bound(schema, ["maximum", "exclusiveMaximum"], f64::min)
}

/// The smallest number that the schema permits.
pub(super) fn smallest(schema: &Value) -> Option<f64> {
    bound(schema, ["minimum", "exclusiveMinimum"], f64::max)
}

fn bound(schema: &Value, names: [&str; 2], nearer: fn(f64, f64) -> f64) -> Option<f64> {
    names.iter().filter_map(|name| schema.get(name)?.as_f64()).reduce(nearer)
}

/// False if the value surely does not meet the schema.
pub(super) fn permits(schema: &Value, value: &Value) -> bool {
    let by_type = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(|name| is_of(value, name)),
        Some(Value::String(name)) => is_of(value, name),
        _ => true,
    };
    let by_list = enumerated(schema).is_none_or(|values| values.into_iter().any(|own| is_equal(own, value)));
    let by_bounds = value.as_f64().is_none_or(|number| {
        largest(schema).is_none_or(|most| number <= most)
            && smallest(schema).is_none_or(|least| number >= least)
    });
    by_type && by_list && by_bounds
}

/// Numbers are equal by their values: 1 is 1.0.
pub(super) fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

/// True if the value has this type of JSON Schema. An unknown type may be anything.
fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool() -> Value {
        json!({ "name": "t", "inputSchema": {
            "type": "object",
            "required": ["path", "filter"],
            "additionalProperties": false,
            "properties": {
                "path": { "type": "string" },
                "a/b": { "type": "boolean" },
                "mode": { "$ref": "#/$defs/mode" },
                "limit": { "anyOf": [{ "type": "integer", "maximum": 100 }, { "type": "null" }] },
                "rows": { "type": "array", "items": { "type": "object", "properties": { "id": { "type": "string" } } } },
                "free": {},
                "filter": {
                    "type": "object", "required": ["by"],
                    "properties": { "by": { "type": "string" }, "desc": { "type": "boolean" } },
                },
            },
            "$defs": { "mode": { "enum": ["read", "write"] } },
        } })
    }

    /// `required`, `optional` or `item`; the known names if there is no such argument; `-` if that is unknown.
    fn place(pointer: &str) -> String {
        match argument(&tool(), pointer) {
            ArgumentPlace::Described(found) if found.is_item => "item".to_owned(),
            ArgumentPlace::Described(found) if found.is_required => "required".to_owned(),
            ArgumentPlace::Described(_) => "optional".to_owned(),
            ArgumentPlace::Absent(known) => known.into_iter().collect::<Vec<_>>().join(" "),
            ArgumentPlace::Undescribed => "-".to_owned(),
        }
    }

    #[test]
    fn a_pointer_leads_to_what_the_schema_describes() {
        for (pointer, expected) in [
            ("", "required"),
            ("/path", "required"),
            ("/a~1b", "optional"),
            ("/mode", "optional"),
            ("/limit", "optional"),
            ("/filter/by", "required"),
            ("/filter/desc", "optional"),
            ("/rows/0/id", "item"),
            ("/free/anything", "-"),
            ("/filter/asc", "by desc"),
            ("/paths", "a/b filter free limit mode path rows"),
        ] {
            assert_eq!(place(pointer), expected, "{pointer}");
        }
    }

    #[test]
    fn a_value_is_refused_only_if_it_surely_does_not_fit() {
        for (schema, value, expected) in [
            (json!({ "type": "string" }), json!("a"), true),
            (json!({ "type": "string" }), json!(1), false),
            (json!({ "type": ["string", "null"] }), json!(null), true),
            (json!({ "enum": ["read", 1.0] }), json!(1), true),
            (json!({ "enum": ["read"] }), json!("write"), false),
            (json!({ "const": "read" }), json!("write"), false),
            (json!({ "type": "integer", "maximum": 100 }), json!(101), false),
            (json!({ "type": "integer" }), json!(1.5), false),
            (json!({ "type": "strange" }), json!(1.5), true),
            (json!({}), json!([1]), true),
        ] {
            assert_eq!(permits(&schema, &value), expected, "{schema} {value}");
        }
        assert!(!may_be(&json!({ "enum": [1, 2] }), &["string"]) && may_be(&json!({}), &["string"]));
    }

    #[test]
    fn endless_references_end() {
        let tool = json!({ "inputSchema": {
            "properties": { "a": { "$ref": "#/properties/a" } }, "anyOf": [{ "$ref": "#" }, { "$ref": "#" }],
        } });
        assert!(matches!(argument(&tool, "/a"), ArgumentPlace::Described(_)));
        assert!(matches!(argument(&tool, "/b"), ArgumentPlace::Absent(_) | ArgumentPlace::Undescribed));
    }
}
