//! The event stream that answers a request, checked against it (JSON-RPC 2.0, section 5).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::events::{self, NamedEvent, StreamCut};
use super::fault::{bad_answer, fault};
use super::open_requests::OpenRequests;
use super::response;
use witgate_flow::account::Account;
use witgate_flow::body::Inflow;
use witgate_flow::event::Event;
use witgate_flow::limit::UnansweredCall;
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_flow::request::Request;
use witgate_message::json::{MessageForm, form};

/// The messages of a stream. The last is the response under the caller's id. It is an error if the upstream answers
/// another request, sends a message that is not JSON-RPC, or ends without an answer that could still come: a client
/// resumes a stream whose events have ids. Of a session, requests of the server are recorded, and its end is the end of
/// the body. `unanswered` ends with the answer.
pub(super) fn of(
    request: Arc<Request>,
    (body, max_message, account): (Inflow, usize, Account),
    (session, unanswered): (
        Option<(Arc<OpenRequests>, WaitForCancellationFutureOwned)>,
        Option<UnansweredCall>,
    ),
) -> BoxStream<'static, Event> {
    let events = events::read_named(body, max_message, account);
    let (asked, events) = match session {
        Some((asked, ended)) => (Some(asked), events.take_until(ended).boxed()),
        None => (None, events.boxed()),
    };
    let answering = AnswerStream { request, events, asked, unanswered, is_answered: false, has_ids: false };
    unfold(Some(answering), |state| async move {
        let mut answering = state?;
        match answering.next().await {
            Ok(event) => Some((event?, Some(answering))),
            Err(rejection) => Some((answering.error_event(&rejection)?, None)),
        }
    })
    .boxed()
}

struct AnswerStream {
    request: Arc<Request>,
    events: BoxStream<'static, Result<NamedEvent, StreamCut>>,
    asked: Option<Arc<OpenRequests>>,
    unanswered: Option<UnansweredCall>,
    is_answered: bool,
    /// True if an event had an id, so that a client may resume after it.
    has_ids: bool,
}

impl AnswerStream {
    async fn next(&mut self) -> Result<Option<Event>, Rejection> {
        loop {
            let Some(event) = self.events.next().await.transpose().map_err(cut)? else { return self.over() };
            let Some(event) = event.message() else { continue };
            self.has_ids |= event.id.is_some();
            return self.checked(event).map(Some);
        }
    }

    fn checked(&mut self, event: Event) -> Result<Event, Rejection> {
        if event.data.is_empty() {
            return Ok(event);
        }
        match form(&event.data) {
            Some(MessageForm::Request) => {
                self.asked.iter().for_each(|asked| asked.note(&event.data));
                Ok(event)
            }
            Some(MessageForm::Notification) => Ok(event),
            Some(MessageForm::Response) => {
                let data = response::of(&self.request, event.data)?;
                self.is_answered = true;
                self.unanswered.take().into_iter().for_each(UnansweredCall::ends);
                Ok(Event { data, ..event })
            }
            None => Err(bad_answer("The MCP server's answer is not JSON-RPC")),
        }
    }

    /// The end of the body. A subscription is opened again, and needs no answer.
    fn over(&self) -> Result<Option<Event>, Rejection> {
        match self.is_answered || self.has_ids || self.request.call.method() == "subscriptions/listen" {
            true => Ok(None),
            false => Err(bad_answer("The MCP server ended its event stream without an answer")),
        }
    }

    /// The event for callers without an answer. None: they have one, or will resume.
    fn error_event(&self, rejection: &Rejection) -> Option<Event> {
        let may_resume = self.has_ids && is_broken(rejection);
        tracing::warn!(upstream = &*self.request.route.upstream, ?rejection, "an event stream ends");
        if self.is_answered || may_resume {
            return None;
        }
        let data: Bytes = rejection.wire().body(self.request.call.id());
        Some(Event { data, ..Event::default() })
    }
}

fn cut(cut: StreamCut) -> Rejection {
    match cut {
        StreamCut::Broken => fault(UpstreamFault::Unreachable, "The MCP server broke off its answer"),
        StreamCut::NoRoom => Rejection::TooManyAnswers,
        StreamCut::Flooded => {
            fault(UpstreamFault::Flood, "The MCP server's answer has an event that is too large")
        }
    }
}

fn is_broken(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::Upstream { fault: UpstreamFault::Unreachable, .. })
}
