//! `subscriptions/listen`: one stream, made from those of the upstreams.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::ready;
use futures_util::stream::{self, BoxStream};
use tokio::time::timeout;
use witgate_base::party::Principal;
use witgate_flow::Reply;
use witgate_flow::event::Event;
use witgate_flow::parsing;
use witgate_flow::port::{AnswerBody, Upstream};
use witgate_flow::reject::RejectedMessage;
use witgate_message::fault::MessageFault;
use witgate_message::json::{MessageForm, form};

use super::member_calls::id_of;
use super::{CombinedFlow, ReadMessage, absent};
use crate::events::RequestIds;
use crate::names::NamePlan;
use crate::subscriptions::{self, Parts, is_acknowledgement, joint_acknowledgement};

/// The time within which a server acknowledges a subscription. The stream begins without those that take longer.
const ACKNOWLEDGEMENT: Duration = Duration::from_secs(5);

impl<U: Upstream + 'static> CombinedFlow<U> {
    /// Opens a subscription at each upstream of which something is wanted. It ends when one of them ends, so that the
    /// client subscribes anew, and learns what is left.
    pub(super) async fn subscribe(&self, read: &ReadMessage) -> Result<Reply, RejectedMessage> {
        let principal = self.authenticated(read).await?.principal();
        let parts = match self.parts(read, &principal).await {
            Ok(parts) => parts,
            Err(fault) => return self.refuse(&read.message, fault.into()).await,
        };
        let (mut opened, mut refused, mut failed) = (Vec::new(), None, None);
        for (place, body) in parts.into_iter().filter(|(place, _)| self.member(*place).is_ok()) {
            match self.ask(read, place, body, None).await {
                Ok(reply) if matches!(reply.body, AnswerBody::Events(_)) => {
                    opened.push((place, self.shown(read, place, ids(read), reply)));
                }
                Ok(reply) => refused = refused.or(Some(reply)),
                Err(rejected) if read.message.siblings.caller().is_none() => return Err(rejected),
                Err(rejected) => failed = failed.or(Some(rejected)),
            }
        }
        match (joint(&self.plan, opened).await, refused, failed) {
            (Some(reply), ..) => Ok(reply),
            (None, Some(reply), _) => Ok(reply),
            (None, None, Some(failed)) => Err(failed),
            (None, None, None) => self.refuse(&read.message, absent()).await,
        }
    }

    /// The parts of a subscription of this principal.
    async fn parts(&self, read: &ReadMessage, principal: &Principal) -> Result<Parts, MessageFault> {
        let mut tasks: HashMap<Box<str>, usize> = HashMap::new();
        for task in read.call.tasks() {
            tasks.extend(self.place_of_task(principal, task).map(|place| (task.clone(), place)));
        }
        let (plan, body) = (Arc::clone(&self.plan), read.call.body().clone());
        let (peer, size) = (read.message.arrival().peer, body.len());
        let make = move || subscriptions::parts(&plan, &body, |task| tasks.get(task).copied());
        let parts = parsing::message(peer, size, make).await;
        parts.unwrap_or_else(|| Err(MessageFault::Parse("it cannot be read".to_owned())))
    }
}

fn ids(read: &ReadMessage) -> RequestIds {
    RequestIds { id: Some(id_of(read).to_owned()), token: read.call.progress_token().map(str::to_owned) }
}

/// One reply with the events of all, after one acknowledgement. None: there are none.
async fn joint(plan: &NamePlan, opened: Vec<(usize, Reply)>) -> Option<Reply> {
    let (mut first, mut acknowledgements, mut streams) = (None, Vec::new(), Vec::new());
    for (place, Reply { status, session, nonce, decision, body }) in opened {
        let AnswerBody::Events(events) = body else { continue };
        let (acknowledgement, events) = acknowledged(events).await;
        acknowledgements.extend(acknowledgement.map(|acknowledgement| (place, acknowledgement)));
        streams.push(events);
        first = first.or(Some((status, session, nonce, decision)));
    }
    let (status, session, nonce, decision) = first?;
    let acknowledgement = joint_acknowledgement(plan, &acknowledgements);
    let acknowledgement = acknowledgement.map(|data| Event { data, ..Event::default() });
    let events = stream::iter(acknowledgement).chain(until_one_ends(streams)).boxed();
    Some(Reply { status, session, nonce, decision, body: AnswerBody::Events(events) })
}

/// The acknowledgement, if it comes first, and the events after it.
async fn acknowledged(mut events: BoxStream<'static, Event>) -> (Option<Bytes>, BoxStream<'static, Event>) {
    match timeout(ACKNOWLEDGEMENT, events.next()).await {
        Ok(Some(event)) if is_acknowledgement(&event.data) => (Some(event.data), events),
        Ok(Some(event)) => (None, stream::iter([event]).chain(events).boxed()),
        Ok(None) => (None, stream::empty().boxed()),
        // What comes later is passed on as it is.
        Err(_) => (None, events),
    }
}

/// The events of all streams until one of them has ended, or has had its response.
fn until_one_ends(streams: Vec<BoxStream<'static, Event>>) -> BoxStream<'static, Event> {
    let with_end = |events: BoxStream<'static, Event>| events.map(Some).chain(stream::iter([None]));
    let all = stream::select_all(streams.into_iter().map(|events| with_end(events).boxed()));
    let next = |ended: &mut bool, event: Option<Event>| {
        let event = event.filter(|_| !*ended);
        *ended |= event.as_ref().is_none_or(|event| form(&event.data) == Some(MessageForm::Response));
        ready(event)
    };
    all.scan(false, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &'static str) -> Event {
        Event { data: Bytes::from_static(data.as_bytes()), ..Event::default() }
    }

    #[tokio::test]
    async fn the_stream_ends_with_the_first_response() {
        let (note, response) =
            (r#"{"jsonrpc":"2.0","method":"n"}"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        let one = stream::iter([event(note), event(response), event(note)]).boxed();
        let events: Vec<_> = until_one_ends(vec![one, stream::pending().boxed()]).collect().await;
        assert_eq!(events.iter().map(|event| event.data.clone()).collect::<Vec<_>>(), [note, response]);
        let ended = until_one_ends(vec![stream::empty().boxed(), stream::pending().boxed()]);
        assert_eq!(ended.count().await, 0);
    }
}
