use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::jwk::{self, SkipReason};
use super::{KeyError, KeySet, MOST_KEYS};

/// A point of P-256.
fn ec() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": "ec",
        "x": "ffK_8gbFJ_ihatK7j8CsM6Qb2y659L4YYz2zkxNVj1c",
        "y": "YTLfLsnvDwy-4TqKZMkNcS-y3p3i_3UmEKS9H-bxE_E",
    })
}

fn rsa(bits: usize) -> Value {
    let mut n = vec![0xff; bits.div_ceil(8)];
    if let Some(first) = n.first_mut().filter(|_| !bits.is_multiple_of(8)) {
        *first = 0xff >> (8 - bits % 8);
    }
    json!({ "kty": "RSA", "kid": "rsa", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(n) })
}

fn ed() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "HNjkz3TKUo5Y8yfTvEOv5oCCdZK6cJ9PDahBGEepyYQ" })
}

fn with(mut key: Value, changes: Value) -> Value {
    let members = key.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
    }
    key
}

fn set(keys: &[Value]) -> Result<KeySet, KeyError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), 0)
}

#[test]
fn keys_are_used_as_they_declare() {
    for (key, algorithms) in [
        (ec(), "[ES256]"),
        (ed(), "[EdDSA]"),
        (rsa(2048), "[RS256, RS384, RS512, PS256, PS384, PS512]"),
        (rsa(8192), "[RS256, RS384, RS512, PS256, PS384, PS512]"),
        (with(rsa(2048), json!({ "alg": "PS256" })), "[PS256]"),
        (with(ed(), json!({ "alg": "Ed25519" })), "[EdDSA]"),
        (with(ec(), json!({ "use": "sig", "alg": "ES256" })), "[ES256]"),
        (with(ec(), json!({ "key_ops": ["verify"] })), "[ES256]"),
        (with(ec(), json!({ "key_ops": ["verify", "of another kind"], "use": "sig" })), "[ES256]"),
        (with(ec(), json!({ "use": null, "key_ops": null, "alg": null, "d": null, "kid": null })), "[ES256]"),
        (with(ec(), json!({ "x5c": ["what is not looked at"], "ext": true })), "[ES256]"),
    ] {
        let read = jwk::read(&key.to_string()).unwrap_or_else(|why| panic!("{key}: {why}"));
        assert_eq!(format!("{:?}", read.algorithms), algorithms, "{key}");
    }
}

#[test]
fn a_key_that_contradicts_its_declaration_is_ignored() {
    use SkipReason::{Algorithm, Malformed, NoKey, NotStrict, OtherUse, Private, RsaSize, Unsupported};
    let one = URL_SAFE_NO_PAD.encode([1]);
    let zeros = URL_SAFE_NO_PAD.encode([0; 32]);
    for (key, why) in [
        (json!("text"), NotStrict),
        (json!([]), NotStrict),
        (json!({}), Unsupported),
        // What is secret, in public.
        (with(ec(), json!({ "d": "AAAA" })), Private),
        (with(rsa(2048), json!({ "p": "AAAA" })), Private),
        (with(ed(), json!({ "d": "AAAA" })), Private),
        (json!({ "kty": "oct", "k": "YSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaCBmb3IgdXM" }), Private),
        (json!({ "kty": "oct", "kid": "without its value" }), Unsupported),
        // Types and curves.
        (with(ec(), json!({ "kty": "ec" })), Unsupported),
        (with(ec(), json!({ "kty": 5 })), Malformed("kty")),
        (with(ec(), json!({ "kty": "OKP" })), Unsupported),
        (with(ec(), json!({ "kty": "RSA" })), Malformed("n")),
        (with(ec(), json!({ "crv": "P-384" })), Malformed("x")),
        (with(ec(), json!({ "crv": "P-521" })), Unsupported),
        (with(ec(), json!({ "crv": "secp256k1" })), Unsupported),
        (with(ec(), json!({ "crv": "Ed25519" })), Unsupported),
        (with(ed(), json!({ "crv": "X25519" })), Unsupported),
        (with(ed(), json!({ "crv": "Ed448" })), Unsupported),
        (with(ed(), json!({ "x": one })), Malformed("x")),
        // Points and numbers.
        (with(ec(), json!({ "y": zeros })), NoKey),
        (with(ec(), json!({ "x": zeros, "y": zeros })), NoKey),
        (with(ec(), json!({ "x": "fQ" })), Malformed("x")),
        (with(ec(), json!({ "y": "YTLfLsnvDwy-4TqKZMkNcS-y3p3i_3UmEKS9H-bxE_E=" })), Malformed("y")),
        (with(ec(), json!({ "x": "ffK/8gbFJ/ihatK7j8CsM6Qb2y659L4YYz2zkxNVj1c" })), Malformed("x")),
        (with(rsa(2048), json!({ "e": one })), NoKey),
        (with(rsa(2048), json!({ "e": "Ag" })), NoKey),
        (with(rsa(2048), json!({ "e": "" })), NoKey),
        (rsa(1024), RsaSize(1024)),
        (rsa(2047), RsaSize(2047)),
        (rsa(8193), RsaSize(8193)),
        (rsa(0), RsaSize(0)),
        // Uses.
        (with(ec(), json!({ "use": "enc" })), OtherUse),
        (with(ec(), json!({ "use": "SIG" })), OtherUse),
        (with(ec(), json!({ "use": ["sig"] })), Malformed("use")),
        (with(ec(), json!({ "key_ops": [] })), OtherUse),
        (with(ec(), json!({ "key_ops": ["sign"] })), OtherUse),
        (with(ec(), json!({ "key_ops": ["verify", "verify"] })), Malformed("key_ops")),
        (with(ec(), json!({ "key_ops": ["verify", 5] })), Malformed("key_ops")),
        (with(ec(), json!({ "key_ops": "verify" })), Malformed("key_ops")),
        (with(ec(), json!({ "use": "sig", "key_ops": ["verify", "wrapKey"] })), OtherUse),
        (with(ec(), json!({ "use": "enc", "key_ops": ["verify"] })), OtherUse),
        // Algorithms.
        (with(ec(), json!({ "alg": "ES384" })), Algorithm),
        (with(ec(), json!({ "alg": "HS256" })), Algorithm),
        (with(ec(), json!({ "alg": "RS256" })), Algorithm),
        (with(ec(), json!({ "alg": "none" })), Algorithm),
        (with(ec(), json!({ "alg": "es256" })), Algorithm),
        (with(ec(), json!({ "alg": ["ES256"] })), Malformed("alg")),
        (with(rsa(2048), json!({ "alg": "RSA-OAEP" })), Algorithm),
        (with(ec(), json!({ "kid": 5 })), Malformed("kid")),
    ] {
        let text = key.to_string();
        assert_eq!(jwk::read(&text).map(|_| ()), Err(why), "{text}");
        // It never breaks the set that it is in.
        let kept = set(&[key, ec()]).unwrap();
        assert_eq!(kept.keys.len(), 1, "{text}");
    }
}

