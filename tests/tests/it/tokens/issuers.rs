//! Tokens of other issuers: issuers with similar names, and a sibling whose keys have the same ids.

use serde_json::{Value, json};

use super::forge::{self, ISSUER, KEYS, OTHERS, claims, header, token, with_claims, with_payload};
use super::{Attack, Policy, jwks};

const SIBLING: &str = "https://sibling.example.com";

pub(super) fn attacks() -> Vec<Attack> {
    [lookalikes(), siblings()].into_iter().flatten().collect()
}

fn lookalikes() -> Vec<Attack> {
    let policy = Policy::public();
    let others = [
        "https://idp.example.com/",
        "https://idp.example.com//",
        "https://IDP.example.com",
        "HTTPS://idp.example.com",
        "http://idp.example.com",
        "https://idp.example.com:443",
        "https://idp.example.com.",
        "https://idp.example.com/.",
        "https://idp.example.com?",
        "https://idp.example.com#",
        "https://user@idp.example.com",
        "https://idp.example.com@evil.example",
        "https://idp.example.com.evil.example",
        "https://idp.еxample.com",
        "https://ıdp.example.com",
        "https://idp.example.com\u{200b}",
        "https://idp%2eexample.com",
        "idp.example.com",
        " https://idp.example.com",
        "https://idp.example.com ",
        "*",
    ];
    let others = others.into_iter().map(|issuer| {
        let token = with_claims(&json!({ "iss": issuer }));
        Attack::unrecognised(&policy, format!("iss {issuer:?}"), token)
    });
    let odd: [Value; 8] = [
        json!([ISSUER]),
        json!({ "iss": ISSUER }),
        json!(5),
        json!(true),
        json!(""),
        json!("https://idp.example.com\n"),
        json!("https://idp.example.com\u{0}"),
        json!(format!("https://idp.example.com/{}", "x".repeat(600))),
    ];
    let odd = odd.into_iter().map(|issuer| {
        let name: String = format!("iss {issuer}").chars().take(80).collect();
        Attack::refused(&policy, name, with_claims(&json!({ "iss": issuer })), "malformed")
    });
    let text = claims().to_string().replace(&format!("\"{ISSUER}\""), "null");
    others
        .chain(odd)
        .chain([
            Attack::unrecognised(&policy, "no iss", with_claims(&json!({ "iss": null }))),
            Attack::unrecognised(&policy, "iss null", with_payload(text)),
        ])
        .collect()
}

/// Two issuers whose keys are found by their metadata: the host holds each one's under its own name.
fn siblings() -> Vec<Attack> {
    let sets = [(ISSUER, &*KEYS), (SIBLING, &*OTHERS)];
    let both = Policy::of(json!({ "algorithms": ["ES256", "RS256"], "issuer": [ISSUER, SIBLING] }));
    let both = sets.into_iter().fold(both, |policy, (issuer, keys)| {
        let keys = ["ES256", "RS256"].map(|algorithm| keys.jwk(algorithm));
        policy.key(issuer, jwks(&json!({ "keys": keys })))
    });
    let of = |keys: &forge::Keys, algorithm: &str, issuer: &str, changes: &Value| {
        let claims = forge::changed(claims(), &json!({ "iss": issuer }));
        token(keys, algorithm, &forge::changed(header(algorithm), changes), &claims)
    };
    let mut attacks = Vec::new();
    for algorithm in ["ES256", "RS256"] {
        for (own, others, issuer) in [(&*KEYS, &*OTHERS, ISSUER), (&*OTHERS, &*KEYS, SIBLING)] {
            let named = of(others, algorithm, issuer, &json!({}));
            let nameless = of(others, algorithm, issuer, &json!({ "kid": null }));
            let name = |what: &str| format!("{algorithm} of {issuer} {what}");
            attacks.extend([
                Attack::good(&both, name("good: by its own key"), of(own, algorithm, issuer, &json!({}))),
                Attack::refused(&both, name("by the sibling's key of the same id"), named, "bad-signature"),
                Attack::refused(
                    &both,
                    name("by the sibling's key, without an id"),
                    nameless,
                    "bad-signature",
                ),
            ]);
        }
    }
    // An issuer whose keys the host does not hold.
    let evil = of(&OTHERS, "ES256", "https://evil.example", &json!({}));
    attacks.push(Attack::unrecognised(&both, "an issuer that nobody has named", evil));
    attacks
}
