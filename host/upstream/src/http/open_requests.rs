//! The open requests of a server to a session. An answer to none of them, or progress for none of them, is not passed
//! on: if a server does not separate its sessions, it would be for another caller's request.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Number, Value};

/// Maximum number of open requests of one session. If there are more, the oldest are forgotten.
const MOST: usize = 512;

/// The open requests of one session.
#[derive(Debug, Default)]
pub(super) struct OpenRequests(Mutex<VecDeque<OpenRequest>>);

#[derive(Debug, PartialEq)]
struct OpenRequest {
    id: Value,
    /// The token under which the client may report progress.
    token: Option<Value>,
}

#[derive(Deserialize)]
struct ServerMessage<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    id: Option<Value>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct RequestParams {
    #[serde(default, rename = "_meta")]
    meta: RequestMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestMeta {
    progress_token: Option<Value>,
}

impl OpenRequests {
    /// Records a message to the client, if it is a request.
    pub(super) fn note(&self, message: &[u8]) {
        let Ok(ServerMessage { method: Some(_), id: Some(id), params }) = serde_json::from_slice(message)
        else {
            return;
        };
        let params: Option<RequestParams> = params.and_then(|params| serde_json::from_str(params.get()).ok());
        let token = params.unwrap_or_default().meta.progress_token;
        let open = OpenRequest { id: plain(id), token: token.map(plain) };
        let mut asked = self.0.lock();
        // A resumed stream repeats earlier messages.
        if asked.contains(&open) {
            return;
        }
        if asked.len() >= MOST {
            asked.pop_front();
        }
        asked.push_back(open);
    }

    /// Removes the request that an answer with `id`, as JSON text, is for. False: there is none.
    pub(super) fn take(&self, id: &str) -> bool {
        let Ok(id) = serde_json::from_str(id).map(plain) else { return false };
        let mut asked = self.0.lock();
        let place = asked.iter().position(|open| open.id == id);
        place.and_then(|place| asked.remove(place)).is_some()
    }

    /// True if a request is open for which the client may report progress under `token`, as JSON text.
    pub(super) fn waits_for(&self, token: &str) -> bool {
        let Ok(token) = serde_json::from_str(token).map(plain) else { return false };
        let token = Some(token);
        self.0.lock().iter().any(|open| open.token == token)
    }
}

/// The same number in any notation: a client may write 1 where the server has written 1.0.
fn plain(value: Value) -> Value {
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15);
    match (value.is_f64(), whole) {
        // Below 2^53 the conversion is exact.
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and looked at above")]
        (true, Some(whole)) => Value::Number(Number::from(whole as i64)),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_accepted_once_and_only_for_an_open_request() {
        let asked = OpenRequests::default();
        for message in [
            r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create"}"#,
            r#"{"jsonrpc":"2.0","id":"\u0061","method":"ping","params":{"_meta":{"progressToken":"t"}}}"#,
            r#"{"jsonrpc":"2.0","id":7.0,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":9,"result":{"method":"x"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"id":8}}"#,
            r#"{"jsonrpc":"2.0","id":10,"id":11,"method":"ping"}"#,
            "{",
        ] {
            asked.note(message.as_bytes());
        }
        assert!(asked.waits_for(r#""t""#) && !asked.waits_for("1") && !asked.waits_for("null"));
        let taken =
            ["1", "1", r#""1""#, r#""a""#, "7", "8", "9", "10", "11", "null"].map(|id| asked.take(id));
        assert_eq!(taken, [true, false, false, true, true, false, false, false, false, false]);
        assert!(!asked.waits_for(r#""t""#));
    }

    #[test]
    fn the_memory_of_open_requests_is_limited() {
        let asked = OpenRequests::default();
        for id in 0..2 * MOST {
            asked.note(format!("{{\"id\":{id},\"method\":\"ping\"}}").as_bytes());
        }
        assert_eq!(asked.0.lock().len(), MOST);
        assert!(!asked.take("0") && asked.take(&MOST.to_string()));
    }
}
