//! The answer of a child: one response, or a stream of messages.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::connection::ChildExchange;
use super::pending_requests::{ChildMessage, ChildReply, NoResponse};
use crate::bridge::Uplift;
use witgate_flow::account::Account;
use witgate_flow::event::Event;
use witgate_flow::port::AnswerBody;
use witgate_flow::reject::Rejection;

/// The body of an answer, and the data that has to be kept for it.
pub(super) struct ChildAnswer {
    pub(super) session: Option<Box<str>>,
    pub(super) outcome: ChildOutcome,
}

pub(super) enum ChildOutcome {
    /// No answer is needed.
    Taken,
    /// A response that already exists.
    Response(Bytes),
    /// A child works on the answer.
    Running(ChildExchange, Option<Uplift>),
}

impl ChildAnswer {
    /// An answer outside of sessions.
    pub(super) fn plain(outcome: ChildOutcome) -> Self {
        Self { session: None, outcome }
    }
}

/// The answer: one response, or a stream as soon as another message comes first.
pub(super) async fn answer(
    outcome: ChildOutcome,
    patience: Duration,
    account: &Account,
) -> Result<AnswerBody, Rejection> {
    let (mut exchange, uplift) = match outcome {
        ChildOutcome::Taken => return Ok(AnswerBody::Accepted),
        ChildOutcome::Response(response) => {
            let hold = account.hold(response.len())?;
            return Ok(AnswerBody::held(response, hold));
        }
        ChildOutcome::Running(exchange, uplift) => (exchange, uplift),
    };
    match exchange.next(Some(patience)).await {
        Ok(ChildReply::Last(ChildMessage { line, hold })) => {
            Ok(AnswerBody::held(lift(uplift.as_ref(), line), hold))
        }
        Ok(ChildReply::Note(first)) => {
            // A subscription may be silent for any time; any other request has to send messages within the time limit.
            let patience = (!exchange.listens()).then_some(patience);
            let rest = AnswerTail { exchange, uplift, patience, first: Some(first), done: false };
            Ok(AnswerBody::Events(events(rest)))
        }
        Err(NoResponse::Cancelled) => Ok(AnswerBody::Events(stream::empty().boxed())),
        Err(lost) => Err(lost.into()),
    }
}

fn lift(uplift: Option<&Uplift>, response: Bytes) -> Bytes {
    uplift.map_or_else(|| response.clone(), |uplift| uplift.response(&response))
}

struct AnswerTail {
    exchange: ChildExchange,
    uplift: Option<Uplift>,
    patience: Option<Duration>,
    first: Option<ChildMessage>,
    done: bool,
}

fn events(rest: AnswerTail) -> BoxStream<'static, Event> {
    Box::pin(stream::unfold(rest, |mut rest| async move {
        let ChildMessage { line, hold } = rest.next().await?;
        Some((Event { data: line, hold, ..Event::default() }, rest))
    }))
}

impl AnswerTail {
    async fn next(&mut self) -> Option<ChildMessage> {
        while !self.done {
            let reply = match self.first.take() {
                Some(first) => Ok(ChildReply::Note(first)),
                None => self.exchange.next(self.patience).await,
            };
            self.done = !matches!(reply, Ok(ChildReply::Note(_)));
            match reply {
                Ok(ChildReply::Note(ChildMessage { line, hold })) => {
                    let wanted = match &self.uplift {
                        Some(uplift) => uplift.notification(line),
                        None => Some(line),
                    };
                    if let Some(line) = wanted {
                        return Some(ChildMessage { line, hold });
                    }
                }
                Ok(ChildReply::Last(ChildMessage { line, hold })) => {
                    return Some(ChildMessage { line: lift(self.uplift.as_ref(), line), hold });
                }
                Err(NoResponse::Cancelled) => return None,
                Err(lost) => return Some(Rejection::from(lost).wire().body(Some(self.exchange.id())).into()),
            }
        }
        None
    }
}
