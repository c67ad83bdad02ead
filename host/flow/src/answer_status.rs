//! The HTTP status of a JSON answer, which follows from the code of its error.

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reject::{Rejection, UpstreamFault};
use witgate_message::era::Era;

/// The code of an answer's error, if it is one.
///
/// # Errors
/// `Upstream`, if it is not a JSON object.
pub(super) fn error_code(message: &[u8]) -> Result<Option<i64>, Rejection> {
    #[derive(Deserialize)]
    struct ErrorPeek<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let is_object = message.trim_ascii_start().starts_with(b"{");
    let peek = serde_json::from_slice::<ErrorPeek<'_>>(message).ok().filter(|_| is_object);
    let peek = peek.ok_or_else(|| Rejection::Upstream {
        fault: UpstreamFault::BadAnswer,
        message: "The MCP server's answer is not JSON-RPC".to_owned(),
    })?;
    Ok(peek.error.and_then(code_of))
}

/// The code of an error.
pub(super) fn code_of(error: &RawValue) -> Option<i64> {
    #[derive(Deserialize)]
    struct ErrorCode {
        code: i64,
    }
    serde_json::from_str::<ErrorCode>(error.get()).ok().map(|error| error.code)
}

/// The HTTP status of an answer with this code. In the stateless era it follows from the code (MCP 2026-07-28,
/// "Streamable HTTP"), for every kind of upstream. Otherwise it is `status`.
pub(super) fn status_of(era: Era, status: StatusCode, code: Option<i64>) -> StatusCode {
    match (era, code) {
        (Era::Stateless, Some(-32601)) => StatusCode::NOT_FOUND,
        (Era::Stateless, Some(-32022..=-32020)) => StatusCode::BAD_REQUEST,
        _ => status,
    }
}
