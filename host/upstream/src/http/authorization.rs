//! The credential of the configuration in requests to an HTTP upstream.

use ::http::{HeaderMap, Response, StatusCode, Uri};
use futures_util::future::BoxFuture;

use super::outgoing::{Draft, Outgoing};
use super::upstream::HttpUpstream;
use crate::identity::RequestSender;
use witgate_base::party::Principal;
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
        self.composed(sender, draft, true).await
    }

    /// The same for a handshake or a list, which the server may answer without the account of the caller.
    ///
    /// # Errors
    /// As [`Self::compose`].
    pub(super) async fn compose_open(
        &self,
        sender: RequestSender<'_>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
    ) -> Result<Outgoing, Rejection> {
        self.composed(sender, draft, false).await
    }

    async fn composed(
        &self,
        sender: RequestSender<'_>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
        is_call: bool,
    ) -> Result<Outgoing, Rejection> {
        let (mut outgoing, credential) = self.introduced(sender, draft)?;
        if let Some(credential) = credential {
            let user = sender.credential_user(&credential);
            match credential.add_to(outgoing.headers_mut(), user.as_ref()).await {
                Err(fault) if !is_call && credential.is_only_for_calls() && fault.is_about_account() => {
                    return Ok(outgoing);
                }
                added => added?,
            }
            // For another attempt.
            if let Some(user) = user {
                outgoing.extensions_mut().insert(user);
            }
        }
        Ok(outgoing)
    }

    /// The number of the sender's account, after their request was composed with its token.
    pub(super) fn account_of(&self, sender: RequestSender<'_>) -> Option<u64> {
        let credential = self.credential()?;
        credential.account_number(sender.credential_user(&credential).as_ref())
    }

    /// A request about a session of `owner` that is over, which nobody waits for. Without a credential, it is not sent.
    pub(super) fn farewell(
        &self,
        owner: Option<&Principal>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
    ) -> BoxFuture<'static, ()> {
        let introduced = self.introduced(RequestSender::Witgate, draft).ok();
        let (line, owner) = (self.line.clone(), owner.cloned());
        Box::pin(async move {
            let Some((mut outgoing, credential)) = introduced else { return };
            if let Some(credential) = credential {
                let user = owner.map(|owner| CredentialUser::new(owner, None));
                match credential.add_to(outgoing.headers_mut(), user.as_ref()).await {
                    Err(fault) if credential.is_only_for_calls() && fault.is_about_account() => {}
                    Err(_) => return,
                    Ok(()) => {}
                }
            }
            drop(line.request(outgoing).await);
        })
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
