//! The interface to upstreams. An upstream accepts only admitted messages, and uses its own credential; the caller's
//! credential never reaches it. Of a caller's token, it gets at most another one that an authorization server has issued
//! in exchange.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use http::StatusCode;

use super::account::Account;
use super::answer_message::AnswerMessage;
use super::body::RawBody;
use super::event::Event;
use super::limit::{Admitted, RawAnswerPermit};
use super::reject::Rejection;
use super::request::Request;
use crate::authenticate::identity::Caller;
use witgate_base::party::Principal;
use witgate_credentials::caller_token::CallerToken;
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::upstream_credential::{Delegation, UpstreamCredential};
use witgate_runtime::memory::Hold;

/// Maximum time of a call after its upstream has been replaced or removed, or has got other credentials: nobody keeps a
/// former process or connection for ever.
pub const LONGEST_CALL: Duration = Duration::from_secs(10 * 60);

/// An upstream's answer to one message.
pub struct Answer {
    /// The session that the message belongs to or has opened, which the caller names next time.
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
        /// 200, or the status of an HTTP upstream for a JSON-RPC error, because clients negotiate by it. For messages
        /// of the stateless era, the flow sets the status that the protocol requires.
        status: StatusCode,
        /// The response.
        message: AnswerMessage,
        /// The memory of the response.
        hold: Hold,
    },
    /// Messages, the last of which is the response.
    Events(BoxStream<'static, Event>),
    /// A large answer of an HTTP upstream that needs no filter. Its bytes are passed on as they come.
    Raw {
        /// Proof that it needs no filter.
        leave: RawAnswerPermit,
        /// The body, of `application/json`.
        body: RawBody,
    },
}

impl AnswerBody {
    /// A response of an upstream without HTTP, so small that its memory is not counted.
    pub fn message(message: impl Into<AnswerMessage>) -> Self {
        Self::held(message, Hold::default())
    }

    /// A response of an upstream without HTTP.
    pub fn held(message: impl Into<AnswerMessage>, hold: Hold) -> Self {
        Self::Message { status: StatusCode::OK, message: message.into(), hold }
    }
}

/// A request about a session: to open the stream of the server's own messages, or to end the session.
#[derive(Debug)]
pub struct SessionRequest {
    /// The authenticated caller.
    pub caller: Arc<Caller>,
    /// The session that the request names.
    pub session: Box<str>,
    /// The request, with its headers.
    pub request: Arc<Request>,
    /// The event after which a broken stream resumes.
    pub last_event_id: Option<String>,
    /// The memory for the messages of the stream.
    pub account: Account,
    /// The caller's token, if the upstream's credential is made from it.
    pub caller_token: Option<Arc<CallerToken>>,
}

/// An upstream of any kind.
pub trait Upstream: Send + Sync {
    /// The credential with which an authorized request goes to the server. None: the server gets no credential that has
    /// a name.
    ///
    /// # Errors
    /// If the request needs a credential that is missing.
    fn delegation(&self, _request: &Request, _caller: &Caller) -> Result<Option<Delegation>, OutboundFault> {
        Ok(None)
    }

    /// The credential for the server, if each caller connects an account of their own for it.
    fn credential_of_principals(&self) -> Option<Arc<UpstreamCredential>> {
        None
    }

    /// True if the server gets a credential that is made from the token of each caller.
    fn exchanges_tokens(&self) -> bool {
        false
    }

    /// True if the client of a session opens URLs for servers, as far as the upstream knows.
    fn opens_urls(&self, _session: &str, _principal: &Principal) -> bool {
        false
    }

    /// True if the own tool `issue_token` is offered since the start. If not, a call of this name is the server's.
    fn issues_tokens(&self) -> bool {
        false
    }

    /// Sends an admitted message, and returns the answer as soon as it begins.
    fn forward(&self, admitted: Admitted) -> impl Future<Output = Result<Answer, Rejection>> + Send;

    /// The stream of messages that belong to no request (the GET stream of 2025-11-25).
    fn listen(
        &self,
        listener: SessionRequest,
    ) -> impl Future<Output = Result<BoxStream<'static, Event>, Rejection>> + Send;

    /// True if clients of the stateful era get sessions. False: GET and DELETE are not possible.
    fn keeps_sessions(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }

    /// Ends a session.
    fn close(&self, listener: SessionRequest) -> impl Future<Output = Result<(), Rejection>> + Send;

    /// Waits for running calls, and then ends everything that the upstream has started.
    fn shut_down(&self) -> impl Future<Output = ()> + Send;

    /// As [`Upstream::shut_down`] after `done`, for an upstream that is replaced or removed while Witgate runs on. Until
    /// `done`, messages may still come. What is idle ends at once, and the rest with its calls, after [`LONGEST_CALL`] at
    /// the latest.
    fn retire(&self, done: impl Future<Output = ()> + Send) -> impl Future<Output = ()> + Send {
        async move {
            done.await;
            self.shut_down().await;
        }
    }
}
