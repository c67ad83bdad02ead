//! Answers with an error status, with messages for callers.

use ::http::{HeaderMap, StatusCode};

use super::fault::{bad_answer, fault};
use super::media::{Media, media};
use super::response;
use witgate_flow::account::Account;
use witgate_flow::body::{BodyReadError, BoundedBody, Inflow, gather};
use witgate_flow::port::AnswerBody;
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_flow::request::Request;
use witgate_message::era::Era;

/// Bytes of a JSON answer that are read before it is passed on. Most answers fit, and are known to be JSON before the
/// caller gets a status.
pub(super) const CHECKED_ANSWER: usize = 64 << 10;

/// An answer with an error status. A JSON-RPC error keeps its message. It also keeps the status if clients negotiate
/// by that; otherwise it gets 200, with which clients read it as the answer to the call.
pub(super) async fn error_answer(
    request: &Request,
    has_session: bool,
    status: StatusCode,
    headers: &HeaderMap,
    body: Inflow,
    account: &Account,
) -> Result<AnswerBody, Rejection> {
    let refused = || refused(request, has_session, status);
    let is_ours = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let is_error = status.is_client_error() || status.is_server_error();
    if is_ours || !is_error || !matches!(media(headers), Media::Json) {
        return Err(refused());
    }
    let (message, hold) = match gather(body, CHECKED_ANSWER, account).await {
        Ok(BoundedBody::Whole(message, hold)) => (message, hold),
        Err(BodyReadError::NoRoom(exhausted)) => return Err(exhausted.into()),
        Ok(BoundedBody::Part(_)) | Err(BodyReadError::Broken(_)) => return Err(refused()),
    };
    let message = response::error_of(request, &message).ok_or_else(refused)?;
    let status_for_client = match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => status,
        _ => StatusCode::OK,
    };
    Ok(AnswerBody::Message { status: status_for_client, message: message.into(), hold })
}

/// An error status, with a message for a caller who does not know the upstream.
pub(super) fn refused(request: &Request, has_session: bool, status: StatusCode) -> Rejection {
    let needs_session = request.era == Era::Stateful && !has_session;
    match status {
        StatusCode::BAD_REQUEST if needs_session => Rejection::SessionRequired,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            bad_answer("The MCP server does not accept the gateway's own credential: tell the operator")
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            fault(UpstreamFault::Unreachable, "The MCP server is busy: try again later")
        }
        StatusCode::METHOD_NOT_ALLOWED => bad_answer(
            "The MCP server accepts no POST (HTTP 405): its URL is not an endpoint of Streamable HTTP, or it speaks only the HTTP+SSE transport of 2024-11-05, which needs `transport = \"sse\"` in the configuration: tell the operator",
        ),
        status if status.is_redirection() => bad_answer(&format!(
            "The MCP server redirects elsewhere (HTTP {}), which the log names: tell the operator",
            status.as_u16()
        )),
        status => {
            fault(UpstreamFault::BadAnswer, format!("The MCP server answered with HTTP {}", status.as_u16()))
        }
    }
}
