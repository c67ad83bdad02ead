//! Streams that last longer than the answer to their request (GET, `subscriptions/listen`), and those of long calls.
//! The protocol does not say what happens when the right to a stream ends. Here the stream ends, and a client that
//! waits for an answer gets the reason in it.

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use tokio_util::sync::CancellationToken;

use super::durations::StreamedOperation;
use super::limit::CallPlaces;
use super::list_changes::ListChanges;
use super::listing::{AnswerFilter, answered_id};
use super::reject::Rejection;
use super::right::Right;
use super::stage_result::{FallbackUse, StageResult};
use crate::event::Event;
use witgate_runtime::shares::Share;

/// A stream that ends with its right.
pub struct GuardedStream {
    /// The right to the stream.
    pub right: Right,
    /// The filter of its events.
    pub look: AnswerFilter,
    /// The changes of lists by new generations. None: the stream ends with its call.
    pub(super) changes: Option<ListChanges>,
    /// Cancelled when Witgate shuts down. None: the stream ends by itself, and the shutdown waits for that.
    pub stop: Option<CancellationToken>,
    /// The operation that ends with the stream. None: the stream lasts longer than its operation.
    pub(super) operation: Option<StreamedOperation>,
    /// The stream's part of the caller's share, for as long as the stream lasts.
    pub(super) _share: Option<Share>,
    /// The call's places among the running calls of its limits, for as long as the stream lasts.
    pub(super) _places: CallPlaces,
}

/// The next step of a stream.
enum StreamStep {
    Event(Event),
    Ended(Option<bytes::Bytes>),
    Over,
}

impl GuardedStream {
    /// The events, until the right ends.
    pub fn guard(self, events: BoxStream<'static, Event>) -> BoxStream<'static, Event> {
        unfold(Some((self, events)), |state| async move {
            let (mut standing, mut events) = state?;
            match standing.next(&mut events).await {
                StreamStep::Event(event) => {
                    standing.note(&event.data);
                    Some((event, Some((standing, events))))
                }
                StreamStep::Ended(Some(data)) => {
                    standing.note(&data);
                    Some((Event { data, ..Event::default() }, None))
                }
                StreamStep::Ended(None) | StreamStep::Over => None,
            }
        })
        .boxed()
    }

    fn note(&mut self, data: &bytes::Bytes) {
        if let Some(operation) = &mut self.operation {
            operation.note(data);
        }
    }

    async fn next(&mut self, events: &mut BoxStream<'static, Event>) -> StreamStep {
        loop {
            if let Some(event) = self.changes.as_mut().and_then(|changes| changes.next(self.right.permit())) {
                return StreamStep::Event(event);
            }
            let stopped = async {
                match &self.stop {
                    Some(stop) => stop.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                () = stopped => return StreamStep::Over,
                StageResult { result, fallback } = self.right.judged_anew() => match result {
                    Ok(()) => continue,
                    Err(rejection) => return self.end(&rejection, fallback),
                },
                event = events.next() => event,
            };
            let Some(event) = event else { return StreamStep::Over };
            // An event must not be sent if the right has just ended.
            let StageResult { result, fallback } = self.right.check().await;
            if let Err(rejection) = result {
                return self.end(&rejection, fallback);
            }
            if let Some(changes) = &mut self.changes {
                changes.note(&event);
            }
            self.look.renew(std::sync::Arc::clone(self.right.permit()));
            let StageResult { result, fallback } = self.look.event(event.clone()).await;
            match result {
                Ok(Some(event)) => return StreamStep::Event(event),
                Ok(None) => {}
                Err(rejection) => {
                    if let Some(next) = self.error_event(event, &rejection, fallback) {
                        return next;
                    }
                }
            }
        }
    }

    /// The replacement for an event that cannot be shown. In a call's own stream, an answer becomes an error, which
    /// ends the stream. On a standing stream, a replayed answer becomes an error with its own id. A notification about
    /// which a policy cannot decide ends a standing stream, because the client would miss it otherwise. Events that
    /// are not JSON-RPC are left out there.
    fn error_event(&self, event: Event, rejection: &Rejection, fallback: FallbackUse) -> Option<StreamStep> {
        let is_failure = matches!(rejection, Rejection::Failed(_));
        let answered = answered_id(&event.data);
        match (self.stop.is_some(), is_failure, answered) {
            (true, false, _) | (false, true, None) => None,
            (true, true, None) => Some(self.end(rejection, fallback)),
            (true, true, Some(id)) => {
                self.right.record_failure(rejection, fallback);
                Some(StreamStep::Event(Event { data: rejection.wire().body(Some(&id)), ..event }))
            }
            (false, ..) => {
                self.right.record_failure(rejection, fallback);
                let id = self.right.permit().request().call.id();
                Some(StreamStep::Ended(id.map(|id| rejection.wire().body(Some(id)))))
            }
        }
    }

    fn end(&self, rejection: &Rejection, fallback: FallbackUse) -> StreamStep {
        StreamStep::Ended(self.right.record_end(rejection, fallback))
    }
}
