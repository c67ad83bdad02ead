//! The body of a request that tells its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};

use witgate_services::network::StreamedBody;

/// A body that cancels a token at its end, or as soon as nobody reads it any more.
pub(super) struct EndingBody {
    body: StreamedBody,
    /// None: it has ended.
    end: Option<DropGuard>,
}

impl EndingBody {
    /// The body, and the token that it cancels.
    pub(super) fn new(body: StreamedBody) -> (Self, CancellationToken) {
        let ended = CancellationToken::new();
        (Self { body, end: Some(ended.clone().drop_guard()) }, ended)
    }
}

impl Body for EndingBody {
    type Data = Bytes;
    type Error = <StreamedBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.end = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    fn body(text: &'static str) -> (EndingBody, CancellationToken) {
        let whole = Full::new(Bytes::from_static(text.as_bytes()));
        EndingBody::new(whole.map_err(|never| match never {}).boxed_unsync())
    }

    #[tokio::test]
    async fn a_body_tells_its_end() {
        let (read, ended) = body("text");
        assert!(!ended.is_cancelled());
        assert_eq!(read.collect().await.unwrap().to_bytes(), "text");
        assert!(ended.is_cancelled());
        let (dropped, ended) = body("text");
        drop(dropped);
        assert!(ended.is_cancelled());
    }
}
