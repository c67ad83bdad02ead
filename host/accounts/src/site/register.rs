//! Dynamic client registration (RFC 7591). It writes nothing.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::answers::{SiteAnswer, json_answer, oauth_error};
use super::{AccountSite, SiteVisit};
use crate::client::registered::{self, MOST_REDIRECTS};
use crate::database::now_ms;
use crate::redirect::RedirectUri;

/// The members of a registration that count.
#[derive(Deserialize)]
struct Registration {
    redirect_uris: Vec<String>,
    #[serde(default)]
    client_name: Option<String>,
}

impl AccountSite {
    /// Makes the id of a client. A redirect URI that cannot be is left out of the answer, because some clients name
    /// several, of which they need one. Whatever method of authentication a client asks for, it is `none`.
    pub(super) fn register(&self, visit: &SiteVisit) -> SiteAnswer {
        let Ok(wanted) = serde_json::from_slice::<Registration>(&visit.body) else {
            return self.refuse_registration(
                "invalid_client_metadata",
                "this is no JSON object with `redirect_uris`",
            );
        };
        let accepted = wanted.redirect_uris.iter().filter_map(|text| RedirectUri::parse(text));
        let accepted: Vec<_> = accepted.take(MOST_REDIRECTS).collect();
        if accepted.is_empty() {
            let description = "no redirect URI is https, a loopback address or a scheme of an app";
            return self.refuse_registration("invalid_redirect_uri", description);
        }
        let name = wanted.client_name.unwrap_or_default();
        let id = registered::id(self.store.clients(), &name, &accepted);
        let redirects: Vec<_> = accepted.iter().map(RedirectUri::as_str).collect();
        json_answer(
            StatusCode::CREATED,
            &json!({
                "client_id": id,
                "client_id_issued_at": now_ms() / 1_000,
                "client_name": name,
                "redirect_uris": redirects,
                "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
            }),
        )
    }

    fn refuse_registration(&self, error: &'static str, description: &str) -> SiteAnswer {
        if let Some(others) = self.lines.turn(error) {
            tracing::info!(code = error, others, description, "a client was not registered");
        }
        oauth_error(StatusCode::BAD_REQUEST, error, description)
    }
}
