//! A request that is ready to be sent, and its answer.

use std::sync::Arc;

use ::http::Response;

use super::bound_session::BoundSession;
use super::outgoing::Outgoing;
use witgate_credentials::credential_user::CredentialUser;
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::held_token::HeldToken;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_flow::body::{BodyError, Inflow};

/// A request with its credential.
pub(super) struct ComposedRequest<'s> {
    pub(super) outgoing: Outgoing,
    pub(super) credential: Option<Arc<UpstreamCredential>>,
    /// The sender, if the credential differs by caller.
    pub(super) user: Option<CredentialUser>,
    /// The token in it, if the credential is one.
    pub(super) token: Option<Arc<HeldToken>>,
    /// The reason why it has no credential, although the sender should have one.
    pub(super) lacking: Option<OutboundFault>,
    /// The session that it is in.
    pub(super) session: Option<&'s BoundSession>,
}

/// The answer to a request, and the token that was sent.
pub(super) struct UpstreamReply {
    pub(super) response: Response<Inflow>,
    pub(super) token: Option<Arc<HeldToken>>,
}

/// The reason why a request has no answer.
#[derive(Debug)]
pub(super) enum SendFault {
    /// The upstream cannot be reached.
    Line(BodyError),
    /// Its session belongs to another login than the token.
    OtherLogin,
}
