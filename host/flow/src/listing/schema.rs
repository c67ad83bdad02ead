//! The arguments that are credentials, in the input schemas of tools: shown to callers who need them, and hidden from
//! others. Everything else in an entry keeps its bytes.

use std::ops::Range;

use serde_json::json;
use serde_json::value::RawValue;
use witgate_config::ArgumentSchema;
use witgate_message::json::{cuts, quote, span_in, splice};
use witgate_message::parse::folds_to;
use witgate_message::strict_json::{StrictMembers, string};
use witgate_policy::generation::Pipeline;

use crate::authorize::EntryAccess;

const DESCRIPTION: &str =
    "A credential for this call, such as an API key or a token. The tool does not get it";

/// The changes of a tool's input schema.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SchemaChanges<'a> {
    shown: Vec<&'a str>,
    hidden: Vec<&'a str>,
    /// True if a call needs the shown argument.
    is_required: bool,
}

impl<'a> SchemaChanges<'a> {
    /// The changes of the schema of `tool` for a caller with this access to it. What only shadow policies judge stays.
    pub(super) fn of(pipeline: &'a Pipeline, tool: &str, is_anonymous: bool, access: EntryAccess) -> Self {
        let mut changes = Self::default();
        let declared = pipeline.authenticate.iter().filter_map(|policy| policy.credential_argument());
        for argument in declared.filter(|argument| argument.is_of(tool)) {
            let list = match argument.schema {
                ArgumentSchema::Keep => continue,
                ArgumentSchema::Show => &mut changes.shown,
                ArgumentSchema::Auto if is_anonymous => &mut changes.shown,
                ArgumentSchema::Auto | ArgumentSchema::Hide => &mut changes.hidden,
            };
            if !list.contains(&&*argument.name) {
                list.push(&argument.name);
            }
        }
        let shown = &changes.shown;
        changes.hidden.retain(|name| !shown.contains(name));
        // One of several is enough, which a schema does not say.
        changes.is_required = access == EntryAccess::WithCredential && changes.shown.len() == 1;
        changes
    }

    fn is_empty(&self) -> bool {
        self.shown.is_empty() && self.hidden.is_empty()
    }

    /// The entry of a tool with these changes. None: it stays as it is, also if it has no readable schema.
    pub(super) fn apply(&self, entry: &str) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let schema = StrictMembers::read(entry).ok()?.get("inputSchema")?;
        let mut edits = SchemaEdits { entry, list: Vec::new(), new_members: Vec::new() };
        let members = StrictMembers::read(schema.get()).ok()?;
        edits.properties(members.get("properties"), self)?;
        edits.required(members.get("required"), self)?;
        edits.members(schema, &members)?;
        if edits.list.is_empty() {
            return None;
        }
        let mut list: Vec<_> = edits.list.iter().map(|(span, text)| (span.clone(), text.as_str())).collect();
        String::from_utf8(splice(entry.as_bytes(), &mut list).to_vec()).ok()
    }
}

/// Warns, once for each policy, of a tool that requires an argument which its server never gets.
pub(super) fn tell_of_requirement(pipeline: &Pipeline, tool: &str, entry: &str) {
    for (policy, argument) in pipeline.credential_arguments() {
        let never_comes = argument.inject.is_none() && argument.is_of(tool);
        if never_comes && requires(entry, &argument.name) && policy.is_first_report_of_argument() {
            tracing::warn!(
                policy = %policy.name(),
                tool,
                argument = &*argument.name,
                "the server's tool requires the argument, which Witgate takes out: its calls will fail; set `inject` in `argument`, or do not require it in the server"
            );
        }
    }
}

/// True if the input schema of an entry requires the argument.
fn requires(entry: &str, argument: &str) -> bool {
    let schema = StrictMembers::read(entry).ok().and_then(|entry| entry.get("inputSchema"));
    let members = schema.and_then(|schema| StrictMembers::read(schema.get()).ok());
    let names = members.and_then(|members| members.get("required"));
    let names = names.and_then(|names| serde_json::from_str::<Vec<&RawValue>>(names.get()).ok());
    names.is_some_and(|names| names.iter().any(|name| string(name).is_some_and(|name| name == argument)))
}

