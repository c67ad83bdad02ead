//! A JSON answer, checked against its request (JSON-RPC 2.0, section 5).

use bytes::Bytes;
use serde_json::Value;

use super::fault::bad_answer;
use witgate_flow::reject::Rejection;
use witgate_flow::request::Request;
use witgate_message::call::MessageKind;
use witgate_message::json::{Members, span_in, splice};

/// The response in `message`, under the caller's id. An error may have no id if the server has not read it.
pub(super) fn of(request: &Request, message: Bytes) -> Result<Bytes, Rejection> {
    let MessageKind::Request { .. } = request.call.kind() else { return Ok(message) };
    let Some(parts) = ResponseParts::read(&message) else {
        return Err(bad_answer("The MCP server's answer is not JSON-RPC"));
    };
    let id = request.call.id().unwrap_or("null");
    let is_nobodys = parts.is_error && parts.id.is_none_or(|id| id == "null");
    if !is_nobodys && !parts.id.is_some_and(|theirs| is_same(theirs, id)) {
        return Err(bad_answer("The MCP server answered another request"));
    }
    Ok(parts.under(&message, id))
}

/// The error in `message`, under the caller's id. With an error status, servers answer with invented ids, and the
/// answer cannot be for another request. None: it is not a JSON-RPC error.
pub(super) fn error_of(request: &Request, message: &Bytes) -> Option<Bytes> {
    let parts = ResponseParts::read(message).filter(|parts| parts.is_error)?;
    Some(parts.under(message, request.call.id().unwrap_or("null")))
}

struct ResponseParts<'a> {
    members: Members<'a>,
    id: Option<&'a str>,
    is_error: bool,
}

impl<'a> ResponseParts<'a> {
    /// Reads a response. None: it is not a response.
    fn read(message: &'a [u8]) -> Option<Self> {
        let members = Members::read(std::str::from_utf8(message).ok()?)?;
        let is_error = members.came("error").and_then(Members::read).is_some_and(|error| {
            let code = error.get("code").is_some_and(|code| code.parse::<f64>().is_ok());
            code && error.get("message").is_some()
        });
        let is_response = members.get("method").is_none() && (is_error != members.get("result").is_some());
        let id = members.came("id");
        is_response.then_some(Self { members, id, is_error })
    }

    /// The message with `id` in place of its own.
    fn under(mut self, message: &Bytes, id: &str) -> Bytes {
        match self.id {
            Some(theirs) if theirs == id => message.clone(),
            Some(theirs) => match span_in(message, theirs) {
                Some(span) => splice(message, &mut [(span, id)]),
                None => message.clone(),
            },
            None => {
                self.members.set("id", id.to_owned());
                self.members.render().into()
            }
        }
    }
}

/// True if the ids are equal, also if the server has made a text of a number.
pub(super) fn is_same(theirs: &str, ours: &str) -> bool {
    let read = |text| serde_json::from_str::<Value>(text).ok();
    match (read(theirs), read(ours)) {
        (Some(Value::String(theirs)), Some(Value::Number(_))) => theirs == ours,
        (Some(theirs), Some(ours)) => {
            theirs == ours || theirs.as_f64().is_some_and(|n| Some(n) == ours.as_f64())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_equal_in_every_notation() {
        for (theirs, ours, same) in [
            ("7", "7", true),
            ("7.0", "7", true),
            (r#""7""#, "7", true),
            ("7", r#""7""#, false),
            (r#""\u0061""#, r#""a""#, true),
            ("8", "7", false),
            ("null", "7", false),
        ] {
            assert_eq!(is_same(theirs, ours), same, "{theirs} {ours}");
        }
    }

    #[test]
    fn only_well_formed_responses_are_responses() {
        for (message, is_response) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, true),
            (r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"no"}}"#, true),
            (r#"{"id":7,"error":"no"}"#, false),
            (r#"{"id":7,"result":{},"error":{"code":-1,"message":"no"}}"#, false),
            (r#"{"id":7,"method":"ping"}"#, false),
            (r#"{"detail":"Not Found"}"#, false),
            ("[]", false),
            ("no JSON", false),
        ] {
            assert_eq!(ResponseParts::read(message.as_bytes()).is_some(), is_response, "{message}");
        }
    }

    #[test]
    fn the_id_of_the_caller_replaces_the_internal_one() {
        let under = |message: &'static str| {
            let message = Bytes::from_static(message.as_bytes());
            ResponseParts::read(&message).unwrap().under(&message, "7")
        };
        assert_eq!(under(r#"{"id":"7", "result":{"id":1}}"#), r#"{"id":7, "result":{"id":1}}"#);
        assert_eq!(
            under(r#"{"error":{"code":-1,"message":"no"}}"#),
            r#"{"error":{"code":-1,"message":"no"},"id":7}"#
        );
    }
}
