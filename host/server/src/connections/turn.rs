//! The body of an answer. The request ends with it.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use super::table::RequestTurn;

/// A body that ends a [`RequestTurn`] when it is dropped.
pub(crate) struct TurnBody<B> {
    body: B,
    _turn: RequestTurn,
}

impl<B> TurnBody<B> {
    pub(super) fn new(body: B, turn: RequestTurn) -> Self {
        Self { body, _turn: turn }
    }
}

impl<B: Body + Unpin> Body for TurnBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
