//! The judgement on JSON Web Tokens, by the shipped policy in front of a host with one secret.
//!
//! An input of one line is a token as a caller shows it. Of more lines, the first is the header
//! and the rest the claims, and both are signed here, so that what comes after the signature is
//! reached as well. Nobody is let in but by a token that the key has signed, whole and untouched,
//! and that is good now, here and for this audience.

use std::borrow::Cow;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use witgate_component::output::check_verdict;
use witgate_jwt::Jwt;
use witgate_plugin::testing::{FakeHost, tool};
use witgate_plugin::{Algorithm, Credential, Identity, Plugin, Scheme, Verdict, VerifyError};

use crate::scan::scan;

const NOW: u64 = 2_000_000_000;
const LEEWAY: f64 = 60.0;
const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// The secret of `tests/cases/jwt.toml`. It guards nothing.
const SECRET: &[u8] = b"a secret of the host that is long enough";

/// Judges an input, and all that comes of it by small changes.
///
/// # Panics
/// Where somebody is let in who should not be, or as somebody else.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let token = match text.split_once('\n') {
        None => Cow::Borrowed(text),
        Some((header, claims)) => Cow::Owned(sign(header, claims)),
    };
    for issuer in [Some(ISSUER), None] {
        let policy = policy(issuer);
        let verdict = judge(&policy, &token);
        assert_eq!(check_verdict(&verdict), Ok(()), "beyond the bounds: {verdict:?}");
        let Verdict::Identity(identity) = verdict else { continue };
        is_signed(&token);
        is_good(&token, &identity, issuer);
        for altered in altered(&token) {
            let verdict = judge(&policy, &altered);
            assert!(!matches!(verdict, Verdict::Identity(_)), "{altered} is taken for {token}");
        }
    }
}

fn policy(issuer: Option<&str>) -> Jwt {
    let mut config = serde_json::json!({ "keys": ["session"], "algorithms": ["HS256"] });
    if let Some(issuer) = issuer {
        config["issuer"] = issuer.into();
    }
    Jwt::configure_json("jwt", &config.to_string()).expect("the settings are good").0
}

fn judge(policy: &Jwt, token: &str) -> Verdict {
    let credential = Credential { scheme: Scheme::Bearer, value: token };
    key_holder().authenticate(policy, &tool("greet"), &credential)
}

fn sign(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac(message.as_bytes())))
}

fn mac(message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message)
}

fn is_signed(token: &str) {
    let (message, signature) = token.rsplit_once('.').expect("a token has parts");
    assert_eq!(signature, URL_SAFE_NO_PAD.encode(mac(message.as_bytes())), "nobody has signed {token}");
}

/// Checks by other means that the token lets its bearer in.
fn is_good(token: &str, identity: &Identity, issuer: Option<&str>) {
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
        String::from_utf8(bytes).unwrap_or_default()
    });
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for text in [&header, &claims] {
        assert_eq!(scan(text).twice, None, "a member stands there twice: {text}");
    }
    let header: Value = serde_json::from_str(&header).expect("the header is JSON");
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none());

    let document: Value = serde_json::from_str(&claims).expect("the claims are JSON");
    let number = |name: &str| document[name].as_f64();
    let now = NOW as f64;
    assert!(number("exp").expect("a token ends") + LEEWAY > now, "it has expired");
    assert!(number("nbf").is_none_or(|start| start <= now + LEEWAY), "it is not good yet");
    assert!(number("iat").is_none_or(|start| start <= now + LEEWAY), "it is not issued yet");
    let is_ours = |value: &Value| *value == AUDIENCE;
    let audience = &document["aud"];
    assert!(is_ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_ours)));
    assert!(issuer.is_none_or(|issuer| document["iss"] == issuer), "another's: {}", document["iss"]);
    assert!(document["cnf"].is_null(), "it is bound to a key");

    let named = ["sub", "client_id", "azp"].map(|name| document[name].as_str());
    assert_eq!(named.into_iter().flatten().next(), Some(identity.subject.as_str()));
    assert_eq!(identity.issuer.as_deref(), document["iss"].as_str());
    assert_eq!(identity.claims.as_deref(), Some(claims.as_str()));
    assert!(identity.expires_at.expect("an identity ends") as f64 <= number("exp").unwrap() + LEEWAY);
}

/// The token with one character another, one less or one more, and unsigned.
pub(crate) fn altered(token: &str) -> Vec<String> {
    let place = digest::digest(&digest::SHA256, token.as_bytes()).as_ref()[0];
    let places = [0, token.len() / 3, token.len() / 2, usize::from(place) % token.len(), token.len() - 1];
    let mut altered: Vec<String> = places
        .into_iter()
        .map(|at| {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &token[..at], &token[at + 1..])
        })
        .collect();
    // Of the digits that stand for one last byte, only one is canonical.
    let (rest, last) = token.split_at(token.len() - 1);
    let next = char::from(last.as_bytes()[0].wrapping_add(1));
    altered.extend([format!("{rest}{next}"), rest.to_owned(), format!("{token}=")]);
    altered.extend([format!("{token}A"), format!(" {token}"), format!("{token} ")]);
    let (message, _) = token.rsplit_once('.').expect("a token has parts");
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let claims = message.split_once('.').map_or("", |(_, claims)| claims);
    altered.extend([message.to_owned(), format!("{message}."), format!("{unsigned}.{claims}.")]);
    altered
}

/// A host that holds the one key `session`.
fn key_holder() -> FakeHost {
    FakeHost::new().at(NOW).audience(AUDIENCE).key_that("session", |signed| match signed.algorithm {
        Algorithm::Hs256 if mac(signed.message).as_ref() == signed.signature => Ok(()),
        Algorithm::Hs256 => Err(VerifyError::BadSignature),
        _ => Err(VerifyError::AlgorithmMismatch),
    })
}
