//! The credential of the configuration in requests to an HTTP upstream.

use ::http::{HeaderMap, Response, StatusCode, Uri};

use super::outgoing::{Draft, Outgoing};
use super::upstream::HttpUpstream;
use crate::identity::RequestSender;
use witgate_credentials::credential_user::CredentialUser;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_flow::body::{BodyError, Inflow};
use witgate_flow::reject::Rejection;

impl HttpUpstream {
    /// A request with its headers, its sender, and the credential, for which it may wait.
    ///
    /// # Errors
    /// If there is no credential, or the caller's identity cannot be sent.
    pub(super) async fn compose(
        &self,
        sender: RequestSender<'_>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
    ) -> Result<Outgoing, Rejection> {
        let (mut outgoing, credential) = self.introduced(sender, draft)?;
        if let Some(credential) = credential {
            let user = sender.credential_user(&credential);
            credential.add_to(outgoing.headers_mut(), user.as_ref()).await?;
            // For another attempt.
            if let Some(user) = user {
                outgoing.extensions_mut().insert(user);
            }
        }
        Ok(outgoing)
    }

    /// The same for requests of Witgate that nobody waits for.
    ///
    /// # Errors
    /// If the credential is not at hand.
    pub(super) fn compose_at_once(
        &self,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
    ) -> Result<Outgoing, Rejection> {
        let (mut outgoing, credential) = self.introduced(RequestSender::Witgate, draft)?;
        if let Some(credential) = credential {
            credential.add_at_once(outgoing.headers_mut())?;
        }
        Ok(outgoing)
    }

    /// Sends a request. If the server refuses its credential, and there is a newer one, it sends it once more.
    pub(super) async fn request(&self, outgoing: Outgoing) -> Result<Response<Inflow>, BodyError> {
        match self.credential().filter(|credential| credential.is_renewable()) {
            None => self.line.request(outgoing).await,
            Some(credential) => Box::pin(self.request_twice(&credential, outgoing)).await,
        }
    }

    async fn request_twice(
        &self,
        credential: &UpstreamCredential,
        mut outgoing: Outgoing,
    ) -> Result<Response<Inflow>, BodyError> {
        let user = outgoing.extensions_mut().remove::<CredentialUser>();
        let mut response = self.line.request(outgoing.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match credential.replace_in(outgoing.headers_mut(), user.as_ref()).await {
            Ok(()) => self.line.request(outgoing).await,
            Err(fault) => {
                tracing::warn!(upstream = self.name_in_log(), %fault, "the server refuses the credential");
                // The caller gets this reason: somebody may have to log in again.
                response.extensions_mut().insert(fault);
                Ok(response)
            }
        }
    }
}