/// The edits of the text of an entry.
struct SchemaEdits<'a> {
    entry: &'a str,
    list: Vec<(Range<usize>, String)>,
    /// Members that the schema does not have.
    new_members: Vec<String>,
}

impl SchemaEdits<'_> {
    fn properties(&mut self, properties: Option<&RawValue>, changes: &SchemaChanges<'_>) -> Option<()> {
        let Some(properties) = properties else {
            if !changes.shown.is_empty() {
                let members: Vec<_> = changes.shown.iter().map(|name| property(name)).collect();
                self.new_members.push(format!("\"properties\":{{{}}}", members.join(",")));
            }
            return Some(());
        };
        let members = StrictMembers::read(properties.get()).ok()?;
        let is_there = |name: &&&str| members.iter().any(|(key, _)| folds_to(key, name));
        let added: Vec<_> =
            changes.shown.iter().filter(|name| !is_there(name)).map(|name| property(name)).collect();
        let cut: Vec<bool> = members.iter().map(|(key, _)| changes.hidden.contains(&key)).collect();
        let values: Vec<_> = members.iter().map(|(_, value)| value).collect();
        self.edit(properties, &values, &cut, &added)
    }

    fn required(&mut self, required: Option<&RawValue>, changes: &SchemaChanges<'_>) -> Option<()> {
        let shown = changes.shown.iter().filter(|_| changes.is_required);
        let Some(required) = required else {
            let names: Vec<_> = shown.map(|name| quote(name)).collect();
            if !names.is_empty() {
                self.new_members.push(format!("\"required\":[{}]", names.join(",")));
            }
            return Some(());
        };
        let names: Vec<&RawValue> = serde_json::from_str(required.get()).ok()?;
        let is = |raw: &RawValue, name: &str| string(raw).is_some_and(|own| own == name);
        let added: Vec<_> =
            shown.filter(|name| !names.iter().any(|raw| is(raw, name))).map(|name| quote(name)).collect();
        let cut: Vec<bool> =
            names.iter().map(|raw| changes.hidden.iter().any(|name| is(raw, name))).collect();
        self.edit(required, &names, &cut, &added)
    }

    /// Adds the missing members at the beginning of the schema.
    fn members(&mut self, schema: &RawValue, members: &StrictMembers<'_>) -> Option<()> {
        let values: Vec<_> = members.iter().map(|(_, value)| value).collect();
        let added = std::mem::take(&mut self.new_members);
        self.edit(schema, &values, &vec![false; values.len()], &added)
    }

    /// Cuts elements of an object or array, and adds others at its beginning.
    fn edit(
        &mut self,
        whole: &RawValue,
        elements: &[&RawValue],
        cut: &[bool],
        added: &[String],
    ) -> Option<()> {
        let text = self.entry.as_bytes();
        let opening = span_in(text, whole.get())?.start + 1;
        let ends: Vec<_> = elements
            .iter()
            .map(|raw| span_in(text, raw.get()).map(|span| span.end))
            .collect::<Option<_>>()?;
        if !added.is_empty() {
            let comma = if cut.iter().all(|is_cut| *is_cut) { "" } else { "," };
            self.list.push((opening..opening, format!("{}{comma}", added.join(","))));
        }
        self.list.extend(cuts(text, opening, &ends, cut).into_iter().map(|span| (span, String::new())));
        Some(())
    }
}

