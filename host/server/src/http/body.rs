//! Bodies of answers: whole, as they come from the upstream, or events; streams of events are kept
//! alive by comments.

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
use witgate_runtime::memory::Held;

mod one_event;
#[cfg(test)]
mod tests;

/// Proxies and load balancers close a connection that is quiet for 30 s to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// The body of an answer.
pub struct Body {
    kind: Kind,
    /// The memory of the request, held as long as it is answered.
    held: Option<Held<Peer>>,
}

enum Kind {
    Whole(Bytes),
    Raw(RawBody),
    Events {
        events: BoxStream<'static, Event>,
        pulse: Pulse,
    },
    /// An event stream that was opened before there was an answer.
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
        Kind::Whole(body).into()
    }

    pub(super) fn raw(body: RawBody) -> Self {
        Kind::Raw(body).into()
    }

    pub(super) fn events(events: BoxStream<'static, Event>) -> Self {
        Kind::Events { events, pulse: Pulse::default() }.into()
    }

    /// An event stream with whatever comes of `answer`. Its head comes too late to be sent.
    pub(super) fn late(answer: BoxFuture<'static, Response<Body>>) -> Self {
        // Comments begin at once, for it has been quiet for long.
        Kind::Late { answer, pulse: Pulse(Some(Box::pin(sleep(Duration::ZERO)))) }.into()
    }

    /// The body of an answer as an event stream.
    fn streamed(answer: Response<Body>) -> Self {
        let is_stream = answer
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/"));
        let body = answer.into_body();
        if is_stream { body } else { Kind::OneEvent(OneEvent::of(body)).into() }
    }

    /// The same, which holds what is held of its request.
    pub(super) fn holding(self, held: Held<Peer>) -> Self {
        Self { held: Some(held), ..self }
    }
}

impl From<Kind> for Body {
    fn from(kind: Kind) -> Self {
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
            Kind::Whole(body) if body.is_empty() => Poll::Ready(None),
            Kind::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Kind::Raw(body) => Pin::new(body).poll_frame(context),
            Kind::Events { events, pulse } => {
                if let Poll::Ready(event) = events.as_mut().poll_next(context) {
                    pulse.rest();
                    return Poll::Ready(
                        event.map(|event| Ok(Frame::data(event.hold.clone().keep(encode(&event))))),
                    );
                }
                pulse.poll(context)
            }
            Kind::Late { answer, pulse } => {
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    *self = Self::streamed(answer);
                    return self.poll_frame(context);
                }
                pulse.poll(context)
            }
            Kind::OneEvent(event) => event.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(body) => body.is_empty(),
            Kind::Raw(body) => body.is_end_stream(),
            Kind::Events { .. } | Kind::Late { .. } | Kind::OneEvent(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Kind::Raw(body) => body.size_hint(),
            Kind::Events { .. } | Kind::Late { .. } | Kind::OneEvent(_) => SizeHint::default(),
        }
    }
}

/// Comments into the quiet of a stream. Its clock is made only once the stream is quiet.
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

/// An event as text. A message on several lines is several `data` lines.
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
