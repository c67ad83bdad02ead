//! The differences between each provider's ID token and its access token, which are the reasons for refusing the
//! former.

use serde_json::{Value, json};

const HASH: &str = "77QmUPtjPfzWtF2AnpK9RQ";

/// The ID token that goes with an access token of these claims.
pub(super) fn of(provider: &str, access: Value) -> (Value, &'static str) {
    let (without, with, reason): (&[&str], Value, _) = match provider {
        // The same registration as client and as API: nothing else differs.
        "Entra ID, v2 tokens" => (&["azp", "azpacr", "scp", "aio"], json!({}), "missing-claim"),
        "Entra ID, v1 tokens" => (&["appid", "appidacr", "scp", "aio"], json!({}), "missing-claim"),
        "Okta" => (
            &["cid", "uid", "scp"],
            json!({ "jti": "ID.1", "aud": "0oabv6kx4qq6h1U5l0h7", "idp": "00o1", "amr": ["pwd"], "at_hash": HASH }),
            "wrong-type",
        ),
        "Auth0" => (&["azp", "scope"], json!({ "aud": "my_client_id", "sid": "1" }), "wrong-audience"),
        "Keycloak" => (&["scope"], json!({ "typ": "ID", "aud": "desk", "at_hash": HASH }), "wrong-type"),
        "Amazon Cognito" => (
            &["client_id", "scope", "version"],
            json!({ "aud": "1example23456789", "token_use": "id", "at_hash": HASH, "cognito:username": "ada" }),
            "wrong-type",
        ),
        // Of the code flow. One that comes with a refresh has no `c_hash`, and the page says so.
        "Dex" => (&[], json!({ "c_hash": HASH }), "wrong-type"),
        "ZITADEL" => (&["jti"], json!({ "azp": "257714027772314751", "amr": ["pwd"] }), "missing-claim"),
        "authentik" => (&["azp", "uid"], json!({ "at_hash": HASH }), "wrong-type"),
        // The token of the session with Cloudflare.
        "Cloudflare Access" => (&[], json!({ "type": "org" }), "wrong-claim"),
        other => panic!("nobody knows the ID tokens of {other}"),
    };
    let mut claims = access;
    let members = claims.as_object_mut().unwrap();
    without.iter().for_each(|name| drop(members.remove(*name)));
    members.extend(with.as_object().unwrap().clone());
    (claims, reason)
}
