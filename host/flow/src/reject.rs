//! The reasons for refusing a message. The one map from them to HTTP and JSON-RPC is in [`wire`].

use std::sync::Arc;

use witgate_plugin::Denial;

use super::decision::DecisionId;
use super::dpop::ProofError;
use super::limit_hit::LimitHit;
use witgate_credentials::fault::OutboundFault;
use witgate_message::era::Era;
use witgate_message::fault::{MessageFault, ParseError};
use witgate_message::headers::credentials::CredentialError;
use witgate_policy::answer::Failed;
use witgate_runtime::memory::MemoryExhausted;

pub mod wire;

/// The reason for refusing a message. Each stage has its own variants; none ever allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The message is malformed.
    Malformed(MessageFault),
    /// The body did not arrive in time.
    BodyTimeout,
    /// The memory for bodies is full.
    TooManyBodies,
    /// The memory for answers is full.
    TooManyAnswers,
    /// The number of connections has reached its limit.
    TooManyConnections,
    /// The message has no credential, and needs one.
    NoCredential,
    /// The credential is invalid. The caller also gets the reason code, but not the detail.
    Refused {
        /// The policy that refused. None: no policy recognised the credential.
        policy: Option<Arc<str>>,
        /// A reason code in kebab case.
        reason: String,
        /// A sentence for the operator.
        detail: Option<String>,
    },
    /// The sender has failed to authenticate too often, so that no policy is asked now.
    LockedOut {
        /// Seconds until the end of the pause.
        retry_after: u32,
    },
    /// The operator denies connections from the sender's address.
    DeniedPeer,
    /// The proof of possession for the credential is refused.
    Proof(ProofError),
    /// The caller may not do this.
    Denied {
        /// The policy that denied. None: no policy allowed.
        policy: Option<Arc<str>>,
        /// The denial, with the scopes that would help.
        denial: Denial,
    },
    /// A policy could not decide.
    Failed(Failed),
    /// The task does not exist, or is not the caller's.
    TaskNotFound,
    /// A session id is needed.
    SessionRequired,
    /// There is no such session for this caller.
    SessionNotFound,
    /// Too many calls.
    RateLimited {
        /// Seconds until a retry makes sense.
        retry_after: u32,
    },
    /// A limit of calls is reached.
    LimitReached(LimitHit),
    /// The call cannot be recorded now, and the configuration requires a record of every call.
    Unrecorded,
    /// The caller's share of a bounded resource is used up, or the whole resource is.
    Full {
        /// The name of the resource, for the caller.
        what: &'static str,
        /// Seconds until a retry makes sense.
        retry_after: u32,
    },
    /// The upstream needs the caller's identity, which cannot be sent: the reason.
    UnsendableIdentity(&'static str),
    /// The call has no credential for its upstream, so it is not made.
    Outbound(Box<OutboundFault>),
    /// The upstream failed.
    Upstream {
        /// The kind of fault.
        fault: UpstreamFault,
        /// A sentence for the caller, without addresses or secrets.
        message: String,
    },
}

impl From<MessageFault> for Rejection {
    fn from(malformed: MessageFault) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<CredentialError> for Rejection {
    fn from(not_taken: CredentialError) -> Self {
        match not_taken {
            CredentialError::Malformed(malformed) => malformed.into(),
            CredentialError::NoToken => Self::NoCredential,
            CredentialError::UnknownScheme => {
                Self::Refused { policy: None, reason: "unsupported-scheme".to_owned(), detail: None }
            }
        }
    }
}

impl From<ProofError> for Rejection {
    fn from(error: ProofError) -> Self {
        Self::Proof(error)
    }
}

impl From<OutboundFault> for Rejection {
    fn from(fault: OutboundFault) -> Self {
        Self::Outbound(Box::new(fault))
    }
}

impl From<Failed> for Rejection {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<MemoryExhausted> for Rejection {
    fn from(_: MemoryExhausted) -> Self {
        Self::TooManyAnswers
    }
}

/// A rejection, with the id for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedMessage {
    /// The message's id as JSON text, if it could be read: JSON-RPC 2.0 §5 requires it in the answer.
    pub id: Option<Box<str>>,
    /// The id of the message in the audit, if it has one.
    pub decision: Option<DecisionId>,
    /// The era, if the message is the call of a tool.
    pub tool_call: Option<Era>,
    /// The rejection.
    pub rejection: Rejection,
}

impl From<Rejection> for RejectedMessage {
    fn from(rejection: Rejection) -> Self {
        Self { id: None, decision: None, tool_call: None, rejection }
    }
}

impl From<ParseError> for RejectedMessage {
    fn from(ParseError { id, malformed }: ParseError) -> Self {
        Self { id, ..Rejection::from(malformed).into() }
    }
}

impl From<RejectedMessage> for Rejection {
    fn from(rejected: RejectedMessage) -> Self {
        rejected.rejection
    }
}

/// The fault of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamFault {
    /// The upstream cannot be reached, or has ended.
    Unreachable,
    /// The upstream did not answer in time.
    Timeout,
    /// The answer does not follow the protocol.
    BadAnswer,
    /// The answer is larger than permitted.
    Flood,
    /// The lifetime of the gateway's own credential for the upstream is over.
    SecretExpired,
}

impl Rejection {
    /// The refusal of a message for an upstream, because the lifetime of a secret for it is over.
    pub fn secret_expired() -> Self {
        let message =
            "The gateway's own credential for the MCP server has expired: tell the operator".to_owned();
        Self::Upstream { fault: UpstreamFault::SecretExpired, message }
    }
}

impl UpstreamFault {
    /// The reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "upstream-unreachable",
            Self::Timeout => "upstream-timeout",
            Self::BadAnswer => "upstream-bad-answer",
            Self::Flood => "upstream-flood",
            Self::SecretExpired => "upstream-secret-expired",
        }
    }
}
