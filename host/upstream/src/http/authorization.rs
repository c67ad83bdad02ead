//! The credential of the configuration in requests to an HTTP upstream.

use std::sync::Arc;

use ::http::{HeaderMap, StatusCode, Uri};

use super::bound_session::BoundSession;
use super::composed_request::{ComposedRequest, SendFault, UpstreamReply};
use super::outgoing::{self, Draft, Outgoing};
use super::upstream::HttpUpstream;
use crate::identity::RequestSender;
use witgate_base::party::Principal;
use witgate_credentials::credential_user::CredentialUser;
use witgate_credentials::held_token::HeldToken;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_flow::reject::Rejection;

impl HttpUpstream {
    /// A request with its headers, its sender, and the credential, for which it may wait.
    ///
    /// # Errors
    /// If there is no credential, the caller's identity cannot be sent, or `session` belongs to another login.
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
        let (mut outgoing, credential) = self.introduced(sender, draft)?;
        let (mut user, mut token, mut lacking) = (None, None, None);
        if let Some(credential) = &credential {
            user = sender.credential_user(credential);
            let added = credential.add_to(outgoing.headers_mut(), user.as_ref()).await;
            token = match added.map_err(|fault| (fault.is_about_account(), fault)) {
                Err((true, fault)) if !is_call && credential.is_only_for_calls() => {
                    lacking = Some(fault);
                    None
                }
                Err((true, fault)) => {
                    // With the account, the session has ended.
                    self.is_admitted(session, user.as_ref(), None);
                    return Err(fault.into());
                }
                added => added.map_err(|(_, fault)| fault)?,
            };
        }
        match self.is_admitted(session, user.as_ref(), token.as_ref()) {
            true => Ok(ComposedRequest { outgoing, credential, user, token, lacking, session }),
            false => Err(Rejection::SessionNotFound),
        }
    }

    /// True if a request of `user` with this token may be in `session`. Otherwise, the session ends.
    fn is_admitted(
        &self,
        session: Option<&BoundSession>,
        user: Option<&CredentialUser>,
        token: Option<&Arc<HeldToken>>,
    ) -> bool {
        // A message without the credential in the arguments of calls says nothing of the account.
        let is_nobodys = token.is_none() && user.is_some_and(|user| user.principal().is_nameless());
        let others = session.filter(|session| !is_nobodys && !session.admits(token));
        if let Some(session) = others.filter(|session| session.end()) {
            self.close_in_background(session, None);
        }
        others.is_none()
    }

    /// The request that ends a session of `owner`. It is worth no renewal of a token: without one in memory that lives and
    /// belongs to the login of the session, there is none.
    pub(super) fn farewell(
        &self,
        sender: RequestSender<'_>,
        session: &BoundSession,
        owner: Option<&Principal>,
        callers: &HeaderMap,
    ) -> Option<Outgoing> {
        let id = session.id()?;
        let draft = |uri: &Uri, own: &HeaderMap| outgoing::delete(uri, own, callers, id);
        let (mut outgoing, credential) = self.introduced(sender, draft).ok()?;
        let headers = outgoing.headers_mut();
        let is_complete = credential
            .is_none_or(|credential| credential.add_living(headers, owner, session.token().as_ref()));
        is_complete.then_some(outgoing)
    }

    /// Tells the upstream that a session of `owner` has ended, without waiting for the answer.
    pub(super) fn close_in_background(&self, session: &BoundSession, owner: Option<&Principal>) {
        if let Some(farewell) = self.farewell(RequestSender::Witgate, session, owner, &HeaderMap::new()) {
            self.farewells.send(self.line.clone(), farewell);
        }
    }

    /// Sends a request. If the server refuses its credential, and there is a newer one, it sends it once more.
    ///
    /// # Errors
    /// If there is no answer, or the newer credential belongs to another login than the session.
    pub(super) async fn request(&self, request: ComposedRequest<'_>) -> Result<UpstreamReply, SendFault> {
        match request.credential.as_ref().filter(|credential| credential.is_renewable()) {
            None => {
                let response = self.line.request(request.outgoing).await.map_err(SendFault::Line)?;
                Ok(UpstreamReply { response, token: request.token })
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
        let ComposedRequest { mut outgoing, user, token, lacking, session, .. } = request;
        let mut response = self.line.request(outgoing.clone()).await.map_err(SendFault::Line)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(UpstreamReply { response, token });
        }
        let replaced = match lacking {
            Some(fault) => Err(fault),
            None => credential.replace_in(outgoing.headers_mut(), user.as_ref()).await,
        };
        match replaced {
            Ok(newer) if self.is_admitted(session, user.as_ref(), Some(&newer)) => {
                let response = self.line.request(outgoing).await.map_err(SendFault::Line)?;
                Ok(UpstreamReply { response, token: Some(newer) })
            }
            Ok(_) => Err(SendFault::OtherLogin),
            Err(fault) => {
                tracing::warn!(upstream = self.name_in_log(), %fault, "the server refuses the credential");
                // The caller gets this reason: somebody may have to log in again.
                response.extensions_mut().insert(fault);
                Ok(UpstreamReply { response, token })
            }
        }
    }
}

#[cfg(test)]
mod tests;
