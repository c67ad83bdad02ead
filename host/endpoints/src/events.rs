//! The messages of an upstream's stream, as the client gets them: with ids that tell the upstreams apart, and without
//! those that belong to another upstream. A client has one table of requests for all upstreams, so that an upstream
//! could answer a request that another one got.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use witgate_flow::event::Event;
use witgate_flow::parsing;
use witgate_message::json::{Members, MessageForm, form, span_in, splice, unquote};
use witgate_plugin::TargetKind;

use crate::event_ids::EventPositions;
use crate::joint_session::JointSession;
use crate::names::NamePlan;

/// A stream of an upstream.
pub(crate) struct MemberStream {
    pub(crate) plan: Arc<NamePlan>,
    /// The place of the upstream.
    pub(crate) place: usize,
    /// The session of the client, if it has one.
    pub(crate) session: Option<Arc<JointSession>>,
    /// The id and the progress token of the request whose answer the stream is. None: it is the stream of the server's
    /// own messages.
    pub(crate) request: Option<RequestIds>,
    pub(crate) positions: Arc<EventPositions>,
}

/// The id of a request, as JSON text.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestIds {
    pub(crate) id: Option<String>,
    pub(crate) token: Option<String>,
}

impl MemberStream {
    /// The events as the client gets them. `peer` reads them.
    pub(crate) fn shown(
        self,
        events: BoxStream<'static, Event>,
        peer: Option<IpAddr>,
    ) -> BoxStream<'static, Event> {
        let stream = Arc::new(self);
        let show = move |event: Event| {
            let (stream, data) = (Arc::clone(&stream), event.data.clone());
            async move {
                let (reading, size) = (Arc::clone(&stream), data.len());
                let data = parsing::answer(peer, size, move || reading.message(&data)).await.flatten()?;
                let id = stream.positions.pass(&stream.plan, stream.place, event.id);
                Some(Event { id, data, ..event })
            }
        };
        events.filter_map(show).boxed()
    }

    /// A message as the client gets it. None: it is not for this client. An empty message only starts a stream.
    fn message(&self, data: &Bytes) -> Option<Bytes> {
        if data.is_empty() {
            return Some(data.clone());
        }
        let message = Members::read(std::str::from_utf8(data).ok()?)?;
        let edits = match form(data)? {
            MessageForm::Request => {
                self.note_question(&message);
                self.request_edits(&message)
            }
            MessageForm::Notification => self.notification_edits(&message)?,
            MessageForm::Response => return self.is_own_answer(&message).then(|| data.clone()),
        };
        let spans =
            edits.into_iter().map(|text| Some((span_in(data, text)?, self.plan.shown_id(self.place, text))));
        let spans: Vec<(Range<usize>, String)> = spans.collect::<Option<_>>()?;
        let mut spans: Vec<_> = spans.iter().map(|(span, text)| (span.clone(), text.as_str())).collect();
        Some(splice(data, &mut spans))
    }

    /// The id of a request of the server, and its progress token.
    fn request_edits<'a>(&self, message: &Members<'a>) -> Vec<&'a str> {
        let params = message.came("params").and_then(Members::read);
        let meta = params.and_then(|params| params.came("_meta")).and_then(Members::read);
        let token = meta.and_then(|meta| meta.came("progressToken"));
        message.came("id").into_iter().chain(token).collect()
    }

    /// Remembers who has asked a question with a URL, whose end is announced by its id.
    fn note_question(&self, message: &Members<'_>) {
        let params = || message.came("params").and_then(Members::read);
        let id = || params()?.get("elicitationId").and_then(unquote);
        let is_question = message.get("method").and_then(unquote).as_deref() == Some("elicitation/create");
        if let (true, Some(session), Some(id)) = (is_question, &self.session, id()) {
            session.note_elicitation(self.place, &id);
        }
    }

    /// The id of a request of the server in a notification about it. None: the notification is about something of
    /// another upstream.
    fn notification_edits<'a>(&self, message: &Members<'a>) -> Option<Vec<&'a str>> {
        let params = message.came("params").and_then(Members::read).unwrap_or_default();
        match message.get("method").and_then(unquote)?.as_str() {
            "notifications/cancelled" => Some(params.came("requestId").into_iter().collect()),
            "notifications/progress" => {
                params.came("progressToken").filter(|token| self.is_own_token(token)).map(|_| Vec::new())
            }
            "notifications/resources/updated" => {
                let uri = params.get("uri").and_then(unquote)?;
                self.plan.shown(self.place, TargetKind::Resource, &uri).map(|_| Vec::new())
            }
            "notifications/elicitation/complete" => {
                let id = params.get("elicitationId").and_then(unquote)?;
                let asker = self.session.as_ref().and_then(|session| session.upstream_of_elicitation(&id));
                asker.is_none_or(|asker| asker == self.place).then(Vec::new)
            }
            _ => Some(Vec::new()),
        }
    }

    fn is_own_token(&self, token: &str) -> bool {
        let of_request = self.request.as_ref().and_then(|request| request.token.as_deref());
        let remembered = || self.session.as_ref().and_then(|session| session.upstream_of_token(token));
        of_request == Some(token) || remembered() == Some(self.place)
    }

    /// True for the answer to the request of this stream, or on a resumed stream to another one of this upstream.
    fn is_own_answer(&self, message: &Members<'_>) -> bool {
        let Some(id) = message.get("id") else { return false };
        match &self.request {
            // The flow has no answer without an id, except an error of its own.
            Some(request) => request.id.as_deref().is_some_and(|own| is_same(own, id)) || id == "null",
            None => self
                .session
                .as_ref()
                .is_some_and(|session| session.upstream_of_request(id) == Some(self.place)),
        }
    }
}

