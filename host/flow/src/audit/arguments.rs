//! The arguments of a call in its entry: a digest of all, and those values that the operator has chosen.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use witgate_audit::AuditLog;
use witgate_message::credential::Credentials;
use witgate_services::traces::Traces;

use crate::credential_choice;
use crate::parsing;
use crate::request::Request;

/// The size of large arguments, which are read in the background. Smaller ones take some microseconds.
const LARGE: usize = 16 << 10;

/// The largest arguments whose values are looked at, in bytes. Larger ones have only their digest: read as a tree, they
/// would take a hundred times their size.
const SEARCHED: usize = 64 << 10;

/// The largest value that is shown, in bytes of JSON. Larger ones are masked.
const SHOWN: usize = 1 << 10;

/// The JSON pointers (RFC 6901) to the arguments that entries show.
#[derive(Clone, Debug, Default)]
pub struct ShownArguments {
    /// Those whose values are shown.
    pub clear: Vec<String>,
    /// Those of which only the type and the length are shown.
    pub masked: Vec<String>,
}

/// The arguments in an entry.
#[derive(Debug, Serialize)]
pub(super) struct ArgumentFacts {
    #[serde(rename = "arguments_hmac")]
    digest: String,
    #[serde(rename = "arguments", skip_serializing_if = "Option::is_none")]
    clear: Option<Box<RawValue>>,
    #[serde(rename = "arguments_masked", skip_serializing_if = "Option::is_none")]
    masked: Option<Box<RawValue>>,
}

impl ShownArguments {
    fn is_empty(&self) -> bool {
        self.clear.is_empty() && self.masked.is_empty()
    }
}

/// The arguments of `request`. A value that contains a credential of its sender is masked, wherever it is. Without
/// `credentials`, there is only the digest.
pub(super) async fn arguments(
    log: &Arc<AuditLog>,
    chosen: &Arc<ShownArguments>,
    request: &Arc<Request>,
    credentials: Option<&Credentials>,
) -> Option<Box<ArgumentFacts>> {
    let arguments = request.call.arguments()?;
    let credentials = credentials.filter(|_| !chosen.is_empty() && arguments.len() <= SEARCHED);
    let traces = credentials.and_then(|credentials| credential_choice::traces(credentials, true));
    if arguments.len() < LARGE {
        return Some(Box::new(ArgumentFacts::of(log, chosen, arguments, traces.as_deref())));
    }
    let (log, chosen, request) = (Arc::clone(log), Arc::clone(chosen), Arc::clone(request));
    let peer = request.peer;
    let work = move || {
        let facts = ArgumentFacts::of(&log, &chosen, request.call.arguments()?, traces.as_deref());
        Some(Box::new(facts))
    };
    Box::pin(parsing::in_background(peer, work)).await.flatten()
}

impl ArgumentFacts {
    fn of(log: &AuditLog, chosen: &ShownArguments, arguments: &str, traces: Option<&Traces>) -> Self {
        let (clear, masked) =
            traces.map_or_else(Default::default, |traces| select(chosen, arguments, traces));
        let digest = log.arguments_digest(arguments.as_bytes());
        Self { digest, clear: members(clear), masked: members(masked) }
    }

    #[cfg(test)]
    pub(super) fn digest(digest: &str) -> Self {
        Self { digest: digest.to_owned(), clear: None, masked: None }
    }
}

/// The chosen values, and the types and lengths of those that are masked.
fn select(
    chosen: &ShownArguments,
    arguments: &str,
    traces: &Traces,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut clear, mut masked) = (Map::new(), Map::new());
    let Ok(arguments) = serde_json::from_str::<Value>(arguments) else { return (clear, masked) };
    for pointer in &chosen.masked {
        if let Some(value) = arguments.pointer(pointer) {
            masked.insert(pointer.clone(), mask(value));
        }
    }
    for pointer in chosen.clear.iter().filter(|pointer| !chosen.hides(pointer)) {
        let Some(value) = arguments.pointer(pointer) else { continue };
        // The names of an object are part of its value.
        let is_shown =
            !chosen.hides_within(pointer) && value.to_string().len() <= SHOWN && !traces.are_in(value);
        match is_shown {
            true => clear.insert(pointer.clone(), value.clone()),
            false => masked.insert(pointer.clone(), mask(value)),
        };
    }
    (clear, masked)
}

impl ShownArguments {
    /// True if a value is masked, or within one that is.
    fn hides(&self, pointer: &str) -> bool {
        self.masked.iter().any(|masked| is_at_or_within(pointer, masked))
    }

    /// True if a part of a value is masked.
    fn hides_within(&self, pointer: &str) -> bool {
        self.masked.iter().any(|masked| is_at_or_within(masked, pointer))
    }
}

fn is_at_or_within(pointer: &str, whole: &str) -> bool {
    pointer.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The type of a value, and its length: characters of a text, items of a list, members of an object.
fn mask(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "type": "null" }),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(_) => json!({ "type": "number" }),
        Value::String(text) => json!({ "type": "string", "length": text.chars().count() }),
        Value::Array(items) => json!({ "type": "array", "length": items.len() }),
        Value::Object(members) => json!({ "type": "object", "length": members.len() }),
    }
}

fn members(members: Map<String, Value>) -> Option<Box<RawValue>> {
    let text = Some(members).filter(|members| !members.is_empty())?;
    serde_json::value::to_raw_value(&text).ok()
}

#[cfg(test)]
mod tests {
    use witgate_plugin::Scheme;

    use super::*;

    fn selected(clear: &[&str], masked: &[&str], arguments: &Value) -> (Value, Value) {
        let own = |pointers: &[&str]| pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
        let chosen = ShownArguments { clear: own(clear), masked: own(masked) };
        let mut traces = Traces::default();
        traces.add(Scheme::Bearer, "a-secret-token");
        let (clear, masked) = select(&chosen, &arguments.to_string(), &traces);
        (clear.into(), masked.into())
    }

    #[test]
    fn only_chosen_values_are_shown() {
        let arguments =
            json!({ "path": "/etc", "body": { "key": "hidden" }, "list": [1, 2], "not": "chosen" });
        assert_eq!(
            selected(&["/path", "/list/1", "/none"], &["/body", "/list"], &arguments),
            (
                json!({ "/path": "/etc" }),
                json!({ "/body": { "type": "object", "length": 1 }, "/list": { "type": "array", "length": 2 } })
            )
        );
        // What is masked stays so within a value that is shown, and the other way round.
        let masked = json!({ "/body": { "type": "object", "length": 1 }, "/body/key": { "type": "string", "length": 6 } });
        assert_eq!(selected(&["/body"], &["/body/key"], &arguments), (json!({}), masked));
        assert_eq!(selected(&["/body/key"], &["/body"], &arguments).0, json!({}));
    }

    #[test]
    fn a_credential_is_never_shown() {
        for value in
            [json!("a-secret-token"), json!({ "x": "Bearer A-SECRET-TOKEN" }), json!({ "a-secret-token": 1 })]
        {
            let (clear, masked) = selected(&["/x"], &[], &json!({ "x": value }));
            assert_eq!(clear, json!({}));
            assert!(masked["/x"]["type"].is_string() && !masked.to_string().contains("secret"), "{masked}");
        }
    }

    #[test]
    fn a_long_value_is_masked() {
        let (clear, masked) = selected(&["/x"], &[], &json!({ "x": "é".repeat(SHOWN) }));
        assert_eq!((clear, masked), (json!({}), json!({ "/x": { "type": "string", "length": SHOWN } })));
    }
}
