//! The metadata of the authorization server (RFC 8414).

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::answers::{self, SiteAnswer, oauth_error};
use witgate_config::accounts::AccountSettings;

/// The scope that asks for a refresh token. It is named here and nowhere else.
pub(super) const OFFLINE: &str = "offline_access";

const WELL_KNOWN: [&str; 2] =
    ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// The paths of the metadata: those of the issuer, and those that clients derive from the path of an endpoint.
pub(super) fn paths(settings: &AccountSettings) -> impl Iterator<Item = String> {
    let suffixes = settings.resources.iter().map(|resource| resource.path.trim_end_matches('/'));
    let suffixes: Vec<_> = [""].into_iter().chain(suffixes).map(str::to_owned).collect();
    WELL_KNOWN
        .into_iter()
        .flat_map(move |known| suffixes.clone().into_iter().map(move |suffix| format!("{known}{suffix}")))
}

/// The metadata.
pub(super) fn document(settings: &AccountSettings) -> SiteAnswer {
    let issuer = &settings.issuer;
    let scopes: Vec<_> = settings.scopes.keys().map(String::as_str).chain([OFFLINE]).collect();
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oauth/authorize"),
        "token_endpoint": format!("{issuer}/oauth/token"),
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "jwks_uri": format!("{issuer}/oauth/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": scopes,
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": settings.takes_documents,
    });
    if let (true, Value::Object(members)) = (settings.takes_registrations, &mut document) {
        members.insert("registration_endpoint".to_owned(), format!("{issuer}/oauth/register").into());
    }
    answers::document(document.to_string())
}

/// The public keys (RFC 7517).
pub(super) fn keys(set: Option<Bytes>) -> SiteAnswer {
    match set {
        Some(set) => answers::document(set),
        None => oauth_error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "there is no key"),
    }
}
