//! The body of an upstream's answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::connection::UpstreamConnection;
use super::fault::WireFault;

/// The body of an upstream's answer, received by the task that reads it. Dropping it before its end closes the
/// connection.
pub struct UpstreamBody(BodyState);

enum BodyState {
    /// The body has been received, and its connection is free again.
    Received(Bytes),
    /// The rest comes from the connection.
    Open(Box<UpstreamConnection>),
}

impl UpstreamBody {
    /// The body after a head that was received.
    pub(super) fn new(mut connection: Box<UpstreamConnection>) -> Self {
        match connection.whole_body() {
            None => Self(BodyState::Open(connection)),
            Some(body) => {
                connection.release();
                Self(BodyState::Received(body))
            }
        }
    }

    /// Ends the body. After an error, its connection is closed.
    fn end(&mut self, is_proper: bool) {
        if let BodyState::Open(connection) = std::mem::replace(&mut self.0, BodyState::Received(Bytes::new()))
            && is_proper
        {
            connection.release();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = WireFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireFault>>> {
        let data = match &mut self.0 {
            BodyState::Received(body) if body.is_empty() => None,
            BodyState::Received(body) => Some(Ok(std::mem::take(body))),
            BodyState::Open(connection) => {
                let data = ready!(connection.poll_data(context));
                let is_broken = matches!(data, Some(Err(_)));
                if is_broken || connection.is_ended() {
                    self.end(!is_broken);
                }
                data
            }
        };
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, BodyState::Received(body) if body.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.0 {
            BodyState::Received(body) => Some(body.len() as u64),
            BodyState::Open(connection) => connection.rest(),
        };
        rest.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamBody").field(&self.size_hint()).finish()
    }
}