#[test]
fn a_key_with_a_duplicate_member_is_ignored() {
    let twice = ec().to_string().replacen("\"EC\"", "\"EC\",\"use\":\"enc\",\"use\":\"sig\"", 1);
    assert_eq!(jwk::read(&twice).map(|_| ()), Err(SkipReason::NotStrict));
    let text = format!("{{\"keys\":[{twice},{}]}}", ec());
    assert_eq!(KeySet::parse(text.as_bytes(), 0).unwrap().keys.len(), 1);
}

#[test]
fn an_empty_or_too_large_set_is_refused() {
    for text in
        ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}", "{\"keys\":[1]", "{\"Keys\":[]}"]
    {
        assert!(matches!(KeySet::parse(text.as_bytes(), 0), Err(KeyError::Jwks(_))), "{text}");
    }
    assert!(matches!(set(&[]), Err(KeyError::NoUsableKey(None))));
    let error = set(&[rsa(1024)]).unwrap_err().to_string();
    assert!(
        error.ends_with("of the first one, it is an RSA key of 1024 bits; it has to have 2048 to 8192"),
        "{error}"
    );
    assert!(set(&vec![ec(); MOST_KEYS]).is_ok());
    assert!(matches!(set(&vec![ec(); MOST_KEYS + 1]), Err(KeyError::TooManyKeys(_))));
}

#[test]
fn only_a_possibly_new_key_id_causes_a_fetch() {
    let named = set(&[ec(), with(rsa(2048), json!({ "kid": null }))]).unwrap();
    assert!(named.settles(Some("ec")) && named.settles(None) && !named.settles(Some("new")));
    let nameless = set(&[with(ec(), json!({ "kid": null }))]).unwrap();
    assert!(nameless.settles(Some("new")));
}

/// For each of them there is a message that the neutral element and zero sign: that is what makes them no keys.
#[test]
fn keys_that_anyone_can_sign_with_are_ignored() {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let mut signature = [0; 64];
    signature[0] = 1;
    for small in jwk::SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut point = small;
            point[31] |= sign;
            let key = with(ed(), json!({ "x": URL_SAFE_NO_PAD.encode(point) }));
            assert_eq!(jwk::read(&key.to_string()).map(|_| ()), Err(SkipReason::NoKey), "{point:?}");
        }
        let forges =
            |n: u32| UnparsedPublicKey::new(&ED25519, small).verify(&n.to_be_bytes(), &signature).is_ok();
        // Beyond the field, the library takes none itself.
        let is_canonical = small[0] < 0xed || small[31] != 0x7f;
        assert_eq!((0..200).any(forges), is_canonical, "{small:?}");
    }
}
