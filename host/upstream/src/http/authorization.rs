//! The credential of the configuration in requests to an HTTP upstream.

use std::sync::Arc;

use ::http::{HeaderMap, StatusCode, Uri};

use super::bound_session::BoundSession;
use super::composed_request::{ComposedRequest, SendFault, UpstreamReply};
use super::outgoing::Draft;
use super::request_settings::RequestSettings;
use super::upstream::HttpUpstream;
use crate::identity::RequestSender;
use witgate_credentials::credential_user::CredentialUser;
use witgate_credentials::held_token::HeldToken;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_flow::reject::Rejection;

impl HttpUpstream {
    /// A request with its headers, its sender, and the credential, for which it may wait.
    ///
    /// # Errors
    /// If there is no credential, the caller's identity cannot be sent, or `session` belongs to another account.
    pub(super) async fn compose<'s>(
        &self,
        sender: RequestSender<'_>,
        session: Option<&'s BoundSession>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
    ) -> Result<ComposedRequest<'s>, Rejection> {
        self.composed(sender, session, draft, true).await
    }

    /// The same for a handshake or a list, which the server may answer without the account of the caller.
    ///
    /// # Errors
    /// As [`Self::compose`].
    pub(super) async fn compose_open<'s>(
        &self,
        sender: RequestSender<'_>,
        session: Option<&'s BoundSession>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
    ) -> Result<ComposedRequest<'s>, Rejection> {
        self.composed(sender, session, draft, false).await
    }

    async fn composed<'s>(
        &self,
        sender: RequestSender<'_>,
        session: Option<&'s BoundSession>,
        draft: impl FnOnce(&Uri, &HeaderMap) -> Draft,
        is_call: bool,
    ) -> Result<ComposedRequest<'s>, Rejection> {
        let given = self.given.load_full();
        let mut outgoing = given.introduced((&self.line, &self.uri), sender, draft)?;
        let (mut user, mut token, mut lacking) = (None, None, None);
        if let Some(credential) = &given.credential {
            user = sender.credential_user(credential);
            let added = credential.add_to(outgoing.headers_mut(), user.as_ref()).await;
            token = match added.map_err(|fault| (fault.is_about_account(), fault)) {
                Err((true, fault)) if !is_call && credential.is_only_for_calls() => {
                    lacking = Some(fault);
                    None
                }
                Err((true, fault)) => {
                    // With the account, the session has ended.
                    self.is_admitted(session, user.as_ref(), (&given, None));
                    return Err(fault.into());
                }
                added => added.map_err(|(_, fault)| fault)?,
            };
        }
        match self.is_admitted(session, user.as_ref(), (&given, token.as_ref())) {
            true => Ok(ComposedRequest { outgoing, given, user, token, lacking, session }),
            false => Err(Rejection::SessionNotFound),
        }
    }

    /// True if a request of `user` with these settings and this token may be in `session`. Otherwise, the session ends.
    fn is_admitted(
        &self,
        session: Option<&BoundSession>,
        user: Option<&CredentialUser>,
        (given, token): (&Arc<RequestSettings>, Option<&Arc<HeldToken>>),
    ) -> bool {
        // A message without the credential in the arguments of calls says nothing of the account.
        let is_nobodys = token.is_none() && user.is_some_and(|user| user.principal().is_nameless());
        let admits = |session: &BoundSession| match is_nobodys {
            true => session.is_open_for(given),
            false => session.admits(given, token),
        };
        let others = session.filter(|session| !admits(session));
        if let Some(session) = others.filter(|session| session.end()) {
            self.farewells.say(session, None);
        }
        others.is_none()
    }

    /// Sends a request. If the server refuses its credential, and there is a newer one, it sends it once more.
    ///
    /// # Errors
    /// If there is no answer, or the newer credential belongs to another account than the session.
    pub(super) async fn request(&self, request: ComposedRequest<'_>) -> Result<UpstreamReply, SendFault> {
        match request.given.credential.as_ref().filter(|credential| credential.is_renewable()) {
            None => {
                let ComposedRequest { outgoing, given, token, .. } = request;
                let response = self.line.request(outgoing).await.map_err(SendFault::Line)?;
                Ok(UpstreamReply { response, given, token })
            }
            Some(credential) => {
                let credential = Arc::clone(credential);
                Box::pin(self.request_twice(&credential, request)).await
            }
        }
    }

    async fn request_twice(
        &self,
        credential: &UpstreamCredential,
        request: ComposedRequest<'_>,
    ) -> Result<UpstreamReply, SendFault> {
        let ComposedRequest { mut outgoing, given, user, token, lacking, session } = request;
        let mut response = self.line.request(outgoing.clone()).await.map_err(SendFault::Line)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(UpstreamReply { response, given, token });
        }
        let replaced = match lacking {
            Some(fault) => Err(fault),
            None => credential.replace_in(outgoing.headers_mut(), user.as_ref()).await,
        };
        match replaced {
            Ok(newer) if self.is_admitted(session, user.as_ref(), (&given, Some(&newer))) => {
                let response = self.line.request(outgoing).await.map_err(SendFault::Line)?;
                Ok(UpstreamReply { response, given, token: Some(newer) })
            }
            Ok(_) => Err(SendFault::OtherLogin),
            Err(fault) => {
                tracing::warn!(upstream = self.name_in_log(), %fault, "the server refuses the credential");
                // The caller gets this reason: somebody may have to log in again.
                response.extensions_mut().insert(fault);
                Ok(UpstreamReply { response, given, token })
            }
        }
    }
}

#[cfg(test)]
mod tests;
