//! An upstream's body on its way through: what was read of it already, and the rest.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A body, the beginning of which may have been read.
#[derive(Debug)]
pub struct RawBody {
    head: Bytes,
    rest: Incoming,
}

impl From<Incoming> for RawBody {
    fn from(rest: Incoming) -> Self {
        Self { head: Bytes::new(), rest }
    }
}

/// What came of reading a body up to a limit.
#[derive(Debug)]
pub enum Gathered {
    /// All of it.
    Whole(Bytes),
    /// There is more.
    Part(RawBody),
}

/// Reads a body as long as it stays within `limit` bytes. One that came in one piece is not copied.
///
/// # Errors
/// Where the connection breaks.
pub async fn gather(mut body: Incoming, limit: usize) -> Result<Gathered, hyper::Error> {
    let mut head = Bytes::new();
    while let Some(data) = next(&mut body).await? {
        head = if head.is_empty() { data } else { join(head, &data) };
        if head.len() > limit {
            return Ok(Gathered::Part(RawBody { head, rest: body }));
        }
    }
    Ok(Gathered::Whole(head))
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    use http_body_util::BodyExt;
    while !body.is_end_stream() {
        match body.frame().await {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
    Ok(None)
}

/// Both, in one piece; in place where nobody else holds the first.
fn join(first: Bytes, second: &[u8]) -> Bytes {
    let mut joined = first.try_into_mut().unwrap_or_else(|first| BytesMut::from(&*first));
    joined.extend_from_slice(second);
    joined.freeze()
}

impl Body for RawBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if !self.head.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.head)))));
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.rest.size_hint();
        let head = self.head.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(head));
        }
        hint.set_lower(hint.lower().saturating_add(head));
        hint
    }
}
