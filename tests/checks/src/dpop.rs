//! The judgement on proofs of possession (DPoP).
//!
//! An input of one line is a proof as a caller shows it. Of more lines, the first is the header and
//! the rest the claims, with `"JWK"` and `"ATH"` for the right key and digest, and both are signed
//! here, so that what comes after the signature is reached as well. No proof is good but one that
//! its key has signed, whole and untouched, for this method, URL, time and token.

use std::borrow::Cow;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use witgate_flow::dpop::examine;

use crate::jwt::altered;
use crate::scan::scan;

const NOW: u64 = 2_000_000_000;
const URL: &str = "https://mcp.example.com/mcp";
const TOKEN: &str = "token";

/// Judges an input, and all that comes of it by small changes.
///
/// # Panics
/// Where a proof is good that should not be, or of another key.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let proof = match text.split_once('\n') {
        None => Cow::Borrowed(text),
        Some((header, claims)) => Cow::Owned(sign(header, claims)),
    };
    let Ok(thumbprint) = examine(&proof, URL, TOKEN, NOW) else { return };
    is_good(&proof, &thumbprint);
    for altered in altered(&proof) {
        assert!(examine(&altered, URL, TOKEN, NOW).is_err(), "{altered} is taken for {proof}");
    }
    assert!(examine(&proof, URL, "another token", NOW).is_err(), "for another token");
    assert!(examine(&proof, "https://mcp.example.com/other", TOKEN, NOW).is_err(), "for another resource");
    for other in [NOW - 601, NOW + 601] {
        assert!(examine(&proof, URL, TOKEN, other).is_err(), "at another time");
    }
}

/// Checks the content of the proof by other means.
fn is_good(proof: &str, thumbprint: &str) {
    let mut parts = proof.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
        String::from_utf8(bytes).unwrap_or_default()
    });
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for text in [&header, &claims] {
        assert_eq!(scan(text).twice, None, "a member stands there twice: {text}");
    }
    let header: Value = serde_json::from_str(&header).expect("the header is JSON");
    assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
    assert!(header.get("crit").is_none());
    for name in ["x", "y", "crv", "kty"] {
        assert_eq!(header["jwk"][name], holder().jwk[name], "nobody else signs here");
    }
    assert!(header["jwk"].get("d").is_none() && header["jwk"].get("k").is_none(), "a private key");
    assert_eq!(thumbprint, holder().thumbprint);

    let claims: Value = serde_json::from_str(&claims).expect("the claims are JSON");
    assert_eq!(claims["htm"], "POST");
    assert_eq!(claims["ath"], encoded_digest(TOKEN));
    assert!(!claims["jti"].as_str().expect("a jti").is_empty());
    assert!((claims["iat"].as_f64().expect("an iat") - NOW as f64).abs() <= 301.0);
    let url = claims["htu"].as_str().expect("an htu").to_ascii_lowercase();
    assert!(url.starts_with("https://mcp.example.com"), "{url}");
}

/// The holder of the key, made once.
struct Holder {
    key: EcdsaKeyPair,
    jwk: Value,
    thumbprint: String,
}

fn holder() -> &'static Holder {
    static HOLDER: OnceLock<Holder> = OnceLock::new();
    HOLDER.get_or_init(|| {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random numbers");
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638, section 3.
        let thumbprint = encoded_digest(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
        Holder { key, jwk: json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }), thumbprint }
    })
}

fn sign(header: &str, claims: &str) -> String {
    let header = header.replace(r#""JWK""#, &holder().jwk.to_string());
    let claims = claims.replace(r#""ATH""#, &format!(r#""{}""#, encoded_digest(TOKEN)));
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = holder().key.sign(&SystemRandom::new(), message.as_bytes()).expect("random numbers");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn encoded_digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}
