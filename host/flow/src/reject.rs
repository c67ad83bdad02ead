//! The reasons for refusing a message. The one map from them to HTTP and JSON-RPC is in [`wire`].

use std::sync::Arc;

use witgate_plugin::Denial;

use super::dpop::ProofError;
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
    /// So much of bodies is being received that there is no room for this one.
    TooManyBodies,
    /// So much of large answers waits to be read that there is no room for this one.
    TooManyAnswers,
    /// There are so many connections that there is no place for this one.
    TooManyConnections,
    /// No credential was shown, and one is needed.
    NoCredential,
    /// The credential is not good. The reason code is for the caller, too; the detail is not.
    Refused {
        /// The policy that refused; none: nobody recognised the credential.
        policy: Option<Arc<str>>,
        /// A reason code in kebab case.
        reason: String,
        /// For the operator.
        detail: Option<String>,
    },
    /// The proof of possession that belongs to the credential is not taken.
    Proof(ProofError),
    /// The caller may not do this.
    Denied {
        /// The policy that denied; none: nobody allowed.
        policy: Option<Arc<str>>,
        /// The denial, with what would help.
        denial: Denial,
    },
    /// A policy could not decide.
    Failed(Failed),
    /// The task that is named is not the caller's, or is not at all.
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
    /// Calls cannot be recorded just now, and the configuration wants none that is not.
    Unrecorded,
    /// The caller's share of something bounded is taken, or all of it is.
    Full {
        /// Of what there is too much, in words for the caller.
        what: &'static str,
        /// Seconds until a retry makes sense.
        retry_after: u32,
    },
    /// The upstream needs the caller's identity, which cannot be sent: the reason.
    UnsendableIdentity(&'static str),
    /// The upstream did not do its part.
    Upstream {
        /// The kind of fault.
        fault: UpstreamFault,
        /// For the caller: what happened, without addresses or secrets.
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

/// A rejection on its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedMessage {
    /// The message's id as JSON text, where it has one that could be read: JSON-RPC 2.0 §5 wants
    /// it in the answer.
    pub id: Option<Box<str>>,
    /// The rejection.
    pub rejection: Rejection,
}

impl From<ParseError> for RejectedMessage {
    fn from(ParseError { id, malformed }: ParseError) -> Self {
        Self { id, rejection: malformed.into() }
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
    /// It cannot be reached, or ended.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// Its answer does not follow the protocol.
    BadAnswer,
    /// It answered more than is held for it.
    Flood,
}

impl UpstreamFault {
    /// The reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "upstream-unreachable",
            Self::Timeout => "upstream-timeout",
            Self::BadAnswer => "upstream-bad-answer",
            Self::Flood => "upstream-flood",
        }
    }
}
