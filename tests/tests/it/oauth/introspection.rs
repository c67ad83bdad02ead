//! The authentication of Witgate to an authorization server, and the signatures of that server's answers.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use witgate_tests::oauth::{Make, Plan};

use super::{Making, READ, hello};

const GUARDED: [&str; 2] = ["opaque", "opaque-guest"];

/// A private key in PEM, and its public half.
fn key_pair(id: &str) -> (String, Value) {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    // An uncompressed point: 4, x, y.
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "alg": "ES256", "use": "sig" });
    let body = STANDARD.encode(pkcs8.as_ref());
    (format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"), jwk)
}

/// The introspecting client authenticates with `pem`; the server knows `jwk`.
fn signing(make: Make, pem: &str, jwk: &Value) -> Making {
    let metadata = json!({
        "client_secret": null, "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256", "jwks": { "keys": [jwk] },
    });
    let plan = Plan::default().introspector(&metadata);
    let introspection = "client_key = { file = \"client.pem\" }\nclient_key_id = \"first\"\ncache_ttl_s = 0";
    let files = vec![("client.pem".to_owned(), pem.to_owned())];
    Making { plan, files, introspection: introspection.to_owned(), ..Making::of(make) }
}

#[tokio::test(flavor = "multi_thread")]
async fn witgate_authenticates_with_a_private_key() {
    for make in Make::ALL {
        let (pem, jwk) = key_pair("first");
        let testbed = signing(make, &pem, &jwk).start();
        for guarded in GUARDED {
            let caller = testbed.caller(guarded, READ).await;
            // Each time with a new request: nothing is cached, and no assertion is valid twice.
            for _ in 0..3 {
                let answer = caller.call("echo", hello()).await;
                assert!(answer.is_result(), "{make:?}, {guarded}: {answer:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_client_key_denies_calls_and_is_not_logged() {
    for make in Make::ALL {
        let ((pem, _), (_, jwk)) = (key_pair("first"), key_pair("first"));
        let testbed = signing(make, &pem, &jwk).start();
        for guarded in GUARDED {
            let answer = testbed.caller(guarded, READ).await.call("echo", hello()).await;
            let found = (answer.status, answer.reason());
            assert_eq!(found, (503, Some("unavailable")), "{make:?}, {guarded}: {answer:?}");
        }
        let log = testbed.witgate.log();
        assert!(!log.contains("BEGIN") && !log.contains(&pem[30..60]), "{make:?}: the key is on the log");
    }
}

/// A file that is no key is reported at the start, without its content.
#[test]
fn a_key_that_cannot_sign_is_refused_at_the_start() {
    let setup = witgate_tests::gateway::Setup::new();
    let settings = "endpoint = \"http://127.0.0.1:9/introspect\"\nclient_id = \"witgate\"\n\
                    client_key = { file = \"client.pem\" }";
    setup.config(
        "",
        &format!(
            "[upstreams.own]\nown_tools = true\n[policies.idp]\nkind = \"oauth2-introspection\"\n\
             [policies.idp.config]\n{settings}\n[policies.rules]\nkind = \"rbac\"\n\
             config = {{ roles = {{ any = {{ allow = [\"*\"] }} }} }}\n\
             [pipeline]\nauthenticate = [\"idp\"]\nauthorize = [\"rules\"]\n"
        ),
    );
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAsomething-else\n-----END PUBLIC KEY-----\n";
    for text in
        [public, "a secret by mistake", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
    {
        setup.file("client.pem", text);
        let output = setup.run(&["check"]);
        let report =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let report = witgate_tests::gateway::unframed(&report);
        assert_eq!(output.status.code(), Some(1), "{report}");
        assert!(report.contains("private key in PEM") && report.contains("client_key"), "{report}");
        assert!(!report.contains("by mistake") && !report.contains("something-else"), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_answers_are_accepted() {
    let plan = Plan::default().introspector(&json!({ "introspection_signed_response_alg": "RS256" }));
    let testbed = Making { plan, ..Making::of(Make::OidcProvider) }
        .introspecting(
            "answer_keys = [{ jwks_url = \"{issuer}/jwks\" }]\ncache_ttl_s = 0\nnegative_ttl_s = 0",
        )
        .start();
    for guarded in GUARDED {
        let resource = testbed.resource(guarded);
        let token = testbed.server.token(&resource, READ).await.unwrap();
        let caller = crate::caller::Caller::with_token(&resource, &token);
        let answer = caller.call("echo", hello()).await;
        assert!(answer.is_result(), "{guarded}: {answer:?}");
        testbed.server.revoke(&token).await.unwrap();
        let answer = caller.call("echo", hello()).await;
        assert_eq!((answer.status, answer.reason()), (401, Some("inactive")), "{guarded}: {answer:?}");
    }
}

/// A server that does not sign is not believed where it should. (The other one signs for whoever asks for it.)
#[tokio::test(flavor = "multi_thread")]
async fn plain_answers_are_refused_if_signed_ones_are_required() {
    let keys = "answer_keys = [{ jwks_url = \"{issuer}/jwks\" }]";
    let testbed = Making::of(Make::Authlib).introspecting(keys).start();
    for guarded in GUARDED {
        let answer = testbed.caller(guarded, READ).await.call("echo", hello()).await;
        assert_eq!((answer.status, answer.reason()), (503, Some("unavailable")), "{guarded}: {answer:?}");
    }
}
