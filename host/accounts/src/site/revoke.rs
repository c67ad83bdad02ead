//! The revocation of tokens by clients (RFC 7009). With each token, its whole login ends.

use bytes::Bytes;
use http::StatusCode;

use super::answers::{SiteAnswer, answer, oauth_error, unavailable_to_program};
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};

impl AccountSite {
    /// Ends the login of a token. A token that is none is as good as revoked.
    pub(super) async fn revoke(&self, visit: &SiteVisit) -> SiteAnswer {
        let form = OauthParams::of_form(visit).unwrap_or_default();
        let (Some(token), Some(client)) = (form.get("token"), form.get("client_id")) else {
            let description = "this is no form with `token` and `client_id`";
            return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", description);
        };
        let (token, client) = (token.to_owned(), client.to_owned());
        match self.store.run(visit.source(), move |database| database.revoke(&token, &client)).await {
            Ok(has_ended) => {
                if has_ended {
                    tracing::info!(code = "revoked", "a client has ended its login");
                }
                answer(StatusCode::OK, "application/json", Bytes::from_static(b"{}"))
            }
            Err(error) => unavailable_to_program(&error),
        }
    }
}
