//! The answer of a client to a request of Witgate for input (MCP 2026-07-28, "Multi Round-Trip Requests"): the call again,
//! with the state that Witgate gave. Both are for Witgate alone, so they are cut out, and the rest is the call.

use std::ops::Range;

use memchr::memmem;

use crate::call::{Call, MessageKind};
use crate::fault::MessageFault;
use crate::json::{Members, cuts, span_in, splice};
use crate::strict_json::{StrictMembers, string};

/// The beginning of each state of Witgate. Servers have states of their own, which are passed on.
pub const STATE_PREFIX: &str = "wgc1.";

/// The name of the request for input.
pub const INPUT: &str = "connect";

/// The answer of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRound {
    /// The state, without its beginning.
    pub state: Box<str>,
    /// True if the person has declined or closed the question.
    pub is_declined: bool,
}

impl Call {
    /// True if the client says in this message that it opens URLs for servers. In the stateful era, only the handshake
    /// says so.
    pub fn declares_url_elicitation(&self) -> bool {
        let capabilities = match self.method() {
            "initialize" => {
                let message = std::str::from_utf8(self.body()).ok().and_then(Members::read);
                let params = message.and_then(|message| Members::read(message.came("params")?));
                params.and_then(|params| params.get("capabilities").map(str::to_owned))
            }
            _ => {
                let meta = self.meta().and_then(Members::read);
                meta.and_then(|meta| {
                    meta.get("io.modelcontextprotocol/clientCapabilities").map(str::to_owned)
                })
            }
        };
        let elicitation = capabilities.as_deref().and_then(Members::read);
        let elicitation =
            elicitation.and_then(|capabilities| Members::read(capabilities.came("elicitation")?));
        elicitation.is_some_and(|elicitation| elicitation.get("url").is_some())
    }

    /// True if the answer may be a request for input.
    pub fn takes_input(&self) -> bool {
        matches!(self.method(), "tools/call" | "prompts/get" | "resources/read")
    }

    /// True if the call answers a request for input, of whomever.
    pub fn has_input(&self) -> bool {
        let params = std::str::from_utf8(self.body()).ok().and_then(Members::read);
        let params = params.and_then(|message| Members::read(message.came("params")?));
        params.is_some_and(|params| {
            ["requestState", "inputResponses"].iter().any(|name| params.get(name).is_some())
        })
    }

    /// Cuts the answer to a request of Witgate for input out of a call. None: there is none.
    ///
    /// # Errors
    /// `InvalidParams` if it cannot be read.
    pub fn cut_input(&mut self) -> Result<Option<InputRound>, MessageFault> {
        if !self.takes_input() || memmem::find(self.body(), STATE_PREFIX.as_bytes()).is_none() {
            return Ok(None);
        }
        let Some((round, spans)) = found(self)? else { return Ok(None) };
        self.remove(&spans);
        Ok(Some(round))
    }

    fn remove(&mut self, spans: &[Range<usize>]) {
        let before =
            |place: usize| spans.iter().filter(|span| span.end <= place).map(Range::len).sum::<usize>();
        let move_up = |span: &mut Range<usize>| {
            let shift = before(span.start);
            *span = span.start - shift..span.end - shift;
        };
        if let MessageKind::Request { id } = &mut self.kind {
            move_up(id);
        }
        let others = [&mut self.arguments, &mut self.meta, &mut self.progress_token];
        others.into_iter().flatten().for_each(move_up);
        let mut edits: Vec<_> = spans.iter().map(|span| (span.clone(), "")).collect();
        self.body = splice(&self.body, &mut edits);
    }
}

/// The answer to a request of Witgate, and the spans to cut.
type FoundRound = (InputRound, Vec<Range<usize>>);

/// The answer in a call. None: there is none of Witgate.
fn found(call: &Call) -> Result<Option<FoundRound>, MessageFault> {
    let message = std::str::from_utf8(call.body()).ok().and_then(Members::read);
    let Some(params) = message.and_then(|message| message.came("params")) else { return Ok(None) };
    let members = StrictMembers::read(params).map_err(|_| unreadable())?;
    let state = members.get("requestState").and_then(string);
    let Some(state) = state.as_deref().and_then(|state| state.strip_prefix(STATE_PREFIX)) else {
        return Ok(None);
    };
    let (mut ends, mut is_cut) = (Vec::new(), Vec::new());
    for (key, raw) in members.iter() {
        ends.push(span_in(call.body(), raw.get()).ok_or_else(unreadable)?.end);
        is_cut.push(matches!(key, "requestState" | "inputResponses"));
    }
    let opening = span_in(call.body(), params).ok_or_else(unreadable)?.start + 1;
    let spans = cuts(call.body(), opening, &ends, &is_cut);
    let action = members.get("inputResponses").and_then(|responses| action(responses.get()));
    let is_declined = action.is_some_and(|action| action != "accept");
    Ok(Some((InputRound { state: state.into(), is_declined }, spans)))
}

