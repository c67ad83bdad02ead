//! The token endpoint (RFC 6749, section 3.2).

use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::answers::{SiteAnswer, json_answer, oauth_error, unavailable_to_program};
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};
use crate::database::AccountDatabase;
use crate::database::grants::{CodePresentation, GrantFault, GrantedTokens, RefreshPresentation};
use crate::database::now_ms;
use crate::meters::TokenAnswer;

impl AccountSite {
    /// Exchanges a code or a refresh token for tokens.
    pub(super) async fn token(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else {
            return bad("invalid_request", "this is no form, or has a parameter twice");
        };
        let Some(client) = form.get("client_id") else {
            return bad("invalid_client", "`client_id` is missing");
        };
        // A resource that is not served here is none of the grant's.
        let resource = match form.get("resource").map(|named| self.resource(Some(named))) {
            None => None,
            Some(Some(resource)) => Some(resource.url.clone()),
            Some(None) => return bad("invalid_target", "`resource` is not served here"),
        };
        let outcome = match form.get("grant_type") {
            Some("authorization_code") => self.exchange(visit, client, &form, resource).await,
            Some("refresh_token") => self.refresh(visit, client, &form, resource).await,
            Some(_) => return bad("unsupported_grant_type", "there are codes and refresh tokens"),
            None => return bad("invalid_request", "`grant_type` is missing"),
        };
        let is_refresh = form.get("grant_type") == Some("refresh_token");
        match outcome {
            None => bad("invalid_request", "a parameter is missing"),
            Some(Ok(tokens)) => {
                let answer = if is_refresh { TokenAnswer::Refreshed } else { TokenAnswer::Exchanged };
                self.store.meters().token(answer);
                issued(&tokens)
            }
            Some(Err(fault)) => self.refuse_tokens(&fault, visit),
        }
    }

    async fn exchange(
        &self,
        visit: &SiteVisit,
        client: &str,
        form: &OauthParams,
        resource: Option<String>,
    ) -> Option<Result<GrantedTokens, GrantFault>> {
        let own = |name| form.get(name).map(str::to_owned);
        let (code, redirect) = (own("code")?, own("redirect_uri")?);
        let verifier = own("code_verifier")?;
        let (client, settings, peer) = (client.to_owned(), self.settings.clone(), visit.peer);
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            let shown = CodePresentation {
                code: &code,
                client: &client,
                redirect: &redirect,
                verifier: &verifier,
                resource: resource.as_deref(),
            };
            database.exchange(&shown, &settings, now_ms())
        };
        Some(self.store.run(visit.source(), work).await)
    }

    async fn refresh(
        &self,
        visit: &SiteVisit,
        client: &str,
        form: &OauthParams,
        resource: Option<String>,
    ) -> Option<Result<GrantedTokens, GrantFault>> {
        let token = form.get("refresh_token")?.to_owned();
        let (client, settings, peer) = (client.to_owned(), self.settings.clone(), visit.peer);
        let scopes = form.get("scope").map(|scope| self.known_scopes(Some(scope)));
        let work = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            let shown = RefreshPresentation {
                token: &token,
                client: &client,
                scopes: scopes.as_deref(),
                resource: resource.as_deref(),
            };
            database.refresh(shown, &settings, now_ms())
        };
        Some(self.store.run(visit.source(), work).await)
    }

    fn refuse_tokens(&self, fault: &GrantFault, visit: &SiteVisit) -> SiteAnswer {
        let peer = visit.peer.map(tracing::field::display);
        let meters = self.store.meters();
        match fault {
            GrantFault::Store(error) => unavailable_to_program(error),
            GrantFault::Invalid(code) => {
                let code = *code;
                let is_reuse = matches!(code, "code-reused" | "refresh-reused");
                meters.token(if is_reuse { TokenAnswer::Reused } else { TokenAnswer::Refused });
                match self.lines.turn(code) {
                    Some(others) if is_reuse => {
                        tracing::warn!(
                            code,
                            peer,
                            others,
                            "a token was used again, so that its login has ended"
                        );
                    }
                    Some(others) => tracing::info!(code, peer, others, "a client gets no token"),
                    None => {}
                }
                bad("invalid_grant", "the grant is not valid, or has ended; log in again")
            }
            GrantFault::Scope => bad("invalid_scope", "a scope was not granted"),
            GrantFault::Resource => bad("invalid_target", "the grant is for another resource"),
        }
    }
}

fn issued(tokens: &GrantedTokens) -> SiteAnswer {
    json_answer(
        StatusCode::OK,
        &json!({
            "access_token": tokens.access.expose_secret(),
            "token_type": "Bearer",
            "expires_in": tokens.expires_in,
            "refresh_token": tokens.refresh.expose_secret(),
            "scope": tokens.scopes.join(" "),
        }),
    )
}

fn bad(error: &str, description: &str) -> SiteAnswer {
    oauth_error(StatusCode::BAD_REQUEST, error, description)
}
