//! The parse of JWK Sets.
//!
//! What is accepted has a key that is for signatures; nothing of a public set is a shared secret;
//! and whatever the keys are, a signature that nobody made does not pass for one of an HMAC.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::Value;
use witgate_plugin::{Algorithm, SignedMessage, VerifyError};
use witgate_services::keys::{Key, KeySet, Keyring};

/// Algorithms whose key is a shared secret.
const MACS: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

/// The others.
const OTHERS: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

/// Parses an input, and tries signatures on the keys in it.
///
/// # Panics
/// Where a set without a key to verify with is accepted, or an HMAC is checked with a public key.
pub fn check(data: &[u8]) {
    let Ok(set) = KeySet::parse(data, 0) else { return };
    let document: Value = serde_json::from_slice(data).expect("what is accepted is JSON");
    let keys = document["keys"].as_array().expect("a set has keys");
    assert!(keys.iter().any(may_verify), "no key of it is for signatures");

    let mut ids: Vec<Option<&str>> = keys.iter().map(|key| key["kid"].as_str()).collect();
    ids.push(None);
    assert!(!set.has("an id that nobody gives {"), "it has every id");
    let ring = Keyring::new(HashMap::from([("set".to_owned(), Arc::new(Key::Fixed(Arc::new(set))))]));
    for id in ids {
        for algorithm in MACS {
            let verdict = verify(&ring, algorithm, id, &hmac_with_everything_public(algorithm, keys));
            assert!(
                verdict.iter().all(Result::is_err),
                "{algorithm:?} was checked with a public key: {verdict:?}"
            );
        }
        for algorithm in OTHERS {
            verify(&ring, algorithm, id, &[Vec::new(), vec![0; 64], vec![0; 96], vec![1; 256]]);
        }
    }
    let signed = SignedMessage { algorithm: Algorithm::Rs256, key_id: None, message: b"m", signature: b"s" };
    let other = ring.verify("another", &signed, None).now_or_never();
    assert_eq!(other, Some(Err(VerifyError::UnknownKey)));
}

/// As RFC 7517, sections 4.2 and 4.3, read on the text itself.
fn may_verify(key: &Value) -> bool {
    let asymmetric = matches!(key["kty"].as_str(), Some("RSA" | "EC" | "OKP"));
    let usage = key["use"].as_str().is_none_or(|usage| usage == "sig");
    let operations = key["key_ops"].as_array().is_none_or(|all| all.iter().any(|one| one == "verify"));
    asymmetric && usage && operations
}

const MESSAGE: &[u8] = b"a message that nobody signed";

fn verify(
    ring: &Keyring,
    algorithm: Algorithm,
    key_id: Option<&str>,
    signatures: &[Vec<u8>],
) -> Vec<Result<(), VerifyError>> {
    let one = |signature: &Vec<u8>| {
        let signed = SignedMessage { algorithm, key_id, message: MESSAGE, signature };
        ring.verify("set", &signed, None).now_or_never().expect("a set that is there makes nobody wait")
    };
    signatures.iter().map(one).collect()
}

/// The signatures that an attacker could make who takes a part of the public set for the secret.
fn hmac_with_everything_public(algorithm: Algorithm, keys: &[Value]) -> Vec<Vec<u8>> {
    use aws_lc_rs::hmac;
    let family = match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let decode = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
    };
    let parts = keys.iter().filter_map(Value::as_object).flat_map(|key| key.values());
    let texts = parts.filter_map(Value::as_str).take(16);
    let secrets = texts.flat_map(|text| [text.as_bytes().to_vec(), decode(text)]).chain([Vec::new()]);
    let sign = |secret: Vec<u8>| {
        let key = hmac::Key::new(family, &secret);
        hmac::sign(&key, MESSAGE).as_ref().to_vec()
    };
    secrets.map(sign).collect()
}
