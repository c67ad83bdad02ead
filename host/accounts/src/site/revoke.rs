//! The revocation of tokens by clients (RFC 7009). With each token, its whole login ends.

use bytes::Bytes;
use http::StatusCode;

use super::answers::{SiteAnswer, answer, oauth_error, unavailable_to_program};
use super::params::OauthParams;
use super::{AccountSite, SiteVisit};
use crate::database::AccountDatabase;

impl AccountSite {
    /// Ends the login of a token. A token that is none is as good as revoked.
    pub(super) async fn revoke(&self, visit: &SiteVisit) -> SiteAnswer {
        let form = OauthParams::of_form(visit).unwrap_or_default();
        let (Some(token), Some(client)) = (form.get("token"), form.get("client_id")) else {
            let description = "this is no form with `token` and `client_id`";
            return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", description);
        };
        let (token, client) = (token.to_owned(), client.to_owned());
        let peer = visit.peer;
        let revoke = move |database: &mut AccountDatabase| {
            database.seen_from(peer);
            database.revoke(&token, &client)
        };
        match self.store.run(visit.source(), revoke).await {
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
