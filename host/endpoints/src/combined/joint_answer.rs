//! One answer, made from those of several upstreams.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::StatusCode;
use witgate_flow::Reply;
use witgate_flow::event::Event;
use witgate_flow::port::{AnswerBody, Upstream};
use witgate_flow::reject::{RejectedMessage, Rejection};

use super::member_calls::{PartAnswers, id_of, lacks_method};
use super::{CombinedFlow, ReadMessage};
use crate::event_ids::EventPositions;
use crate::events::{MemberStream, RequestIds};
use crate::lists::{self, Cursors, JointList, ListKind};
use crate::part::{PartAnswer, bad_answer};

impl<U: Upstream + 'static> CombinedFlow<U> {
    /// Answers a request for a list.
    pub(super) async fn list(
        &self,
        read: &ReadMessage,
        kind: ListKind,
        cursors: Option<Cursors>,
    ) -> Result<Reply, RejectedMessage> {
        let body = read.call.body();
        let is_asked = |place: &usize| !kind.is_of_resources() || self.plan.offers_resources(*place);
        let parts: Vec<_> = match cursors {
            None => self.plan.places().filter(is_asked).map(|place| (place, body.clone())).collect(),
            Some(cursors) => {
                let cursors = cursors.into_iter().filter(|(place, _)| is_asked(place));
                cursors
                    .filter_map(|(place, cursor)| Some((place, lists::request_with(body, &cursor)?)))
                    .collect()
            }
        };
        if parts.is_empty() {
            return self.refuse(&read.message, lists::foreign_cursor().into()).await;
        }
        let answers = self.ask_several(read, parts).await?;
        let mut list = JointList::new(&self.plan, kind);
        let (mut missing, mut is_answered) = (Vec::new(), false);
        for (place, answer) in &answers {
            match answer {
                Ok(answer) if lacks_method(answer) => {}
                Ok(answer) if answer.result().and_then(|result| list.add(*place, result)).is_some() => {
                    is_answered = true;
                }
                // It is there, and this caller gets none of it.
                Err(RejectedMessage { rejection: Rejection::Denied { .. }, .. }) => {}
                Ok(_) | Err(_) => missing.push(*place),
            }
        }
        if !is_answered {
            return self.without_answer(answers).map_err(|rejected| *rejected);
        }
        let result = list.result(read.era, &missing);
        Ok(self.joint(read, answers, &result)?)
    }

    /// The answer if no upstream has a good one: that of the first, or its rejection.
    pub(super) fn without_answer(&self, answers: PartAnswers) -> Result<Reply, Box<RejectedMessage>> {
        let (mut failed, mut refused) = (None, None);
        for (_, answer) in answers {
            match answer {
                Ok(answer) => refused = refused.or(Some(answer)),
                Err(rejected) => failed = failed.or(Some(rejected)),
            }
        }
        match (failed, refused) {
            (Some(rejected), _) => Err(Box::new(rejected)),
            (None, Some(answer)) => Ok(self.reply(answer)),
            (None, None) => Err(Box::new(bad_answer("gives no answer").into())),
        }
    }

    /// The reply with `result`, which is made from these answers.
    pub(super) fn joint(
        &self,
        read: &ReadMessage,
        answers: PartAnswers,
        result: &str,
    ) -> Result<Reply, Rejection> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id_of(read));
        let (mut text, mut events, mut first) = (Bytes::from(text), Vec::new(), None);
        for (place, answer) in answers {
            let Ok(PartAnswer { nonce, decision, hold, events: own, .. }) = answer else { continue };
            // As long as the text exists, so do the reservations for its parts.
            text = hold.keep(text);
            events.extend(own.into_iter().map(|event| (place, event)));
            first = first.or(Some((nonce, decision)));
        }
        let (nonce, decision) = first.ok_or_else(|| bad_answer("gives no answer"))?;
        let body = self.body(read, text, events);
        Ok(Reply { status: StatusCode::OK, session: None, nonce, decision, body })
    }

    /// The reply with the answer of one upstream.
    pub(super) fn reply(&self, answer: PartAnswer) -> Reply {
        let PartAnswer { status, nonce, decision, text, hold, .. } = answer;
        let body = AnswerBody::Message { status, message: text.into(), hold };
        Reply { status, session: None, nonce, decision, body }
    }

    /// The response, after the upstreams' own messages.
    fn body(&self, read: &ReadMessage, text: Bytes, events: Vec<(usize, Event)>) -> AnswerBody {
        if events.is_empty() {
            return AnswerBody::message(text);
        }
        let shown = events.into_iter().map(|(place, event)| self.shown_before(read, place, event));
        let shown: Vec<_> = shown.collect();
        let response = stream::iter([Event { data: text, ..Event::default() }]).boxed();
        AnswerBody::Events(stream::iter(shown).flatten().chain(response).boxed())
    }

    /// A message of an upstream before its answer. It has no id: the stream cannot be resumed.
    fn shown_before(&self, read: &ReadMessage, place: usize, event: Event) -> BoxStream<'static, Event> {
        let request = RequestIds { id: None, token: read.call.progress_token().map(str::to_owned) };
        let stream = MemberStream {
            plan: std::sync::Arc::clone(&self.plan),
            place,
            session: read.session.clone(),
            request: Some(request),
            positions: std::sync::Arc::new(EventPositions::new(Vec::new())),
        };
        stream.shown(stream::iter([event]).boxed(), read.message.arrival().peer)
    }
}
