//! A JSON body as the only event of a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use witgate_flow::body::BodyError;
use witgate_runtime::memory::FREE;

/// The size of a part in bytes. Parts of this size need no reserved memory.
const PART: usize = FREE;

/// A JSON body that is converted into an event, part by part.
pub(super) struct OneEvent<B> {
    body: Box<B>,
    /// The bytes that have arrived and are not sent yet.
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

    /// The next part. Line ends become spaces: JSON allows both between its tokens, and has no line ends within them.
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

    /// The next few bytes. So there is never a second copy of all of a large answer.
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
