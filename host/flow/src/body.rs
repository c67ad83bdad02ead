//! Bodies that are passed on: the part that has already been read, and the rest.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;

use super::account::Account;
use super::limit::CallPlaces;
use witgate_runtime::memory::{Hold, MemoryExhausted};
use witgate_services::network::upstream_client::UpstreamBody;

/// The error that ends a body early.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// A body while it is received.
#[derive(Debug)]
pub enum Inflow {
    /// A body from a client's connection.
    Wire(Incoming),
    /// A body from an upstream's connection.
    Upstream(UpstreamBody),
    /// A body from the program that embeds Witgate.
    Here(UnsyncBoxBody<Bytes, BodyError>),
}

impl Inflow {
    /// A body from within this program.
    pub fn here<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        Self::Here(body.map_err(Into::into).boxed_unsync())
    }
}

impl From<Incoming> for Inflow {
    fn from(body: Incoming) -> Self {
        Self::Wire(body)
    }
}

impl From<UpstreamBody> for Inflow {
    fn from(body: UpstreamBody) -> Self {
        Self::Upstream(body)
    }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Wire(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Upstream(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Here(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Wire(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Here(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Wire(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Here(body) => body.size_hint(),
        }
    }
}

/// Checks the bytes of a body as they pass.
type BodyCheck = Box<dyn FnMut(&[u8]) -> Result<(), BodyError> + Send>;

/// A body whose beginning may have been read.
pub struct RawBody {
    head: Bytes,
    rest: Inflow,
    /// The check of the body. If it fails, the body ends early.
    check: Option<BodyCheck>,
    /// The memory for the part that is being passed on.
    account: Account,
    /// The call's places among the running calls of its limits.
    _places: CallPlaces,
}

impl From<Inflow> for RawBody {
    fn from(rest: Inflow) -> Self {
        Self::new(Bytes::new(), rest, Account::default())
    }
}

impl RawBody {
    fn new(head: Bytes, rest: Inflow, account: Account) -> Self {
        Self { head, rest, check: None, account, _places: CallPlaces::default() }
    }

    /// The same, which keeps the call's `places` among the running ones until the body is dropped.
    pub(crate) fn in_places(self, places: CallPlaces) -> Self {
        Self { _places: places, ..self }
    }

    /// The same, with a `check` of its bytes. It ends before the bytes that fail the check.
    ///
    /// # Errors
    /// If the part that has been read fails the check.
    pub fn checked_by<E>(
        self,
        mut check: impl FnMut(&[u8]) -> Result<(), E> + Send + 'static,
    ) -> Result<Self, E>
    where
        E: Error + Send + Sync + 'static,
    {
        check(&self.head)?;
        let check: BodyCheck = Box::new(move |bytes| check(bytes).map_err(Into::into));
        Ok(Self { check: Some(check), ..self })
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        if let (Some(check), Some(data)) = (&mut self.check, frame.data_ref()) {
            check(data)?;
        }
        match frame.into_data() {
            Ok(data) => Ok(Frame::data(self.account.hold(data.len())?.keep(data))),
            Err(frame) => Ok(frame),
        }
    }
}

impl fmt::Debug for RawBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawBody").field("head", &self.head).field("rest", &self.rest).finish_non_exhaustive()
    }
}

/// The result of reading a body up to a limit.
#[derive(Debug)]
pub enum BoundedBody {
    /// The whole body.
    Whole(Bytes, Hold),
    /// The body is larger than the limit.
    Part(RawBody),
}

/// The reason why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyReadError {
    /// The connection broke.
    #[error("the body breaks off")]
    Broken(#[source] BodyError),
    /// There is no memory for the body.
    #[error(transparent)]
    NoRoom(#[from] MemoryExhausted),
}

/// Reads a body up to `limit` bytes. A body in one piece is not copied.
///
/// # Errors
/// If the connection breaks, or `account` has no room.
pub async fn gather(mut body: Inflow, limit: usize, account: &Account) -> Result<BoundedBody, BodyReadError> {
    let (mut head, mut held) = (Bytes::new(), None);
    while let Some(data) = next(&mut body).await.map_err(BodyReadError::Broken)? {
        account.cover(&mut held, head.len() + data.len())?;
        head = if head.is_empty() { data } else { extended(head, &data, expected(&body)) };
        if head.len() > limit {
            let head = Hold::from(held).keep(head);
            return Ok(BoundedBody::Part(RawBody::new(head, body, account.clone())));
        }
    }
    Ok(BoundedBody::Whole(head, held.into()))
}

/// The next piece of a body.
///
/// # Errors
/// If the connection breaks.
pub async fn next(body: &mut Inflow) -> Result<Option<Bytes>, BodyError> {
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

/// Both parts in one piece. The first is extended in place if nobody else uses it.
pub fn join(first: Bytes, second: &[u8]) -> Bytes {
    extended(first, second, 0)
}

/// The same, with room for `more` bytes, so that they need no copy of what is there. A sender may declare any number, so
/// there is never more than three times as much room as there are bytes.
fn extended(first: Bytes, second: &[u8], more: usize) -> Bytes {
    let length = first.len() + second.len();
    let room = second.len() + more.min(3 * length);
    let mut joined = first.try_into_mut().unwrap_or_else(|first| {
        let mut copied = BytesMut::with_capacity(first.len() + room);
        copied.extend_from_slice(&first);
        copied
    });
    joined.reserve(room);
    joined.extend_from_slice(second);
    joined.freeze()
}

/// The number of bytes that the sender has declared and not sent yet.
fn expected(body: &Inflow) -> usize {
    body.size_hint().exact().and_then(|rest| usize::try_from(rest).ok()).unwrap_or(0)
}

impl Body for RawBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if !this.head.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.head)))));
        }
        let frame = std::task::ready!(Pin::new(&mut this.rest).poll_frame(context));
        Poll::Ready(frame.map(|frame| this.pass(frame?)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_bytes_are_copied_once_and_take_no_more_room_than_those_received_permit() {
        let whole: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let (first, rest) = whole.split_at(64 << 10);
        let mut body = Bytes::copy_from_slice(first);
        let mut copies = 0;
        let mut left = rest.len();
        for piece in rest.chunks(16 << 10) {
            left -= piece.len();
            let place = body.as_ptr();
            body = extended(body, piece, left);
            copies += usize::from(place != body.as_ptr());
        }
        assert_eq!(body, whole);
        assert_eq!(copies, 1);
        let boast = extended(Bytes::from_static(b"a"), b"b", usize::MAX);
        assert_eq!(boast, b"ab"[..]);
        assert!(boast.try_into_mut().unwrap().capacity() < 100);
    }
}
