//! The values that a schema accepts, and its predecessor did not: a tool that takes more can send more away.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::hidden::shown;

/// Bounds from below: a smaller one accepts more.
const LOWER: [&str; 6] =
    ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"];

/// Bounds from above: a larger one accepts more.
const UPPER: [&str; 6] =
    ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"];

/// Conditions that accept other values if they change.
const CONDITIONS: [&str; 12] = [
    "pattern",
    "format",
    "multipleOf",
    "const",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "dependentRequired",
    "$ref",
];

/// Members that contain schemas by name.
const NAMED_SCHEMAS: [&str; 4] = ["$defs", "definitions", "patternProperties", "dependentSchemas"];

/// Each schema that accepts more than before, by its JSON pointer, with what it accepts. `place` is the pointer of the
/// schemas. A missing schema accepts everything.
pub(super) fn widenings(before: Option<&Value>, after: Option<&Value>, place: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    compare(before, after, place, &mut found);
    found
}

type FoundWidenings = Vec<(String, String)>;

fn compare(before: Option<&Value>, after: Option<&Value>, place: &str, found: &mut FoundWidenings) {
    if before == after {
        return;
    }
    let mut wider = |what: &str| found.push((shown(place), what.to_owned()));
    match (before.unwrap_or(&Value::Bool(true)), after.unwrap_or(&Value::Bool(true))) {
        (Value::Bool(true), _) | (_, Value::Bool(false)) => {}
        (Value::Bool(false), _) => wider("it accepts values, and accepted none"),
        (_, Value::Bool(true)) => wider("it accepts everything"),
        (Value::Object(before), Value::Object(after)) => Schemas { before, after, place }.compare(found),
        _ => wider("it is a schema no more, or another kind of one"),
    }
}

/// Two schemas that are objects.
struct Schemas<'a> {
    before: &'a Map<String, Value>,
    after: &'a Map<String, Value>,
    place: &'a str,
}

impl<'a> Schemas<'a> {
    fn compare(&self, found: &mut FoundWidenings) {
        let own = [
            self.types(),
            self.enumeration(),
            self.bounds(),
            self.conditions(),
            self.required(),
            self.properties(),
            self.alternatives(),
        ];
        found.extend(own.into_iter().flatten().map(|what| (shown(self.place), what)));
        self.additional(found);
        self.parts(found);
    }

    fn pair(&self, member: &str) -> (Option<&'a Value>, Option<&'a Value>) {
        (self.before.get(member), self.after.get(member))
    }

    /// The types that are accepted. None: all.
    fn types(&self) -> Vec<String> {
        let types = |schema: &Map<String, Value>| match schema.get("type") {
            Some(Value::String(one)) => Some(BTreeSet::from([one.clone()])),
            Some(Value::Array(several)) => {
                Some(several.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => None,
        };
        match (types(self.before), types(self.after)) {
            (Some(_), None) => vec!["the type is not limited any more".to_owned()],
            (Some(before), Some(after)) => {
                // Each integer is a number.
                let is_old =
                    |name: &String| before.contains(name) || (name == "integer" && before.contains("number"));
                let new = after.iter().filter(|name| !is_old(name));
                new.map(|name| format!("a further type, `{}`", shown(name))).collect()
            }
            (None, _) => Vec::new(),
        }
    }

    fn enumeration(&self) -> Vec<String> {
        match self.pair("enum") {
            (Some(Value::Array(before)), Some(Value::Array(after))) => {
                let new = after.iter().filter(|value| !before.contains(value));
                new.map(|value| format!("a further value of `enum`, {}", shown(&value.to_string()))).collect()
            }
            (Some(Value::Array(_)), _) => vec!["the values are not enumerated any more".to_owned()],
            _ => Vec::new(),
        }
    }

    fn bounds(&self) -> Vec<String> {
        let lower = LOWER.into_iter().filter_map(|name| self.bound(name, |before, after| after < before));
        let upper = UPPER.into_iter().filter_map(|name| self.bound(name, |before, after| after > before));
        let unique = match self.pair("uniqueItems") {
            (Some(Value::Bool(true)), after) if after != Some(&Value::Bool(true)) => {
                Some("items may be equal".to_owned())
            }
            _ => None,
        };
        lower.chain(upper).chain(unique).collect()
    }

    fn bound(&self, name: &str, is_wider: fn(f64, f64) -> bool) -> Option<String> {
        let (before, after) = self.pair(name);
        let before = before?;
        match (before.as_f64(), after.and_then(Value::as_f64)) {
            (_, None) => Some(format!("`{name}` is lifted (it was {before})")),
            (Some(from), Some(to)) if is_wider(from, to) => Some(format!("`{name}` is {to}, and was {from}")),
            _ => None,
        }
    }

    fn conditions(&self) -> Vec<String> {
        let changed = CONDITIONS.into_iter().filter_map(|name| match self.pair(name) {
            (Some(_), None) => Some(format!("`{name}` is gone")),
            (Some(before), Some(after)) if before != after => Some(format!("`{name}` is another one")),
            _ => None,
        });
        changed.collect()
    }

    fn required(&self) -> Vec<String> {
        let names = |schema: &'a Map<String, Value>| {
            let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).collect::<BTreeSet<_>>()
        };
        let after = names(self.after);
        let gone = names(self.before).into_iter().filter(|name| !after.contains(name));
        gone.map(|name| format!("`{}` is not required any more", shown(name))).collect()
    }

