//! Answers for callers that accept JSON only. The protocol requires clients to accept event streams as well, but
//! servers made with Python's SDK do not need them.

use std::pin::pin;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::reject::{Rejection, UpstreamFault};
use super::request::Request;
use crate::event::Event;
use crate::port::{Answer, AnswerBody};
use witgate_message::fault::MessageFault;
use witgate_message::headers::media;
use witgate_message::json::{MessageForm, form};

/// The answer in a form that the caller accepts. If the caller does not accept the upstream's event stream, they get
/// the response in it; earlier messages, such as progress, are left out.
///
/// # Errors
/// `NotAcceptable` if the server sends a request in the stream, which the caller could not get. `Upstream` if there is
/// no response.
pub(super) async fn taken_by(request: &Request, answer: Answer) -> Result<Answer, Rejection> {
    if media::accepts_events(&request.headers).is_ok() {
        return Ok(answer);
    }
    let Answer { session, body } = answer;
    let body = match body {
        AnswerBody::Events(events) => response(events).await?,
        body => body,
    };
    Ok(Answer { session, body })
}

async fn response(events: BoxStream<'static, Event>) -> Result<AnswerBody, Rejection> {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match form(&event.data) {
            Some(MessageForm::Response) => return Ok(AnswerBody::held(event.data, event.hold)),
            Some(MessageForm::Request) => return Err(MessageFault::NotAcceptable.into()),
            Some(MessageForm::Notification) | None => {}
        }
    }
    Err(Rejection::Upstream {
        fault: UpstreamFault::BadAnswer,
        message: "The MCP server's event stream ended without an answer".to_owned(),
    })
}
