//! Servers with faulty metadata or key sets: no token is accepted, and the refusal comes soon.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_config::KeyPlace;
use witgate_config::{MAX_STALE, Network};
use witgate_plugin::{Algorithm, SignedMessage, VerifyError};
use witgate_services::jwks::RemoteJwks;
use witgate_services::keys::{Key, Keyring, MOST_KEYS};
use witgate_services::network::Ways;
use witgate_tests::issuer::{Issuer, Page, Signer};

fn ring(place: &KeyPlace) -> Keyring {
    let key =
        Key::Remote { set: RemoteJwks::new(place, Ways::new(&Network::default())), max_stale: MAX_STALE };
    Keyring::new(HashMap::from([("idp".to_owned(), Arc::new(key))]))
}

fn of(issuer: &Issuer) -> Keyring {
    ring(&KeyPlace::Issuer(issuer.url()))
}

/// Verifies a signature by `signer` with the ring.
async fn verify(ring: &Keyring, signer: &Signer, key_id: &str) -> Result<(), VerifyError> {
    let token = signer.token(&json!({}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    let signed = SignedMessage {
        algorithm: Algorithm::Es256,
        key_id: Some(key_id),
        message: message.as_bytes(),
        signature: &signature,
    };
    ring.verify("idp", &signed, None).await
}

const METADATA: &str = "/.well-known/oauth-authorization-server";

#[tokio::test]
async fn metadata_of_another_issuer_is_refused() {
    let signer = Signer::new("a");
    let wrong: [fn(&str) -> Value; 9] = [
        |_| json!({}),
        |_| json!([]),
        |url| json!({ "jwks_uri": format!("{url}/jwks") }),
        |url| json!({ "issuer": "https://other.example", "jwks_uri": format!("{url}/jwks") }),
        |url| json!({ "issuer": format!("{url}/"), "jwks_uri": format!("{url}/jwks") }),
        |url| json!({ "issuer": [url], "jwks_uri": format!("{url}/jwks") }),
        |url| json!({ "issuer": url }),
        |url| json!({ "issuer": url, "jwks_uri": "/jwks" }),
        |url| json!({ "issuer": url, "jwks_uri": "file:///etc/passwd" }),
    ];
    for make in wrong {
        let issuer = Issuer::start();
        issuer.publish(&[&signer], "max-age=300");
        let metadata = make(&issuer.url());
        issuer.put(METADATA, Page::json(&metadata));
        assert_eq!(verify(&of(&issuer), &signer, "a").await, Err(VerifyError::Unavailable), "{metadata}");
        assert_eq!(issuer.count("/jwks"), 0, "{metadata}");
    }
    // A member twice: two readers could take it for two issuers.
    let issuer = Issuer::start();
    issuer.publish(&[&signer], "max-age=300");
    let mut twice = Page::json(&json!({}));
    let url = issuer.url();
    twice.body = format!(r#"{{"issuer":"https://other","issuer":"{url}","jwks_uri":"{url}/jwks"}}"#);
    issuer.put(METADATA, twice);
    assert_eq!(verify(&of(&issuer), &signer, "a").await, Err(VerifyError::Unavailable));
    // A fault at one location does not keep Witgate from the next one.
    let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") });
    issuer.put("/.well-known/openid-configuration", Page::json(&metadata));
    assert_eq!(verify(&of(&issuer), &signer, "a").await, Ok(()));
}

/// Metadata cannot point into the private network: another port of this machine is another origin.
#[tokio::test]
async fn metadata_does_not_lead_to_private_addresses_elsewhere() {
    let (issuer, other, signer) = (Issuer::start(), Issuer::start(), Signer::new("a"));
    other.publish(&[&signer], "max-age=300");
    let metadata = json!({ "issuer": issuer.url(), "jwks_uri": format!("{}/jwks", other.url()) });
    issuer.put(METADATA, Page::json(&metadata));
    assert_eq!(verify(&of(&issuer), &signer, "a").await, Err(VerifyError::Unavailable));
    assert_eq!(other.requests(), [""; 0]);
}

#[tokio::test]
async fn answers_that_are_no_key_set_admit_no_caller() {
    let signer = Signer::new("a");
    let set = json!({ "keys": [signer.jwk()] });
    let many = json!({ "keys": vec![signer.jwk(); MOST_KEYS + 1] });
    let large = json!({ "keys": [signer.jwk()], "x": "x".repeat(2 << 20) });
    let mut cut = Page::json(&set);
    cut.headers.push(("Content-Length".to_owned(), "100000".to_owned()));
    for (name, page) in [
        ("an error", Page::json(&set).status(500)),
        ("not there", Page::json(&set).status(404)),
        ("no content", Page::json(&set).status(204)),
        ("a redirect", Page::json(&set).status(302).with("Location", "/jwks2")),
        ("too many keys", Page::json(&many)),
        ("two megabytes", Page::json(&large)),
        ("cut off", cut),
        ("no keys", Page::json(&json!({ "keys": [] }))),
        ("no set", Page::json(&json!([signer.jwk()]))),
        ("one key alone", Page::json(&signer.jwk())),
        ("a page for people", Page { body: "<html></html>".to_owned(), ..Page::json(&json!({})) }),
        ("nothing", Page { body: String::new(), ..Page::json(&json!({})) }),
    ] {
        let issuer = Issuer::start();
        issuer.publish(&[&signer], "max-age=300");
        issuer.put("/jwks2", Page::json(&set));
        issuer.put("/jwks", page);
        let begin = Instant::now();
        assert_eq!(verify(&of(&issuer), &signer, "a").await, Err(VerifyError::Unavailable), "{name}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{name}: {:?}", begin.elapsed());
        assert_eq!(issuer.count("/jwks2"), 0, "{name}");
    }
}

/// Five seconds, and not for each of the pages.
#[tokio::test]
async fn a_hanging_server_is_awaited_once() {
    let (issuer, signer) = (Issuer::start(), Signer::new("a"));
    issuer.publish(&[&signer], "max-age=300");
    let slow = Page::json(&json!({ "keys": [signer.jwk()] })).after(Duration::from_secs(60));
    issuer.put("/jwks", slow);
    let ring = of(&issuer);
    let begin = Instant::now();
    let both = tokio::join!(verify(&ring, &signer, "a"), verify(&ring, &signer, "a"));
    assert_eq!(both, (Err(VerifyError::Unavailable), Err(VerifyError::Unavailable)));
    // A call right afterwards does not wait again.
    assert_eq!(verify(&ring, &signer, "a").await, Err(VerifyError::Unavailable));
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(issuer.count("/jwks"), 1);
}

/// A thousand callers at once cost one request; ten thousand made-up ids cost a handful.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_key_ids_does_not_reach_the_server() {
    let (issuer, signer) = (Issuer::start(), Signer::new("a"));
    issuer.publish(&[&signer], "max-age=300");
    let ring = Arc::new(of(&issuer));
    let all = (0..1000).map(|_| {
        let (ring, signer) = (Arc::clone(&ring), Signer::new("a"));
        tokio::spawn(async move { verify(&ring, &signer, "a").await })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), Err(VerifyError::BadSignature));
    }
    assert_eq!((issuer.count("/jwks"), issuer.count(METADATA)), (1, 1));

    let begin = Instant::now();
    let signer = Arc::new(signer);
    let made_up = (0..20).map(|caller| {
        let (ring, signer) = (Arc::clone(&ring), Arc::clone(&signer));
        tokio::spawn(async move {
            for n in 0..500 {
                let refused = verify(&ring, &signer, &format!("{caller}-{n}")).await;
                assert_eq!(refused, Err(VerifyError::UnknownKeyId));
            }
        })
    });
    for one in made_up.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    // Five at once, one more in each ten seconds that this took, and the first one.
    let allowed = 6 + usize::try_from(begin.elapsed().as_secs() / 10).unwrap();
    assert!(issuer.count("/jwks") <= allowed, "{} requests", issuer.count("/jwks"));
    assert_eq!(verify(&ring, &signer, "a").await, Ok(()));
}

/// A set is fetched again when its lifetime is over, not before.
#[tokio::test]
async fn a_withdrawn_key_is_refused_when_the_set_expires() {
    let (issuer, withdrawn, stays) = (Issuer::start(), Signer::new("gone"), Signer::new("stays"));
    issuer.publish(&[&withdrawn, &stays], "max-age=1");
    let ring = of(&issuer);
    assert_eq!(verify(&ring, &withdrawn, "gone").await, Ok(()));
    issuer.publish(&[&stays], "max-age=1");
    let begin = Instant::now();
    // Witgate has not asked meanwhile: a later call does not use the old set.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(
        verify(&ring, &withdrawn, "gone").await,
        Err(VerifyError::UnknownKeyId),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(verify(&ring, &stays, "stays").await, Ok(()));
}