/// The member of `properties` for an argument.
fn property(name: &str) -> String {
    let schema =
        json!({ "type": "string", "format": "password", "writeOnly": true, "description": DESCRIPTION });
    format!("{}:{schema}", quote(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(shown: &[&str], hidden: &[&str], is_required: bool, entry: &str) -> String {
        let changes = SchemaChanges { shown: shown.to_vec(), hidden: hidden.to_vec(), is_required };
        changes.apply(entry).unwrap_or_else(|| entry.to_owned())
    }

    #[test]
    fn an_argument_is_added_to_the_schema() {
        let p = property("auth_token");
        for (entry, expected) in [
            (
                r#"{"name":"add", "inputSchema": { "type":"object","properties":{ "a":{"type":"number"} },"required":[ "a" ] } ,"x":1.0}"#,
                format!(
                    r#"{{"name":"add", "inputSchema": {{ "type":"object","properties":{{{p}, "a":{{"type":"number"}} }},"required":["auth_token", "a" ] }} ,"x":1.0}}"#
                ),
            ),
            (
                r#"{"inputSchema":{"type":"object"}}"#,
                format!(r#"{{"inputSchema":{{"properties":{{{p}}},"required":["auth_token"],"type":"object"}}}}"#),
            ),
            (
                r#"{"inputSchema":{}}"#,
                format!(r#"{{"inputSchema":{{"properties":{{{p}}},"required":["auth_token"]}}}}"#),
            ),
            (
                r#"{"inputSchema":{"properties":{},"required":[]}}"#,
                format!(r#"{{"inputSchema":{{"properties":{{{p}}},"required":["auth_token"]}}}}"#),
            ),
            // The server's own description stays.
            (
                r#"{"inputSchema":{"properties":{"auth\u005ftoken":{"type":"string"}}}}"#,
                r#"{"inputSchema":{"required":["auth_token"],"properties":{"auth\u005ftoken":{"type":"string"}}}}"#.to_owned(),
            ),
        ] {
            assert_eq!(applied(&["auth_token"], &[], true, entry), expected);
        }
        let optional = applied(&["auth_token"], &[], false, r#"{"inputSchema":{"required":["a"]}}"#);
        assert_eq!(optional, format!(r#"{{"inputSchema":{{"properties":{{{p}}},"required":["a"]}}}}"#));
        serde_json::from_str::<serde_json::Value>(&optional).unwrap();
    }

    #[test]
    fn an_argument_is_removed_from_the_schema() {
        for (entry, expected) in [
            (
                r#"{"inputSchema":{"properties":{"auth_token":{"x":[1,2]}, "a":{}},"required":["auth_token","a"]},"b":1}"#,
                r#"{"inputSchema":{"properties":{ "a":{}},"required":["a"]},"b":1}"#,
            ),
            (
                r#"{"inputSchema":{"properties":{"a":{} , "auth_token":{}},"required":["a", "auth_token"]}}"#,
                r#"{"inputSchema":{"properties":{"a":{} },"required":["a"]}}"#,
            ),
            (
                r#"{"inputSchema":{"properties":{"auth\u005ftoken":{}},"required":["auth_\u0074oken"]}}"#,
                r#"{"inputSchema":{"properties":{},"required":[]}}"#,
            ),
            (r#"{"inputSchema":{"properties":{"a":{}}}}"#, r#"{"inputSchema":{"properties":{"a":{}}}}"#),
        ] {
            assert_eq!(applied(&[], &["auth_token"], false, entry), expected);
        }
    }

    #[test]
    fn arguments_are_replaced_by_others() {
        let entry = r#"{"inputSchema":{"properties":{"auth_token":{}},"required":["auth_token"]}}"#;
        let changed = applied(&["jwt_token"], &["auth_token"], true, entry);
        let p = property("jwt_token");
        assert_eq!(
            changed,
            format!(r#"{{"inputSchema":{{"properties":{{{p}}},"required":["jwt_token"]}}}}"#)
        );
    }

    #[test]
    fn a_required_argument_is_noticed() {
        for (entry, expected) in [
            (r#"{"inputSchema":{"required":["a","auth_\u0074oken"]}}"#, true),
            (r#"{"inputSchema":{"required":["a"],"properties":{"auth_token":{}}}}"#, false),
            (r#"{"inputSchema":{"required":"auth_token"}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(requires(entry, "auth_token"), expected, "{entry}");
        }
    }

    #[test]
    fn an_entry_without_a_schema_stays() {
        for entry in [
            "{}",
            "7",
            r#"{"inputSchema":true}"#,
            r#"{"inputSchema":{"properties":[]}}"#,
            r#"{"inputSchema":{"properties":{"a":1,"a":2}}}"#,
            r#"{"inputSchema":{"properties":{},"required":"a"}}"#,
        ] {
            assert_eq!(applied(&["auth_token"], &["other"], true, entry), entry);
        }
    }
}
