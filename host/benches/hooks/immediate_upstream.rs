//! An upstream that answers at once.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, empty};
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, AnswerBody, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;

/// Answers every request with the same message.
pub(crate) struct ImmediateUpstream(pub(crate) Bytes);

impl ImmediateUpstream {
    /// An upstream with the empty result of a call.
    pub(crate) fn empty() -> Self {
        Self(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#))
    }
}

impl Upstream for ImmediateUpstream {
    async fn forward(&self, _: Admitted) -> Result<Answer, Rejection> {
        Ok(Answer { session: None, body: AnswerBody::message(self.0.clone()) })
    }

    async fn listen(&self, _: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        Ok(empty().boxed())
    }

    async fn close(&self, _: SessionRequest) -> Result<(), Rejection> {
        Ok(())
    }

    async fn shut_down(&self) {}
}
