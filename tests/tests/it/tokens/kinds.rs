//! Genuine tokens of the right issuer that are no access tokens.

use serde_json::json;

use super::forge::{KEYS, changed, claims, header, token, with_claims};
use super::{Attack, Policy};

pub(super) fn attacks() -> Vec<Attack> {
    [id_tokens(), others(), incomplete(), revoked()].into_iter().flatten().collect()
}

/// ID tokens whose audience is the resource: a client that is called like it, or a careless issuer.
fn id_tokens() -> Vec<Attack> {
    let hash = "77QmUPtjPfzWtF2AnpK9RQ";
    let claims = [
        ("of the implicit flow", json!({ "nonce": "n", "at_hash": hash })),
        ("of the hybrid flow", json!({ "nonce": "n", "c_hash": hash })),
        (
            "of the code flow, with a nonce",
            json!({ "nonce": "n", "auth_time": 1_999_999_000, "azp": "client" }),
        ),
        ("with a hash of the access token", json!({ "at_hash": hash, "email": "alice@example.com" })),
        ("with a hash of the state", json!({ "s_hash": hash })),
        ("with a hash, and scopes beside it", json!({ "at_hash": hash, "scope": "openid" })),
        ("as Keycloak marks it", json!({ "typ": "ID", "azp": "client" })),
        ("as Cognito marks it", json!({ "token_use": "id" })),
    ];
    claims
        .into_iter()
        .map(|(name, claims)| {
            Attack::refused(
                &Policy::public(),
                format!("an ID token {name}"),
                with_claims(&claims),
                "wrong-type",
            )
        })
        .chain([
            Attack::good(
                &Policy::public(),
                "good: an access token with nonce and scopes",
                with_claims(&json!({ "nonce": "n", "scope": "read", "typ": "Bearer" })),
            ),
            Attack::refused(
                &Policy::public(),
                "an ID token for its client",
                with_claims(&json!({ "aud": "client", "nonce": "n" })),
                "wrong-type",
            ),
        ])
        .collect()
}

fn others() -> Vec<Attack> {
    let logout = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    [
        ("a logout token", json!({ "events": logout, "jti": "1" })),
        ("a security event", json!({ "events": {} })),
        ("a refresh token as Keycloak marks it", json!({ "typ": "Refresh" })),
        ("an offline token as Keycloak marks it", json!({ "typ": "Offline" })),
        ("a logout token as Keycloak marks it", json!({ "typ": "Logout" })),
        ("a refresh token as others mark it", json!({ "token_use": "refresh" })),
    ]
    .into_iter()
    .map(|(name, claims)| Attack::refused(&Policy::public(), name, with_claims(&claims), "wrong-type"))
    .collect()
}

/// Tokens with the type of RFC 9068, and without its required claims.
fn incomplete() -> Vec<Attack> {
    let strict = Policy::public().with("typ", json!(["at+jwt"]));
    let typed = changed(header("ES256"), &json!({ "typ": "at+jwt" }));
    let complete = changed(claims(), &json!({ "client_id": "robot", "jti": "1" }));
    ["exp", "aud", "sub", "client_id", "iat", "jti"]
        .into_iter()
        .map(|name| {
            let claims = changed(complete.clone(), &json!({ name: null }));
            let token = token(&KEYS, "ES256", &typed, &claims);
            Attack::refused(&strict, format!("an at+jwt without {name}"), token, "missing-claim")
        })
        .collect()
}

fn revoked() -> Vec<Attack> {
    let lines = "{\"jti\":\"gone\",\"iss\":\"https://idp.example.com\"}\n{\"jti\":\"other\",\"iss\":\"https://other\"}\n";
    let policy = Policy::public().with("revoked", json!({ "content": lines }));
    vec![
        Attack::good(&policy, "good: another's id", with_claims(&json!({ "jti": "other" }))),
        Attack::refused(&policy, "a revoked token", with_claims(&json!({ "jti": "gone" })), "revoked"),
        Attack::refused(
            &policy,
            "a revoked token by escapes",
            {
                let text = claims().to_string();
                super::forge::with_payload(format!(r#"{},"j\u0074i":"g\u006fne"}}"#, &text[..text.len() - 1]))
            },
            "revoked",
        ),
        Attack::refused(
            &policy,
            "one that cannot be revoked",
            with_claims(&json!({ "x": 1 })),
            "missing-claim",
        ),
        Attack::refused(
            &policy,
            "an id that is a list",
            with_claims(&json!({ "jti": ["gone"] })),
            "malformed",
        ),
    ]
}