/// True if both texts are the same id. A server may write a string in another way.
fn is_same(one: &str, other: &str) -> bool {
    one == other || unquote(one).is_some_and(|text| unquote(other) == Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::joint_session::Joining;
    use crate::names::tests::plan;
    use witgate_base::party::Principal;

    fn stream(request: Option<RequestIds>) -> MemberStream {
        let ada = Principal::new("keys".into(), None, "ada");
        let owner = (ada.clone(), ada.party(None));
        let session = JointSession::new(owner, Bytes::new(), "2025-11-25", vec![Joining::Joined(None); 2]);
        session.note_elicitation(0, "of a");
        session.note(0, Some("5"), Some("50"));
        session.note(1, Some("6"), Some("60"));
        MemberStream {
            plan: Arc::new(plan(&[("a", &["resource:a:*"]), ("b", &["resource:b:*"])])),
            place: 1,
            session: Some(Arc::new(session)),
            request,
            positions: Arc::new(EventPositions::new(vec![(1, None)])),
        }
    }

    fn shown(stream: &MemberStream, message: &str) -> Option<String> {
        let shown = stream.message(&Bytes::from(message.to_owned()))?;
        Some(String::from_utf8(shown.to_vec()).unwrap())
    }

    #[test]
    fn ids_of_an_upstreams_requests_tell_the_upstreams_apart() {
        let stream = stream(None);
        assert_eq!(
            shown(&stream, r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"_meta":{"progressToken":"t"},"x":1.0}}"#).as_deref(),
            Some(r#"{"jsonrpc":"2.0","id":"b__1","method":"sampling/createMessage","params":{"_meta":{"progressToken":"b__\"t\""},"x":1.0}}"#)
        );
        assert_eq!(
            shown(
                &stream,
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#
            )
            .as_deref(),
            Some(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"b__1"}}"#)
        );
    }

    /// A hostile upstream answers, and reports on, what the client has asked of another one.
    #[test]
    fn an_upstream_cannot_answer_for_another_one() {
        let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        let progress = |token: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
            )
        };
        let updated = |uri: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
            )
        };
        let complete = |id: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{{"elicitationId":"{id}"}}}}"#
            )
        };
        let standing = stream(None);
        let call = stream(Some(RequestIds { id: Some("7".to_owned()), token: Some("70".to_owned()) }));
        for (message, on_standing, on_call) in [
            (answer("5"), false, false),
            (answer("6"), true, false),
            (answer("7"), false, true),
            (progress("50"), false, false),
            (progress("60"), true, true),
            (progress("70"), false, true),
            (updated("a:x"), false, false),
            (updated("b:x"), true, true),
            (complete("of a"), false, false),
            (complete("other"), true, true),
            ("no JSON".to_owned(), false, false),
            (String::new(), true, true),
        ] {
            assert_eq!(shown(&standing, &message).is_some(), on_standing, "{message}");
            assert_eq!(shown(&call, &message).is_some(), on_call, "{message}");
        }
    }
}
