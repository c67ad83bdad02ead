//! A request that is ready to be sent, and its answer.

use std::sync::Arc;

use ::http::Response;

use super::bound_session::BoundSession;
use super::outgoing::Outgoing;
use super::request_settings::RequestSettings;
use witgate_credentials::credential_user::CredentialUser;
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::held_token::HeldToken;
use witgate_flow::body::{BodyError, Inflow};
use witgate_message::headers::SESSION_ID;

/// A request with its credential.
pub(super) struct ComposedRequest<'s> {
    pub(super) outgoing: Outgoing,
    /// Its settings, with the credential.
    pub(super) given: Arc<RequestSettings>,
    /// The sender, if the credential differs by caller.
    pub(super) user: Option<CredentialUser>,
    /// The token in it, if the credential is one.
    pub(super) token: Option<Arc<HeldToken>>,
    /// The reason why it has no credential, although the sender should have one.
    pub(super) lacking: Option<OutboundFault>,
    /// The session that it is in.
    pub(super) session: Option<&'s BoundSession>,
}

/// The answer to a request, and the settings and the token with which that was sent.
pub(super) struct UpstreamReply {
    pub(super) response: Response<Inflow>,
    pub(super) given: Arc<RequestSettings>,
    pub(super) token: Option<Arc<HeldToken>>,
}

impl UpstreamReply {
    /// The session that the request has opened.
    pub(super) fn session(&self) -> BoundSession {
        let id = self.response.headers().get(SESSION_ID);
        BoundSession::opened(id, Arc::clone(&self.given), self.token.clone())
    }
}

/// The reason why a request has no answer.
#[derive(Debug)]
pub(super) enum SendFault {
    /// The upstream cannot be reached.
    Line(BodyError),
    /// Its session belongs to another account.
    OtherLogin,
}
