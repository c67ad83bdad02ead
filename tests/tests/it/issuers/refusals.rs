//! Refused tokens, as the caller and the operator see them: the challenge says little, the log gives the reason, and
//! neither contains the token.

use serde_json::{Value, json};
use witgate_tests::issuer::{Issuer, Signer};

use super::{acceptance, call, for_gateway, gateway, outcome};

#[test]
fn a_refusal_has_a_challenge_and_shows_no_token() {
    for component in [false, true] {
        let (issuer, signer, stranger) = (Issuer::start(), Signer::new("a"), Signer::new("a"));
        issuer.publish(&[&signer], "max-age=300");
        let gateway = gateway(component, &format!("issuer = '{}'", issuer.url()));
        let with = |signer: &Signer, changes: Value| {
            let mut claims = for_gateway(&gateway, &issuer);
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            signer.token(&claims)
        };
        let good = with(&signer, json!({}));
        assert_eq!(outcome(&call(&gateway, &good)), acceptance(), "{}", gateway.log());
        let [header, _, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let root = with(&signer, json!({ "sub": "root" }));
        let payload = root.split('.').nth(1).unwrap();
        for (token, reason) in [
            (with(&stranger, json!({})), "bad-signature"),
            (format!("{header}.{payload}.{signature}"), "bad-signature"),
            (with(&Signer::new("b"), json!({})), "unknown-key"),
            (format!("{header}.{payload}."), "malformed"),
            (format!("{good}="), "malformed"),
            (with(&signer, json!({ "exp": 1 })), "expired"),
            (with(&signer, json!({ "exp": "9999999999" })), "malformed"),
            (with(&signer, json!({ "exp": null })), "missing-claim"),
            (with(&signer, json!({ "nbf": 9_999_999_999_u64 })), "not-yet-valid"),
            (with(&signer, json!({ "aud": format!("{}/", gateway.url()) })), "wrong-audience"),
            (with(&signer, json!({ "aud": "https://sibling.example.com/mcp" })), "wrong-audience"),
            (with(&signer, json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ" })), "wrong-type"),
        ] {
            let answer = call(&gateway, &token);
            assert_eq!(outcome(&answer), (401, reason.to_owned()), "{}", gateway.log());
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(
                challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""),
                "{challenge}"
            );
            let secret = token.rsplit('.').find(|part| !part.is_empty()).unwrap();
            for text in [answer.text(), gateway.log()] {
                assert!(!text.contains(&token) && !text.contains(secret), "{reason}: {text}");
            }
        }
        // A token of another issuer, and a text that is no token: no policy recognises them.
        for token in [with(&signer, json!({ "iss": format!("{}/", issuer.url()) })), "no.token".to_owned()] {
            assert_eq!(call(&gateway, &token).status, 401);
        }
        assert_eq!(outcome(&call(&gateway, &good)), acceptance());
    }
}
