//! A JSON answer, checked against its request (JSON-RPC 2.0, section 5).

use bytes::Bytes;
use serde_json::Value;

use super::fault::bad_answer;
use witgate_flow::answer_message::AnswerMessage;
use witgate_flow::reject::Rejection;
use witgate_flow::request::Request;
use witgate_message::call::MessageKind;
use witgate_message::json::{Members, span_in, splice};

/// The response in `message`, under the caller's id. If it needs a filter, it is read for that at the same time.
pub(super) fn read(request: &Request, message: Bytes) -> Result<AnswerMessage, Rejection> {
    let is_request = matches!(request.call.kind(), MessageKind::Request { .. });
    if !is_request || !request.call.needs_filtering() {
        return of(request, message).map(Into::into);
    }
    let answer = AnswerMessage::read(message.clone()).map_err(|_| no_response())?;
    let parts = ResponseParts::of(&answer).ok_or_else(no_response)?;
    let id = own_id(request, &parts)?;
    match parts.id {
        Some(theirs) if theirs == id => Ok(answer),
        // Its places move with the id.
        _ => Ok(parts.under(&message, id).into()),
    }
}

/// The response in `message`, under the caller's id. An error may have no id if the server has not read it.
pub(super) fn of(request: &Request, message: Bytes) -> Result<Bytes, Rejection> {
    let MessageKind::Request { .. } = request.call.kind() else { return Ok(message) };
    let parts = ResponseParts::read(&message).ok_or_else(no_response)?;
    let id = own_id(request, &parts)?;
    Ok(parts.under(&message, id))
}

/// The id of the request, if it is the one that the response answers.
fn own_id<'r>(request: &'r Request, parts: &ResponseParts<'_>) -> Result<&'r str, Rejection> {
    let id = request.call.id().unwrap_or("null");
    let is_nobodys = parts.is_error && parts.id.is_none_or(|id| id == "null");
    if !is_nobodys && !parts.id.is_some_and(|theirs| is_same(theirs, id)) {
        return Err(bad_answer("The MCP server answered another request"));
    }
    Ok(id)
}

fn no_response() -> Rejection {
    bad_answer("The MCP server's answer is not JSON-RPC")
}

/// The error in `message`, under the caller's id. With an error status, servers answer with invented ids, and the
/// answer cannot be for another request. None: it is not a JSON-RPC error.
pub(super) fn error_of(request: &Request, message: &Bytes) -> Option<Bytes> {
    let parts = ResponseParts::read(message).filter(|parts| parts.is_error)?;
    Some(parts.under(message, request.call.id().unwrap_or("null")))
}

/// The parts of a response that tell whose it is.
struct ResponseParts<'a> {
    id: Option<&'a str>,
    is_error: bool,
}

impl<'a> ResponseParts<'a> {
    /// Reads a response. None: it is not a response.
    fn read(message: &'a [u8]) -> Option<Self> {
        let members = Members::read(std::str::from_utf8(message).ok()?)?;
        let (has_method, has_result) = (members.get("method").is_some(), members.get("result").is_some());
        Self::from_members(members.came("id"), members.came("error"), has_method, has_result)
    }

    /// The same, of a message that has been read.
    fn of(answer: &'a AnswerMessage) -> Option<Self> {
        Self::from_members(answer.id(), answer.error(), answer.has_method(), answer.has_result())
    }

    fn from_members(
        id: Option<&'a str>,
        error: Option<&str>,
        has_method: bool,
        has_result: bool,
    ) -> Option<Self> {
        let is_error = error.and_then(Members::read).is_some_and(|error| {
            let code = error.get("code").is_some_and(|code| code.parse::<f64>().is_ok());
            code && error.get("message").is_some()
        });
        (!has_method && (is_error != has_result)).then_some(Self { id, is_error })
    }

    /// The message with `id` in place of its own.
    fn under(&self, message: &Bytes, id: &str) -> Bytes {
        let with_id = || {
            let mut members = Members::read(std::str::from_utf8(message).ok()?)?;
            members.set("id", id.to_owned());
            Some(members.render().into())
        };
        match self.id {
            Some(theirs) if theirs == id => message.clone(),
            Some(theirs) => match span_in(message, theirs) {
                Some(span) => splice(message, &mut [(span, id)]),
                None => message.clone(),
            },
            None => with_id().unwrap_or_else(|| message.clone()),
        }
    }
}

/// True if the ids are equal, also if the server has made a text of a number.
pub(super) fn is_same(theirs: &str, ours: &str) -> bool {
    if theirs == ours {
        return true;
    }
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
            (r#"{"id":7,"result":null}"#, true),
            (r#"{"id":7,"result":[],"error":"no"}"#, true),
            (r#"{"id":null,"error":{"code":1.5,"message":null}}"#, true),
            (r#"{"id":7,"result":{"tools":[{"name":"x"}]},"method":"x"}"#, false),
            (r#"{"id":7,"id":7,"result":{}}"#, false),
            (r#"{"detail":"Not Found"}"#, false),
            ("[]", false),
            ("no JSON", false),
        ] {
            assert_eq!(ResponseParts::read(message.as_bytes()).is_some(), is_response, "{message}");
            // The message may have been read for the filter.
            let answer = AnswerMessage::read(Bytes::from_static(message.as_bytes()));
            let parts = answer.as_ref().ok().and_then(ResponseParts::of);
            let found = |parts: ResponseParts<'_>| (parts.id.map(str::to_owned), parts.is_error);
            assert_eq!(parts.map(found), ResponseParts::read(message.as_bytes()).map(found), "{message}");
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
