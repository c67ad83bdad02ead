//! The streams of the upstreams' own messages, as one, and the end of a session (GET and DELETE, in the stateful era).

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::ready;
use futures_util::stream::{self, BoxStream};
use witgate_flow::event::Event;
use witgate_flow::port::Upstream;
use witgate_flow::reject::{RejectedMessage, Rejection};
use witgate_message::fault::MessageFault;

use crate::combined::CombinedFlow;
use crate::event_ids::{self, EventPositions};
use crate::events::MemberStream;
use crate::joint_session::{Joining, JointSession};
use crate::message::ClientMessage;

/// A stream that has lasted so long has been a stream. One that ends before, without a message, is that of a server
/// without messages of its own.
const LASTING: Duration = Duration::from_secs(10);

/// An item of one of several streams.
enum StreamItem {
    Event(Event),
    /// The stream has ended, and the client has to come back for it.
    Broken,
}

impl<U: Upstream + 'static> CombinedFlow<U> {
    /// Opens the streams of all upstreams of a session, or those in which a broken stream resumes.
    pub(crate) async fn stand(
        &self,
        message: ClientMessage,
    ) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        let id = match message.session() {
            Ok(Some(id)) => id,
            // The flow of an upstream finds the same fault.
            Ok(None) | Err(_) => return self.refuse_stream(&message, Rejection::SessionRequired).await,
        };
        let Some(session) = self.session_of(id) else {
            return self.refuse_stream(&message, Rejection::SessionNotFound).await;
        };
        message.siblings.belong_to(session.owner().clone());
        let places = match message.last_event_id().map(|id| event_ids::read(self.plan(), id)) {
            None => self.plan().places().map(|place| (place, None)).collect(),
            Some(Some(positions)) => positions,
            Some(None) => {
                let fault = MessageFault::InvalidRequest("Last-Event-ID is none of this endpoint".to_owned());
                return self.refuse_stream(&message, fault.into()).await;
            }
        };
        let (mut streams, mut failed) = (Vec::new(), None);
        for (place, last) in places {
            let Joining::Joined(own) = session.at(place) else { continue };
            let Ok(flow) = self.flow(place) else { continue };
            let arrival = message.about(own.as_deref(), last.as_deref());
            match flow.listen_among(Some(Arc::clone(&message.siblings)), arrival).await {
                Ok(events) => streams.push((place, last, events)),
                Err(rejected) if message.siblings.caller().is_none() => return Err(rejected),
                Err(rejected) => failed = failed.or(Some(rejected)),
            }
        }
        match (streams.is_empty(), failed) {
            (true, Some(rejected)) => Err(rejected),
            (true, None) => self.refuse_stream(&message, Rejection::SessionNotFound).await,
            (false, _) => Ok(self.as_one(&message, &session, streams)),
        }
    }

    fn as_one(
        &self,
        message: &ClientMessage,
        session: &Arc<JointSession>,
        streams: Vec<(usize, Option<String>, BoxStream<'static, Event>)>,
    ) -> BoxStream<'static, Event> {
        let positions = streams.iter().map(|(place, last, _)| (*place, last.clone())).collect();
        let positions = Arc::new(EventPositions::new(positions));
        let shown = streams.into_iter().map(|(place, _, events)| {
            let stream = MemberStream {
                plan: Arc::clone(self.plan()),
                place,
                session: Some(Arc::clone(session)),
                request: None,
                positions: Arc::clone(&positions),
            };
            with_end(stream.shown(events, message.arrival().peer))
        });
        let whole = stream::select_all(shown.collect::<Vec<_>>());
        let until_broken = whole.take_while(|item| ready(!matches!(item, StreamItem::Broken)));
        let event = |item| match item {
            StreamItem::Event(event) => ready(Some(event)),
            StreamItem::Broken => ready(None),
        };
        until_broken.filter_map(event).boxed()
    }

    /// Ends a session at all its upstreams.
    pub(crate) async fn end(&self, message: ClientMessage) -> Result<(), RejectedMessage> {
        let id = match message.session() {
            Ok(Some(id)) => id,
            // The flow of an upstream finds the same fault.
            Ok(None) | Err(_) => return self.refuse_end(&message, Rejection::SessionRequired).await,
        };
        let Some(session) = self.session_of(id) else {
            return self.refuse_end(&message, Rejection::SessionNotFound).await;
        };
        message.siblings.belong_to(session.owner().clone());
        let (mut is_ended, mut failed) = (false, None);
        for place in self.plan().places() {
            let Joining::Joined(own) = session.at(place) else { continue };
            let Ok(flow) = self.flow(place) else { continue };
            let arrival = message.about(own.as_deref(), None);
            match flow.close_among(Some(Arc::clone(&message.siblings)), arrival).await {
                Ok(()) => {
                    is_ended = true;
                    session.leave(place);
                }
                Err(rejected) if message.siblings.caller().is_none() => return Err(rejected),
                Err(rejected) => failed = failed.or(Some(rejected)),
            }
        }
        match failed {
            // What is left can be ended by another request.
            Some(rejected) if !(is_ended && is_without_end(&rejected)) => return Err(rejected),
            None if !is_ended => return self.refuse_end(&message, Rejection::SessionNotFound).await,
            Some(_) | None => {}
        }
        self.forget(id);
        Ok(())
    }

    /// Refuses a stream. The first upstream authenticates its sender.
    async fn refuse_stream(
        &self,
        message: &ClientMessage,
        rejection: Rejection,
    ) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        let siblings = Some(Arc::new(message.siblings.refused(rejection)));
        self.first()?.listen_among(siblings, message.unchanged()).await
    }

    /// Refuses the end of a session, in the same way.
    async fn refuse_end(&self, message: &ClientMessage, rejection: Rejection) -> Result<(), RejectedMessage> {
        let siblings = Some(Arc::new(message.siblings.refused(rejection)));
        self.first()?.close_among(siblings, message.unchanged()).await
    }
}

/// True if a server keeps no sessions that a client could end.
fn is_without_end(rejected: &RejectedMessage) -> bool {
    matches!(
        rejected.rejection,
        Rejection::Malformed(MessageFault::MethodNotAllowed)
            | Rejection::SessionRequired
            | Rejection::SessionNotFound
    )
}

/// The events, and at the end whether the stream was one.
fn with_end(events: BoxStream<'static, Event>) -> BoxStream<'static, StreamItem> {
    let state = Some((events, Instant::now(), false));
    let next = |state: Option<(BoxStream<'static, Event>, Instant, bool)>| async move {
        let (mut events, began, has_any) = state?;
        match events.next().await {
            Some(event) => Some((StreamItem::Event(event), Some((events, began, true)))),
            None if has_any || began.elapsed() >= LASTING => Some((StreamItem::Broken, None)),
            None => None,
        }
    };
    stream::unfold(state, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(number: usize) -> BoxStream<'static, Event> {
        stream::iter((0..number).map(|_| Event::default())).boxed()
    }

    #[tokio::test]
    async fn a_stream_with_messages_breaks_and_one_without_only_ends() {
        let items: Vec<_> = with_end(events(1)).collect().await;
        assert!(matches!(items.as_slice(), [StreamItem::Event(_), StreamItem::Broken]));
        assert_eq!(with_end(events(0)).count().await, 0);
    }
}
