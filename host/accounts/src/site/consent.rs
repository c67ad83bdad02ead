//! The consent of a person to the request of a client. It is asked for each time.

use secrecy::{ExposeSecret as _, SecretString};

use super::answers::{SiteAnswer, see_other};
use super::form_token::{self, FormPurpose};
use super::pages::{self, ConsentForm};
use super::params::OauthParams;
use super::request::AccessRequest;
use super::{AccountSite, SiteVisit};
use crate::database::grants::{CodeTerms, GrantTerms};
use crate::database::now_ms;
use crate::database::sessions::BrowserSession;
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent, Actor};

impl AccountSite {
    /// The page that asks for consent.
    pub(super) fn consent_form(
        &self,
        request: &AccessRequest,
        session: &BrowserSession,
        secret: &SecretString,
        query: &str,
    ) -> SiteAnswer {
        let forms = self.store.forms();
        let token = form_token::token(forms, FormPurpose::Consent, secret, query);
        let described = |scope: &String| self.settings.scopes.get(scope).cloned();
        pages::consent(&ConsentForm {
            token: &token,
            query,
            client: &request.client,
            target: request.redirect.target(),
            resource: &request.resource.name,
            scopes: request.scopes.iter().filter_map(described).collect(),
            user: &session.user.name,
        })
    }

    /// Takes the decision of the person.
    pub(super) async fn consent(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(form) = OauthParams::of_form(visit) else { return pages::bad_form() };
        let query = form.get("request").unwrap_or_default();
        let request = match self.read_request(query, visit).await {
            Ok(request) => request,
            Err(fault) => return self.refuse(fault, visit),
        };
        let (session, secret) = match self.session(visit).await {
            Ok(Some(found)) => found,
            Ok(None) => return self.login_form(visit, query, None),
            Err(error) => return pages::unavailable(&error),
        };
        if !form_token::is_genuine(self.store.forms(), FormPurpose::Consent, &secret, query, &form) {
            if let Some(others) = self.lines.turn("consent-form-expired") {
                tracing::info!(code = "form-expired", others, "a consent was refused");
            }
            return self.consent_form(&request, &session, &secret, query);
        }
        if form.get("decision") != Some("allow") {
            tracing::info!(code = "consent-denied", client = %request.client.name, "a person has refused a client");
            self.record_refusal(visit, &request, &session);
            return self.answer_error(&request, "access_denied");
        }
        match self.granted(visit, &request, &session, &secret).await {
            Ok(Some(code)) => self.conclude(&request, &code, form.get("paste").is_some()),
            Ok(None) => self.login_form(visit, query, None),
            Err(AccountsError::TooMany) => self.answer_error(&request, "temporarily_unavailable"),
            Err(error) => pages::unavailable(&error),
        }
    }

    fn record_refusal(&self, visit: &SiteVisit, request: &AccessRequest, session: &BrowserSession) {
        let user = &session.user;
        let event = AccountEvent::now(AccountAction::AccessRefused).about(&user.id, &user.name);
        let by = Some(Actor::User { user: user.id.clone() });
        let (client, resource) = (Some(request.client.id.clone()), Some(request.resource.url.clone()));
        self.store.record(AccountEvent { by, client, resource, peer: visit.peer, ..event });
    }

    /// Grants what the page has shown. None: the session has ended meanwhile.
    async fn granted(
        &self,
        visit: &SiteVisit,
        request: &AccessRequest,
        session: &BrowserSession,
        secret: &SecretString,
    ) -> Result<Option<SecretString>, AccountsError> {
        let client = &request.client;
        let terms = GrantTerms {
            user: session.user.id.clone(),
            client: client.id.clone(),
            client_name: client.name.clone(),
            resource: request.resource.url.clone(),
            scopes: request.scopes.clone(),
            logged_in: session.created,
        };
        let redirect = request.redirect.as_str().to_owned();
        let code = CodeTerms { redirect, challenge: request.challenge.clone() };
        let (secret, user) = (secret.clone(), witgate_base::printable::clean(&session.user.name));
        let peer = visit.peer;
        let granted = self.store.run(visit.source(), move |database| {
            database.seen_from(peer);
            database.grant(&secret, &terms, &code, now_ms())
        });
        let granted = granted.await?;
        tracing::info!(user, client = %client.name, "a person has given a client access");
        Ok(granted)
    }

    /// Sends the code to the client, or shows the address to a person whose client runs on another computer.
    fn conclude(&self, request: &AccessRequest, code: &SecretString, is_pasted: bool) -> SiteAnswer {
        let answer = vec![("code", code.expose_secret())];
        let address = self.address(&request.redirect, request.state.as_deref(), answer);
        match is_pasted {
            true => pages::paste(&address),
            false => see_other(&address),
        }
    }
}
