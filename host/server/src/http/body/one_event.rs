//! A JSON body as the one event of a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use witgate_flow::body::BodyError;
use witgate_runtime::memory::FREE;

/// Bytes that go out at once: such small parts need no memory of their own.
const PART: usize = FREE;

/// See the module.
pub(super) struct OneEvent<B> {
    body: Box<B>,
    /// The part that has come and is still to go out.
    rest: Bytes,
    place: EventPlace,
}

enum EventPlace {
    Before,
    Within,
    After,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> OneEvent<B> {
    pub(super) fn of(body: B) -> Self {
        Self { body: Box::new(body), rest: Bytes::new(), place: EventPlace::Before }
    }

    /// Between its tokens, JSON takes a blank for a line end, and within them it has none.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if matches!(self.place, EventPlace::After) {
                return Poll::Ready(None);
            }
            if !self.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.part()))));
            }
            self.rest = match ready!(Pin::new(&mut *self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(self.end().map(|end| Ok(Frame::data(end)))),
            };
        }
    }

    /// The next few bytes, so that not all of a large answer is there twice.
    fn part(&mut self) -> Bytes {
        let begin: &[u8] = if matches!(self.place, EventPlace::Before) { b"data: " } else { b"" };
        self.place = EventPlace::Within;
        let part = self.rest.split_to(PART.min(self.rest.len()));
        let flat = part.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte });
        begin.iter().copied().chain(flat).collect()
    }

    fn end(&mut self) -> Option<Bytes> {
        let has_begun = matches!(self.place, EventPlace::Within);
        self.place = EventPlace::After;
        has_begun.then_some(Bytes::from_static(b"\n\n"))
    }
}
