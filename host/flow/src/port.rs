//! The port to what Witgate protects. An upstream takes only what was admitted, and carries its own credential; the
//! caller's never gets there.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::StatusCode;

use super::account::Account;
use super::body::RawBody;
use super::event::Event;
use super::limit::{Admitted, RawAnswerPermit};
use super::reject::Rejection;
use super::request::Request;
use crate::authenticate::identity::Caller;
use witgate_runtime::memory::Hold;

/// An upstream's answer to one message.
pub struct Answer {
    /// The session that the message belongs to or has opened, for the caller to name next time.
    pub session: Option<Box<str>>,
    /// The answer itself.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// A notification or a response was accepted.
    Accepted,
    /// One JSON-RPC response.
    Message {
        /// 200, or what an HTTP upstream says beside a JSON-RPC error: clients negotiate by it. The
        /// flow sets what the protocol wants of a message of the stateless era.
        status: StatusCode,
        /// The response.
        message: Bytes,
        /// The memory that it takes.
        hold: Hold,
    },
    /// Messages, of which the last is the response.
    Events(BoxStream<'static, Event>),
    /// A large answer of an HTTP upstream that needs no look: its bytes are passed on as they come.
    Raw {
        /// Proof that it needs none.
        leave: RawAnswerPermit,
        /// The body, of `application/json`.
        body: RawBody,
    },
}

impl AnswerBody {
    /// A response as any upstream but an HTTP one gives it, so small that its memory does not count.
    pub fn message(message: Bytes) -> Self {
        Self::held(message, Hold::default())
    }

    /// A response as any upstream but an HTTP one gives it.
    pub fn held(message: Bytes, hold: Hold) -> Self {
        Self::Message { status: StatusCode::OK, message, hold }
    }
}

/// A request about a session itself: for the stream of the server's own messages, or for its end.
#[derive(Debug)]
pub struct SessionRequest {
    /// The caller, authenticated.
    pub caller: Arc<Caller>,
    /// The session that it names.
    pub session: Box<str>,
    /// The request, with its headers.
    pub request: Arc<Request>,
    /// The event after which a broken stream resumes.
    pub last_event_id: Option<String>,
    /// The memory for what it hears.
    pub account: Account,
}

/// An upstream, behind one face.
pub trait Upstream: Send + Sync {
    /// Sends an admitted message and returns what comes back, as soon as it begins.
    fn forward(&self, admitted: Admitted) -> impl Future<Output = Result<Answer, Rejection>> + Send;

    /// The stream of messages that belong to no request (the GET stream of 2025-11-25).
    fn listen(
        &self,
        listener: SessionRequest,
    ) -> impl Future<Output = Result<BoxStream<'static, Event>, Rejection>> + Send;

    /// True where clients of the stateful era get sessions. False: there is nothing to GET or DELETE.
    fn keeps_sessions(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }

    /// Ends a session.
    fn close(&self, listener: SessionRequest) -> impl Future<Output = Result<(), Rejection>> + Send;

    /// Lets running calls finish, then ends what it has started.
    fn shut_down(&self) -> impl Future<Output = ()> + Send;
}