/// The action of the person.
fn action(responses: &str) -> Option<String> {
    let responses: serde_json::Value = serde_json::from_str(responses).ok()?;
    responses.get(INPUT)?.get("action")?.as_str().map(str::to_owned)
}

fn unreadable() -> MessageFault {
    MessageFault::InvalidParams("the state of the request cannot be read".to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn call(params: &str) -> Call {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{params},"id":"é7"}}"#);
        Call::parse(Bytes::from(body)).unwrap()
    }

    const ROUND: &str = r#""inputResponses":{"connect":{"action":"accept"}},"requestState":"wgc1.abc""#;

    #[test]
    fn the_answer_is_cut_out_of_the_call() {
        let rest = r#""name":"t","arguments":{"a":1},"_meta":{"progressToken":5}"#;
        for params in [
            format!("{{{rest},{ROUND}}}"),
            format!("{{{ROUND},{rest}}}"),
            format!(r#"{{"requestState":"wgc1.abc",{rest}}}"#),
            r#"{"name":"t","requestState" : "wgc1.abc" , "arguments":{"a":1},"inputResponses":{},"_meta":{"progressToken":5}}"#.to_owned(),
        ] {
            let mut cut = call(&params);
            let round = cut.cut_input().unwrap();
            assert_eq!(round, Some(InputRound { state: "abc".into(), is_declined: false }), "{params}");
            let again = Call::parse(cut.body().clone()).unwrap();
            for call in [&cut, &again] {
                assert_eq!((call.arguments(), call.progress_token(), call.id()), (Some(r#"{"a":1}"#), Some("5"), Some("\"é7\"")), "{params}");
                assert!(!call.has_input(), "{params}");
            }
        }
        let declined = ROUND.replace("accept", "decline");
        let round = call(&format!(r#"{{"name":"t",{declined}}}"#)).cut_input().unwrap();
        assert!(round.unwrap().is_declined);
    }

    #[test]
    fn the_state_of_a_server_stays() {
        for params in [
            r#"{"name":"t","requestState":"of the server, not wgc1.","inputResponses":{"connect":{"action":"accept"}}}"#,
            r#"{"name":"t","arguments":{"requestState":"wgc1.abc"}}"#,
            r#"{"name":"wgc1.abc"}"#,
        ] {
            let mut kept = call(params);
            let round = kept.cut_input().unwrap();
            assert_eq!((kept.body(), round), (call(params).body(), None), "{params}");
        }
    }

    #[test]
    fn a_client_declares_that_it_opens_urls() {
        let declares = |method: &str, params: Value| {
            let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
            Call::parse(Bytes::from(message.to_string())).unwrap().declares_url_elicitation()
        };
        let initialize = |capabilities: Value| {
            declares(
                "initialize",
                json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": { "name": "c", "version": "1" } }),
            )
        };
        let modern = |capabilities: Value| {
            let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": capabilities });
            declares("tools/call", json!({ "name": "t", "_meta": meta }))
        };
        for says in [&initialize as &dyn Fn(Value) -> bool, &modern] {
            assert!(says(json!({ "elicitation": { "form": {}, "url": {} } })));
            for other in [json!({}), json!({ "elicitation": {} }), json!({ "elicitation": { "form": {} } })] {
                assert!(!says(other.clone()), "{other}");
            }
        }
    }

    proptest! {
        /// Cut, then parsed, is the same as parsed, then removed.
        #[test]
        fn a_cut_removes_two_members_and_nothing_else(
            before in prop::collection::btree_map("[a-z]{1,4}", "[a-z,\"\\\\{}é ]{0,6}", 0..3),
            after in prop::collection::btree_map("[A-Z]{1,4}", "[a-z,\"\\\\{}é ]{0,6}", 0..3),
        ) {
            let mut params = serde_json::Map::new();
            params.insert("name".to_owned(), "t".into());
            params.extend(before.into_iter().filter(|(key, _)| key != "name").map(|(key, text)| (key, text.into())));
            let mut expected = params.clone();
            params.insert("requestState".to_owned(), "wgc1.x".into());
            params.extend(after.clone().into_iter().map(|(key, text)| (key, text.into())));
            expected.extend(after.into_iter().map(|(key, text)| (key, text.into())));
            let Ok(mut cut) = Call::parse(Bytes::from(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string())) else { return Ok(()) };
            let round = cut.cut_input().unwrap();
            prop_assert!(round.is_some());
            let cut: Value = serde_json::from_slice(cut.body()).unwrap();
            prop_assert_eq!(&cut["params"], &Value::from(expected));
        }
    }
}
