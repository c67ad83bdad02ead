//! The schema of a plugin's settings is untrusted. The host walks it, so this has to end soon.

use std::collections::HashMap;
use std::ptr;

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use witgate_base::printable::clean;

/// Maximum number of objects and lists in a schema. The largest of a shipped plugin has some two hundred.
const LARGEST: usize = 2000;

/// Maximum number of schemas about the same value.
const MOST_AT_ONCE: usize = 2000;

/// Maximum length of a chain of references.
const DEEPEST: usize = 64;

/// Maximum size of a compiled pattern, in bytes. `^[a-z0-9-]{1,64}$` has a few thousand.
const LARGEST_PATTERN: usize = 256 << 10;

/// Maximum number of backtracking steps of a pattern.
const LONGEST_MATCH: usize = 100_000;

const ITSELF: &str = "the plugin's config schema refers to itself for the same value, without end; let such references apply only to values deeper in the settings";
const TOO_LARGE: &str = "the plugin's config schema is too large";
const ELSEWHERE: &str = "the plugin's config schema refers to something outside it; write `#/$defs/NAME`, with the \
                         definition under `$defs`";

/// Keywords whose schemas, or lists of schemas, apply to the same value as the schema that contains them.
const SAME_VALUE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];

/// Keywords with references that are not supported here.
const NOT_FOLLOWED: [&str; 4] = ["$id", "$dynamicRef", "$recursiveRef", "id"];

/// A valid schema that can be walked.
#[derive(Debug)]
pub struct Schema {
    pub(super) json: Value,
    pub(super) validator: Validator,
}

impl Schema {
    /// Reads the schema of a plugin's settings.
    ///
    /// # Errors
    /// With its fault.
    pub fn read(text: &str) -> Result<Self, String> {
        let json = serde_json::from_str(text).map_err(|error| {
            format!("the plugin's config schema is not JSON ({error}); correct what `describe` returns")
        })?;
        check(&json)?;
        let validator = compile(&json)?;
        Ok(Self { json, validator })
    }

    /// The schema, unchanged.
    pub fn json(&self) -> &Value {
        &self.json
    }
}

/// Checks that a walk of a schema with its references ends.
///
/// # Errors
/// With the reason why it does not.
fn check(schema: &Value) -> Result<(), String> {
    go_through(schema).map_err(|fault| match leads_elsewhere(schema).filter(|_| fault == ELSEWHERE) {
        Some(reference) => format!("{fault} (it has `{}`)", clean(reference)),
        None => fault.to_owned(),
    })
}

/// The first reference that leads out of a schema. The schema is known to be finite.
fn leads_elsewhere(schema: &Value) -> Option<&str> {
    let mut rest = vec![schema];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(members) => {
                let inside = |target: &str| {
                    target.strip_prefix('#').is_some_and(|path| schema.pointer(path).is_some())
                };
                let reference = members.get("$ref").and_then(Value::as_str).filter(|target| !inside(target));
                let others = NOT_FOLLOWED.iter().filter_map(|name| members.get(*name)?.as_str());
                if let Some(found) = reference.into_iter().chain(others).next() {
                    return Some(found);
                }
                rest.extend(members.values());
            }
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
    }
    None
}

fn go_through(schema: &Value) -> Result<(), &'static str> {
    let mut extent = Extent { root: schema, at_once: HashMap::new() };
    let mut seen = 0;
    let mut rest = vec![schema];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(members) => rest.extend(members.values()),
            Value::Array(items) => rest.extend(items),
            _ => continue,
        }
        seen += 1;
        if seen > LARGEST {
            return Err(TOO_LARGE);
        }
        extent.of(value, 0)?;
    }
    Ok(())
}

/// Compiles a checked schema.
///
/// # Errors
/// If it is invalid.
fn compile(schema: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::fancy_regex().size_limit(LARGEST_PATTERN).backtrack_limit(LONGEST_MATCH);
    let compiled = jsonschema::options().with_pattern_options(patterns).build(schema);
    // The error may quote the whole value, which is the plugin's text.
    let said = |error: jsonschema::ValidationError<'_>| match error.instance_path().as_str() {
        "" => clean(&error.to_string()),
        place => clean(&format!("at `{place}`, {error}")),
    };
    compiled.map_err(|error| {
        format!(
            "the plugin's config schema is not a JSON Schema: {}; correct what `describe` returns",
            said(error)
        )
    })
}

/// Counts the schemas that apply to one value.
struct Extent<'a> {
    root: &'a Value,
    /// The result for each schema, by its address; none while it is being computed.
    at_once: HashMap<*const Value, Option<usize>>,
}

impl<'a> Extent<'a> {
    fn of(&mut self, schema: &'a Value, depth: usize) -> Result<usize, &'static str> {
        let Value::Object(members) = schema else { return Ok(1) };
        match self.at_once.get(&ptr::from_ref(schema)) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err(ITSELF),
            None if depth > DEEPEST => return Err(TOO_LARGE),
            None => {}
        }
        self.at_once.insert(schema, None);
        let mut sum = 1_usize;
        for next in self.same_value(members)? {
            sum = sum.saturating_add(self.of(next, depth + 1)?);
        }
        if sum > MOST_AT_ONCE {
            return Err(TOO_LARGE);
        }
        self.at_once.insert(schema, Some(sum));
        Ok(sum)
    }

