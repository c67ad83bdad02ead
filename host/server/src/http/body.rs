//! Bodies of answers: a whole body, a body that is streamed from the upstream, or an event stream. Comments keep event
//! streams alive.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use one_event::OneEvent;
use witgate_base::peer::Peer;
use witgate_flow::body::{BodyError, RawBody};
use witgate_flow::event::Event;
use witgate_runtime::memory::Reservation;

mod one_event;
#[cfg(test)]
mod tests;

/// The pause before a comment. Proxies and load balancers close a connection after 30 s to 60 s without a byte.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// The body of an answer.
pub struct Body {
    kind: BodyKind,
    /// The memory of the request. It is held until the end of the answer.
    held: Option<Reservation<Peer>>,
}

enum BodyKind {
    Whole(Bytes),
    Raw(RawBody),
    Events {
        events: BoxStream<'static, Event>,
        pulse: Pulse,
    },
    /// An event stream that was opened before the answer is known.
    Late {
        answer: BoxFuture<'static, Response<Body>>,
        pulse: Pulse,
    },
    OneEvent(OneEvent<Body>),
}

impl Body {
    pub(super) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    pub(super) fn whole(body: Bytes) -> Self {
        BodyKind::Whole(body).into()
    }

    pub(super) fn raw(body: RawBody) -> Self {
        BodyKind::Raw(body).into()
    }

    pub(super) fn events(events: BoxStream<'static, Event>) -> Self {
        BodyKind::Events { events, pulse: Pulse::default() }.into()
    }

    /// An event stream with the future answer. The status and headers of that answer are lost, because the stream's own
    /// have already been sent.
    pub(super) fn late(answer: BoxFuture<'static, Response<Body>>) -> Self {
        // The first comment is sent at once, because nothing has been sent for long.
        BodyKind::Late { answer, pulse: Pulse(Some(Box::pin(sleep(Duration::ZERO)))) }.into()
    }

    /// The body of an answer as an event stream.
    fn streamed(answer: Response<Body>) -> Self {
        let is_stream = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/"));
        let body = answer.into_body();
        if is_stream { body } else { BodyKind::OneEvent(OneEvent::of(body)).into() }
    }

    /// The same, which also holds the memory of its request.
    pub(super) fn holding(self, held: Reservation<Peer>) -> Self {
        Self { held: Some(held), ..self }
    }
}

impl From<BodyKind> for Body {
    fn from(kind: BodyKind) -> Self {
        Self { kind, held: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("held", &self.held).finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            BodyKind::Whole(body) if body.is_empty() => Poll::Ready(None),
            BodyKind::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            BodyKind::Raw(body) => Pin::new(body).poll_frame(context),
            BodyKind::Events { events, pulse } => {
                if let Poll::Ready(event) = events.as_mut().poll_next(context) {
                    pulse.rest();
                    return Poll::Ready(
                        event.map(|event| Ok(Frame::data(event.hold.clone().keep(encode(&event))))),
                    );
                }
                pulse.poll(context)
            }
            BodyKind::Late { answer, pulse } => {
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    *self = Self::streamed(answer);
                    return self.poll_frame(context);
                }
                pulse.poll(context)
            }
            BodyKind::OneEvent(event) => event.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Whole(body) => body.is_empty(),
            BodyKind::Raw(body) => body.is_end_stream(),
            BodyKind::Events { .. } | BodyKind::Late { .. } | BodyKind::OneEvent(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Whole(body) => SizeHint::with_exact(body.len() as u64),
            BodyKind::Raw(body) => body.size_hint(),
            BodyKind::Events { .. } | BodyKind::Late { .. } | BodyKind::OneEvent(_) => SizeHint::default(),
        }
    }
}

/// The comments of an event stream that has no events for some time. The timer is created when the stream becomes
/// quiet.
#[derive(Default)]
struct Pulse(Option<Pin<Box<Sleep>>>);

impl Pulse {
    fn rest(&mut self) {
        self.0 = None;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let clock = self.0.get_or_insert_with(|| Box::pin(sleep(KEEP_ALIVE)));
        ready!(clock.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::data(COMMENT))))
    }
}

/// The text of an event. A message of several lines becomes several `data` lines.
fn encode(event: &Event) -> Bytes {
    let mut text = Vec::with_capacity(event.data.len() + 32);
    if let Some(id) = &event.id {
        text.extend_from_slice(b"id: ");
        text.extend(id.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        text.push(b'\n');
    }
    if let Some(retry) = event.retry {
        text.extend_from_slice(format!("retry: {retry}\n").as_bytes());
    }
    for line in event.data.split(|byte| matches!(byte, b'\r' | b'\n')) {
        text.extend_from_slice(b"data: ");
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.push(b'\n');
    Bytes::from(text)
}