    fn properties(&self) -> Vec<String> {
        let names = |schema: &'a Map<String, Value>| {
            schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys).collect()
        };
        let (before, after): (BTreeSet<&String>, BTreeSet<&String>) = (names(self.before), names(self.after));
        let is_required = |name: &String| {
            let required = self.after.get("required").and_then(Value::as_array);
            required.is_some_and(|required| required.iter().any(|other| other.as_str() == Some(name)))
        };
        let new = after.difference(&before).map(|name| {
            let form = if is_required(name) { "required" } else { "optional" };
            format!("a new {form} property, `{}`", shown(name))
        });
        let is_open = self.after.get("additionalProperties") != Some(&Value::Bool(false));
        let gone = before.difference(&after).filter(|_| is_open);
        let gone = gone.map(|name| format!("the property `{}` has no schema any more", shown(name)));
        new.chain(gone).collect()
    }

    /// Members whose items are alternatives, or conditions that all have to hold.
    fn alternatives(&self) -> Vec<String> {
        let mut found = Vec::new();
        for name in ["anyOf", "oneOf"] {
            match self.pair(name) {
                (Some(_), None) => found.push(format!("`{name}` is gone")),
                (Some(Value::Array(before)), Some(Value::Array(after))) => {
                    let new = after.iter().filter(|value| !before.contains(value)).count();
                    if new > 0 {
                        found.push(format!("`{name}` has {new} other alternatives"));
                    }
                }
                _ => {}
            }
        }
        match self.pair("allOf") {
            (Some(_), None) => found.push("`allOf` is gone".to_owned()),
            (Some(Value::Array(before)), Some(Value::Array(after))) => {
                let gone = before.iter().filter(|value| !after.contains(value)).count();
                if gone > 0 {
                    found.push(format!("{gone} conditions of `allOf` are gone or others"));
                }
            }
            _ => {}
        }
        found
    }

    /// Members that are not named, and items beyond the named ones.
    fn additional(&self, found: &mut FoundWidenings) {
        for name in ["additionalProperties", "unevaluatedProperties", "unevaluatedItems", "additionalItems"] {
            let (before, after) = self.pair(name);
            let is_open = |value: Option<&Value>| matches!(value, None | Some(Value::Bool(true)));
            match (is_open(before), is_open(after)) {
                (true, _) => {}
                (false, true) => found.push((shown(self.place), format!("`{name}` is open"))),
                (false, false) => compare(before, after, &format!("{}/{name}", self.place), found),
            }
        }
    }

    /// The schemas within.
    fn parts(&self, found: &mut FoundWidenings) {
        if let (Some(Value::Object(before)), Some(Value::Object(after))) = self.pair("properties") {
            for (name, schema) in before {
                if let Some(after) = after.get(name) {
                    compare(Some(schema), Some(after), &self.below("properties", name), found);
                }
            }
        }
        for member in NAMED_SCHEMAS {
            let (Some(Value::Object(before)), after) = self.pair(member) else { continue };
            for (name, schema) in before {
                let after = after.and_then(|after| after.get(name));
                compare(Some(schema), after, &self.below(member, name), found);
            }
        }
        match self.pair("items") {
            (Some(Value::Array(_)), _) | (_, Some(Value::Array(_))) => self.item_lists("items", found),
            (before, after) => compare(before, after, &format!("{}/items", self.place), found),
        }
        self.item_lists("prefixItems", found);
    }

    fn item_lists(&self, member: &str, found: &mut FoundWidenings) {
        match self.pair(member) {
            (Some(Value::Array(before)), Some(Value::Array(after))) => {
                for (index, schema) in before.iter().enumerate() {
                    compare(Some(schema), after.get(index), &self.below(member, &index.to_string()), found);
                }
            }
            (Some(_), after) if !matches!(after, Some(Value::Array(_))) => {
                found.push((shown(self.place), format!("`{member}` is gone, or another kind of schema")));
            }
            _ => {}
        }
    }

    fn below(&self, member: &str, name: &str) -> String {
        format!("{}/{member}/{}", self.place, name.replace('~', "~0").replace('/', "~1"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(before: Value, after: Value) -> Vec<String> {
        let found = widenings(Some(&before), Some(&after), "");
        found.into_iter().map(|(place, what)| format!("{place} {what}").trim().to_owned()).collect()
    }

    fn wider(before: Value, after: Value, what: &str) {
        assert_eq!(found(before.clone(), after.clone()), [what], "{before} → {after}");
        let back = found(after.clone(), before.clone());
        assert!(!back.contains(&what.to_owned()), "{after} → {before}");
    }

    #[test]
    fn types() {
        wider(json!({ "type": "string" }), json!({ "type": ["string", "null"] }), "a further type, `null`");
        wider(json!({ "type": "string" }), json!({}), "the type is not limited any more");
        assert!(found(json!({ "type": "number" }), json!({ "type": "integer" })).is_empty());
        assert_eq!(
            found(json!({ "type": "integer" }), json!({ "type": "number" })),
            ["a further type, `number`"]
        );
    }

    #[test]
    fn enumerations() {
        wider(json!({ "enum": ["a"] }), json!({ "enum": ["a", "b"] }), "a further value of `enum`, \"b\"");
        wider(json!({ "enum": ["a"] }), json!({}), "the values are not enumerated any more");
        assert_eq!(
            found(json!({ "enum": ["a"] }), json!({ "enum": ["a\u{200b}"] })),
            [r#"a further value of `enum`, "a\u{200b}""#]
        );
    }

    #[test]
    fn properties() {
        let object =
            |properties: Value, required: Value| json!({ "properties": properties, "required": required });
        wider(
            object(json!({ "a": {} }), json!(["a"])),
            object(json!({ "a": {}, "b": {} }), json!(["a"])),
            "a new optional property, `b`",
        );
        assert_eq!(
            found(object(json!({}), json!([])), object(json!({ "b": {} }), json!(["b"]))),
            ["a new required property, `b`"]
        );
        wider(
            object(json!({ "a": {} }), json!(["a"])),
            object(json!({ "a": {} }), json!([])),
            "`a` is not required any more",
        );
        assert_eq!(
            found(json!({ "properties": { "a": {} } }), json!({ "properties": {} })),
            ["the property `a` has no schema any more"]
        );
        let closed = json!({ "properties": {}, "additionalProperties": false });
        let known = json!({ "properties": { "a": {} }, "additionalProperties": false });
        assert!(found(known, closed).is_empty());
    }

    #[test]
    fn additional_properties() {
        let closed = json!({ "additionalProperties": false });
        wider(closed.clone(), json!({ "additionalProperties": true }), "`additionalProperties` is open");
        wider(closed.clone(), json!({}), "`additionalProperties` is open");
        wider(
            closed,
            json!({ "additionalProperties": { "type": "string" } }),
            "/additionalProperties it accepts values, and accepted none",
        );
        wider(
            json!({ "additionalProperties": { "type": "string" } }),
            json!({ "additionalProperties": { "type": ["string", "null"] } }),
            "/additionalProperties a further type, `null`",
        );
    }

    #[test]
    fn bounds_and_conditions() {
        for (name, tight, loose) in [
            ("minimum", 2, 1),
            ("exclusiveMinimum", 2, 1),
            ("minLength", 2, 1),
            ("minItems", 2, 1),
            ("maximum", 1, 2),
            ("maxLength", 1, 2),
            ("maxItems", 1, 2),
            ("maxProperties", 1, 2),
        ] {
            let of = |bound: i64| Value::from_iter([(name, bound)]);
            wider(of(tight), of(loose), &format!("`{name}` is {loose}, and was {tight}"));
            wider(of(tight), json!({}), &format!("`{name}` is lifted (it was {tight})"));
        }
        wider(json!({ "pattern": "^a$" }), json!({}), "`pattern` is gone");
        wider(json!({ "format": "uri" }), json!({}), "`format` is gone");
        wider(json!({ "const": 1 }), json!({}), "`const` is gone");
        wider(json!({ "uniqueItems": true }), json!({}), "items may be equal");
        assert_eq!(
            found(json!({ "pattern": "^a$" }), json!({ "pattern": "." })),
            ["`pattern` is another one"]
        );
    }

    #[test]
    fn alternatives() {
        let [string, number] = [json!({ "type": "string" }), json!({ "type": "number" })];
        wider(
            json!({ "anyOf": [string] }),
            json!({ "anyOf": [string, number] }),
            "`anyOf` has 1 other alternatives",
        );
        wider(json!({ "oneOf": [string] }), json!({}), "`oneOf` is gone");
        wider(
            json!({ "allOf": [string, number] }),
            json!({ "allOf": [string] }),
            "1 conditions of `allOf` are gone or others",
        );
        wider(json!({ "not": number }), json!({}), "`not` is gone");
    }

    #[test]
    fn schemas_within() {
        let [tight, loose] = [json!({ "type": "string" }), json!({})];
        let what = "the type is not limited any more";
        for (wrap, place) in [
            (|inner: &Value| json!({ "properties": { "a/b": inner } })) as fn(&Value) -> Value,
            |inner| json!({ "$defs": { "d": inner } }),
            |inner| json!({ "patternProperties": { "^x": inner } }),
            |inner| json!({ "items": inner }),
            |inner| json!({ "prefixItems": [inner] }),
            |inner| json!({ "properties": { "a": { "items": { "properties": { "b": inner } } } } }),
        ]
        .into_iter()
        .zip([
            "/properties/a~1b",
            "/$defs/d",
            "/patternProperties/^x",
            "/items",
            "/prefixItems/0",
            "/properties/a/items/properties/b",
        ]) {
            wider(wrap(&tight), wrap(&loose), &format!("{place} {what}"));
        }
        wider(json!({ "items": tight }), json!({}), "/items it accepts everything");
        wider(
            json!({ "prefixItems": [tight] }),
            json!({}),
            "`prefixItems` is gone, or another kind of schema",
        );
    }

    #[test]
    fn whole_schemas() {
        assert!(widenings(None, Some(&json!({ "type": "object" })), "").is_empty());
        assert_eq!(widenings(Some(&json!({ "type": "object" })), None, "").len(), 1);
        assert_eq!(found(json!(false), json!({})), ["it accepts values, and accepted none"]);
        assert_eq!(found(json!({}), json!("x")), ["it is a schema no more, or another kind of one"]);
    }
}
