//! Arguments of a tool's call that the operator sets, in the message to the server.

use std::ops::Range;

use crate::call::{Call, MessageKind, Span};
use crate::json::{Members, quote, span_in, splice};
use crate::strict_json::StrictMembers;

/// The text to insert into a message.
struct Insertion {
    /// The position in the message.
    at: usize,
    text: String,
    /// `params.arguments` of the new message.
    arguments: Span,
}

impl Call {
    /// The call with these further arguments, as name and value. Everything else keeps its bytes. None: the call cannot
    /// have arguments, or has one of them already.
    pub fn with_arguments(&self, values: &[(&str, &str)]) -> Option<Self> {
        let Insertion { at, text, arguments } = self.insertion(values)?;
        let body = splice(&self.body, &mut [(at..at, &*text)]);
        let moved = |span: &Range<usize>| match span.start >= at {
            true => span.start + text.len()..span.end + text.len(),
            false => span.clone(),
        };
        let kind = match &self.kind {
            MessageKind::Request { id } => MessageKind::Request { id: moved(id) },
            other => other.clone(),
        };
        Some(Self {
            body,
            kind,
            arguments: Some(arguments),
            meta: self.meta.as_ref().map(moved),
            progress_token: self.progress_token.as_ref().map(moved),
            ..self.clone()
        })
    }

    fn insertion(&self, values: &[(&str, &str)]) -> Option<Insertion> {
        let members: Vec<_> =
            values.iter().map(|(name, value)| format!("{}:{}", quote(name), quote(value))).collect();
        let members = members.join(",");
        let Some(place) = self.arguments.clone() else { return self.new_arguments(&members) };
        let present = StrictMembers::read(self.arguments()?).ok()?;
        if values.iter().any(|(name, _)| present.get(name).is_some()) {
            return None;
        }
        let comma = if present.iter().next().is_some() { "," } else { "" };
        let text = format!("{members}{comma}");
        let arguments = place.start..place.end + text.len();
        Some(Insertion { at: place.start + 1, text, arguments })
    }

    /// The member `arguments`, for a call without one.
    fn new_arguments(&self, members: &str) -> Option<Insertion> {
        const NAME: &str = "\"arguments\":";
        let body = std::str::from_utf8(&self.body).ok()?;
        let params = Members::read(body)?.came("params")?;
        let comma = if Members::read(params)?.is_empty() { "" } else { "," };
        let at = span_in(&self.body, params)?.start + 1;
        let start = at + NAME.len();
        let arguments = start..start + members.len() + 2;
        Some(Insertion { at, text: format!("{NAME}{{{members}}}{comma}"), arguments })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn call(message: &str) -> Call {
        Call::parse(Bytes::from(message.to_owned())).unwrap()
    }

    fn with(message: &str, values: &[(&str, &str)]) -> String {
        String::from_utf8(call(message).with_arguments(values).unwrap().body().to_vec()).unwrap()
    }

    #[test]
    fn values_are_added_and_everything_else_keeps_its_bytes() {
        for (message, expected) in [
            (
                r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add","arguments":{ "a":1.0 }},"id":7}"#,
                r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add","arguments":{"k":"v\"", "a":1.0 }},"id":7}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{},"name":"add"}}"#,
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"k":"v\""},"name":"add"}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"add"}}"#,
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"k":"v\""},"name":"add"}}"#,
            ),
        ] {
            assert_eq!(with(message, &[("k", "v\"")]), expected);
        }
    }

    #[test]
    fn the_parts_of_the_call_are_at_their_new_places() {
        let message = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add","arguments":{"a":1},"_meta":{"progressToken":"t"}},"id":"seven"}"#;
        let call = call(message).with_arguments(&[("k", "v"), ("l", "w")]).unwrap();
        assert_eq!(call.id(), Some("\"seven\""));
        assert_eq!(call.arguments(), Some(r#"{"k":"v","l":"w","a":1}"#));
        assert_eq!(call.meta(), Some(r#"{"progressToken":"t"}"#));
        assert_eq!(call.progress_token(), Some("\"t\""));
    }

    #[test]
    fn no_argument_of_a_caller_is_replaced() {
        let message = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"add","arguments":{"\u006b":1}}}"#;
        assert!(call(message).with_arguments(&[("k", "v")]).is_none());
    }

    proptest! {
        #[test]
        fn the_new_message_parses_to_the_same_call_with_these_arguments(
            arguments in proptest::option::of(prop::collection::btree_map("[a-j]{1,4}", any::<u32>(), 0..4)),
            value in "\\PC{0,20}",
        ) {
            let mut params = json!({ "name": "add" });
            if let Some(arguments) = &arguments {
                params["arguments"] = json!(arguments);
            }
            let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
            let new = call(&message.to_string()).with_arguments(&[("key", &value)]).unwrap();
            let mut expected = message;
            expected["params"]["arguments"]["key"] = value.clone().into();
            prop_assert_eq!(serde_json::from_slice::<Value>(new.body()).unwrap(), expected.clone());
            let read: Value = serde_json::from_str(new.arguments().unwrap()).unwrap();
            prop_assert_eq!(&read, &expected["params"]["arguments"]);
            prop_assert_eq!(new.id(), Some("7"));
        }
    }
}