    /// The schemas that apply to the same value as the one with these members.
    fn same_value(&self, members: &'a Map<String, Value>) -> Result<Vec<&'a Value>, &'static str> {
        // A member of that name that is not a text is a setting with this name.
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if NOT_FOLLOWED.iter().any(|name| text(name).is_some()) {
            return Err(ELSEWHERE);
        }
        let mut schemas = Vec::new();
        for keyword in SAME_VALUE {
            match members.get(keyword) {
                Some(Value::Array(all)) => schemas.extend(all),
                Some(Value::Object(each)) if keyword.starts_with("dependen") => schemas.extend(each.values()),
                Some(one) => schemas.push(one),
                None => {}
            }
        }
        if let Some(target) = text("$ref") {
            let path = target.strip_prefix('#').ok_or(ELSEWHERE)?;
            schemas.push(self.root.pointer(path).ok_or(ELSEWHERE)?);
        }
        Ok(schemas)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ELSEWHERE, ITSELF, TOO_LARGE, check as checked, compile, go_through as check};

    /// `$defs`, in which each schema refers to the next by `link`.
    fn chain(length: usize, link: impl Fn(Value) -> Value) -> Value {
        let next = |n: usize| json!({ "$ref": format!("#/$defs/{n}") });
        let mut defs: serde_json::Map<String, Value> =
            (0..length).map(|n| (n.to_string(), link(next(n + 1)))).collect();
        defs.insert(length.to_string(), json!({}));
        json!({ "$defs": defs, "$ref": "#/$defs/0" })
    }

    #[test]
    fn a_schema_with_an_endless_reference_is_refused() {
        for schema in [
            json!({ "$ref": "#" }),
            json!({ "anyOf": [{ "$ref": "#" }] }),
            json!({ "not": { "$ref": "#" } }),
            json!({ "dependentSchemas": { "a": { "$ref": "#" } } }),
            json!({ "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/b" }] }, "b": { "$ref": "#/$defs/a" } } }),
            json!({ "properties": { "a": { "if": {}, "then": { "$ref": "#/properties/a" } } } }),
        ] {
            assert_eq!(check(&schema), Err(ITSELF), "{schema}");
        }
    }

    #[test]
    fn a_schema_may_refer_to_itself_for_nested_values() {
        let tree = json!({ "properties": { "children": { "items": { "$ref": "#" } } } });
        assert_eq!(check(&tree), Ok(()));
        assert!(compile(&tree).unwrap().is_valid(&json!({ "children": [{ "children": [] }] })));
    }

    #[test]
    fn a_schema_that_multiplies_is_too_large() {
        let twice = |next: Value| json!({ "allOf": [next.clone(), next] });
        assert_eq!(check(&chain(60, twice)), Err(TOO_LARGE));
        assert_eq!(check(&chain(12, twice)), Err(TOO_LARGE));
        assert_eq!(check(&chain(5, twice)), Ok(()));
    }

    #[test]
    fn a_schema_with_a_long_chain_of_references_is_too_large() {
        assert_eq!(check(&chain(5000, |next| next)), Err(TOO_LARGE));
        assert_eq!(check(&chain(100, |next| next)), Err(TOO_LARGE));
        assert_eq!(check(&chain(5000, |next| json!({ "items": next }))), Err(TOO_LARGE));
    }

    /// The largest accepted schema can be compiled on a stack like that of a worker thread.
    #[test]
    fn the_largest_accepted_schema_compiles() {
        let items = chain(990, |next| json!({ "items": next }));
        assert_eq!(check(&items), Ok(()));
        compile(&items).unwrap();
        let properties = chain(660, |next| json!({ "properties": { "a": next } }));
        assert_eq!(check(&properties), Ok(()));
        compile(&properties).unwrap();
    }

    #[test]
    fn a_schema_does_not_load_other_documents() {
        for schema in [
            json!({ "$ref": "http://127.0.0.1:1/" }),
            json!({ "$ref": "file:///etc/passwd" }),
            json!({ "$ref": "#anchor" }),
            json!({ "$ref": "#/$defs/missing" }),
            json!({ "properties": { "a": { "$dynamicRef": "#node" } } }),
            json!({ "$defs": { "a": { "$id": "http://example.com/", "$ref": "#" } } }),
        ] {
            assert_eq!(check(&schema), Err(ELSEWHERE), "{schema}");
            assert!(checked(&schema).unwrap_err().contains("(it has `"), "{schema}");
        }
        // Settings may have any names.
        let names = json!({ "properties": { "$ref": { "type": "string" }, "$id": {}, "not": {} } });
        assert_eq!(check(&names), Ok(()));
    }

    #[test]
    fn faults_of_settings_are_reported_briefly() {
        let error = compile(&json!({ "type": "\u{9b}2J".repeat(10_000) })).unwrap_err();
        assert!(error.len() < 1200 && !error.contains('\u{9b}'), "{} bytes", error.len());
    }

    #[test]
    fn a_pattern_that_needs_much_memory_is_refused() {
        let error = compile(&json!({ "pattern": "\\p{L}{500}" })).unwrap_err();
        assert!(error.contains("not a JSON Schema"), "{error}");
        compile(&json!({ "pattern": "^[a-z0-9-]{1,64}$" })).unwrap();
    }
}
