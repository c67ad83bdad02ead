//! The beginning of a login by a client. It changes nothing, because programs fetch the address, too.

use http::StatusCode;
use http::header::ACCEPT;

use super::answers::{SiteAnswer, oauth_error, see_other};
use super::pages;
use super::request::{AccessRequest, PageFault, RequestFault};
use super::{AccountSite, SiteVisit};
use crate::redirect::{RedirectTarget, RedirectUri};

impl AccountSite {
    /// Shows the login page, or, to somebody who is logged in, the page that asks for consent.
    pub(super) async fn authorize(&self, visit: &SiteVisit) -> SiteAnswer {
        let request = match self.read_request(&visit.query, visit).await {
            Ok(request) => request,
            Err(fault) => return self.refuse(fault, visit),
        };
        // Consent is always asked for. Whether somebody is logged in is no business of a site that asks without it.
        if request.is_silent {
            let (redirect, state) = (request.redirect, request.state);
            let (error, description) = ("interaction_required", "the person has to consent");
            return self.refuse(RequestFault::Client { redirect, state, error, description }, visit);
        }
        match self.session(visit).await {
            Err(error) => pages::unavailable(&error),
            Ok(None) => self.login_form(visit, &visit.query, None),
            Ok(Some((session, secret))) => self.consent_form(&request, &session, &secret, &visit.query),
        }
    }

    /// Refuses a request, towards the client if that is safe. Anybody can register a client, and send people to this
    /// address with a faulty request. So only a program on the computer of the browser gets the answer at once; to
    /// another place, a person has to go themselves.
    pub(super) fn refuse(&self, fault: RequestFault, visit: &SiteVisit) -> SiteAnswer {
        let (code, peer) = (fault.code(), visit.peer.map(tracing::field::display));
        if let Some(others) = self.lines.turn(code) {
            tracing::info!(code, peer, others, "the request of a client was refused");
        }
        match fault {
            RequestFault::Client { redirect, state, error, description } => {
                let address = self.error_address(&redirect, state.as_deref(), error, description);
                match redirect.target() {
                    RedirectTarget::ThisComputer => see_other(&address),
                    _ if wants_json(visit) => oauth_error(StatusCode::BAD_REQUEST, error, description),
                    target => pages::returning(&target, &address, error, description),
                }
            }
            RequestFault::Page(fault) => {
                let status = match fault {
                    PageFault::Busy => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::BAD_REQUEST,
                };
                let error = match fault {
                    PageFault::Client(_) => "invalid_client",
                    PageFault::Malformed | PageFault::Redirect => "invalid_request",
                    PageFault::Busy => "temporarily_unavailable",
                };
                match wants_json(visit) {
                    true => oauth_error(status, error, fault.shown()),
                    false => pages::refused(status, fault),
                }
            }
        }
    }

    /// Sends an error to the client of a valid request.
    pub(super) fn answer_error(&self, request: &AccessRequest, error: &'static str) -> SiteAnswer {
        see_other(&self.error_address(&request.redirect, request.state.as_deref(), error, ""))
    }

    fn error_address(
        &self,
        redirect: &RedirectUri,
        state: Option<&str>,
        error: &str,
        description: &str,
    ) -> String {
        let mut answer = vec![("error", error)];
        if !description.is_empty() {
            answer.push(("error_description", description));
        }
        self.address(redirect, state, answer)
    }

    /// The address of an answer, with `state` and the issuer (RFC 9207).
    pub(super) fn address<'a>(
        &'a self,
        redirect: &RedirectUri,
        state: Option<&'a str>,
        mut answer: Vec<(&'a str, &'a str)>,
    ) -> String {
        answer.extend(state.map(|state| ("state", state)));
        answer.push(("iss", &self.settings.issuer));
        redirect.with(&answer)
    }
}

/// True if the sender wants JSON, and no page.
fn wants_json(visit: &SiteVisit) -> bool {
    let accept = visit.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/html")
}
