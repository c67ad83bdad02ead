//! Faulty key sets: keys in them that must not be used, each with a signature that would fit.

use serde_json::{Value, json};

use super::forge::{KEYS, OTHERS, SECRET, b64, changed, claims, header, mac, sha256, token, with_signature};
use super::{Attack, Policy, forge, jwks};

/// The kid of the key that must not be used.
const BAD: &str = "bad";

pub(super) fn attacks() -> Vec<Attack> {
    [not_for_this(), no_keys(), doubles()].into_iter().flatten().collect()
}

/// The issuer's set with this key in front.
fn beside(key: &Value) -> Policy {
    let mut set = forge::set();
    set["keys"].as_array_mut().unwrap().insert(0, changed(key.clone(), &json!({ "kid": BAD })));
    Policy::public().key("set", jwks(&set))
}

/// Valid keys that are for another use.
fn not_for_this() -> Vec<Attack> {
    let changes = [
        ("ES256", "for encryption", json!({ "use": "enc" })),
        ("ES256", "for something new", json!({ "use": "tls" })),
        ("ES256", "for signing only", json!({ "key_ops": ["sign"] })),
        ("ES256", "for agreeing on keys", json!({ "key_ops": ["deriveKey"] })),
        ("ES256", "for nothing", json!({ "key_ops": [] })),
        ("ES256", "for one operation twice", json!({ "key_ops": ["verify", "verify"] })),
        (
            "ES256",
            "for two things that contradict each other",
            json!({ "use": "sig", "key_ops": ["verify", "encrypt"] }),
        ),
        ("ES256", "with its private part", json!({ "d": "AAAA" })),
        ("RS256", "with its primes", json!({ "p": "AAAA", "q": "AAAA" })),
        ("EdDSA", "with its private part", json!({ "d": "AAAA" })),
        ("ES256", "for another algorithm", json!({ "alg": "ES384" })),
        ("ES256", "for an HMAC", json!({ "alg": "HS256" })),
        ("RS256", "for encryption by its algorithm", json!({ "alg": "RSA-OAEP-256" })),
        ("ES256", "of another curve by its name", json!({ "crv": "P-384" })),
        ("ES256", "of another type by its name", json!({ "kty": "OKP" })),
        ("EdDSA", "of another curve by its name", json!({ "crv": "X25519" })),
    ];
    changes
        .into_iter()
        .map(|(alg, name, changes)| {
            let policy = beside(&changed(OTHERS.jwk(alg), &changes));
            let header = json!({ "alg": alg, "kid": BAD });
            let token = token(&OTHERS, alg, &header, &claims());
            Attack::refused(&policy, format!("a key of {alg} {name}"), token, "unknown-key")
        })
        .chain([
            Attack::good(&beside(&OTHERS.jwk("ES256")), "good: that key as it should be", {
                token(&OTHERS, "ES256", &json!({ "alg": "ES256", "kid": BAD }), &claims())
            }),
            Attack::refused(
                &beside(&changed(OTHERS.jwk("RS256"), &json!({ "alg": "PS256" }))),
                "RS256 with a key for PS256 alone",
                token(&OTHERS, "RS256", &json!({ "alg": "RS256", "kid": BAD }), &claims()),
                "algorithm",
            ),
        ])
        .collect()
}

/// Texts that are no keys, and keys that everybody can sign with.
fn no_keys() -> Vec<Attack> {
    let ones = KEYS.jwk("ES256");
    let secret = json!({ "kty": "oct", "k": b64(SECRET.as_bytes()) });
    let keys = [
        ("a point that is not on the curve", changed(ones.clone(), &json!({ "y": b64(&[1; 32]) }))),
        ("the point at infinity", changed(ones.clone(), &json!({ "x": b64(&[0; 32]), "y": b64(&[0; 32]) }))),
        ("coordinates that are too short", changed(ones.clone(), &json!({ "x": b64(&[1; 31]) }))),
        ("coordinates that are too long", changed(ones, &json!({ "x": b64(&[1; 33]) }))),
        ("an RSA key of 1024 bits", json!({ "kty": "RSA", "e": "AQAB", "n": b64(&[0xff; 128]) })),
        ("an RSA key of 16384 bits", json!({ "kty": "RSA", "e": "AQAB", "n": b64(&[0xff; 2048]) })),
        ("an RSA key with an even exponent", json!({ "kty": "RSA", "e": b64(&[2]), "n": b64(&[0xff; 256]) })),
    ];
    let guessed = |key: &Value| {
        let alg = if key["kty"] == "RSA" { "RS256" } else { "ES256" };
        token(&KEYS, alg, &json!({ "alg": alg, "kid": BAD }), &claims())
    };
    let of_everybody = [
        (
            "RS256",
            "an RSA key with the exponent one",
            json!({ "kty": "RSA", "e": b64(&[1]), "n": b64(&[0xff; 256]) }),
            padded as fn(&[u8]) -> Vec<u8>,
        ),
        (
            "EdDSA",
            "the neutral element of Ed25519",
            json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(&neutral()) }),
            |_| [neutral(), vec![0; 32]].concat(),
        ),
    ];
    let secret_policy = beside(&secret).with("algorithms", json!(["HS256"]));
    let with_secret =
        with_signature(&json!({ "alg": "HS256", "kid": BAD }), |message| mac(SECRET.as_bytes(), message));
    keys.iter()
        .map(|(name, key)| {
            Attack::refused(&beside(key), format!("a set with {name}"), guessed(key), "unknown-key")
        })
        .chain(of_everybody.map(|(alg, name, key, sign)| {
            let token = with_signature(&json!({ "alg": alg, "kid": BAD }), sign);
            Attack::refused(&beside(&key), format!("a set with {name}"), token, "unknown-key")
        }))
        .chain([Attack::refused(&secret_policy, "a set with a shared secret", with_secret, "unknown-key")])
        .collect()
}

/// The text that an RSA signature by RS256 is a power of (RFC 8017, section 9.2).
fn padded(message: &[u8]) -> Vec<u8> {
    const SHA256: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0x04, 0x20,
    ];
    let hash = sha256(message);
    [&[0, 1][..], &[0xff; 202], &[0], &SHA256, &hash].concat()
}

fn neutral() -> Vec<u8> {
    [&[1][..], &[0; 31]].concat()
}

/// Two keys with one id: each is valid, and neither verifies tokens of the other.
fn doubles() -> Vec<Attack> {
    let policy = beside(&changed(OTHERS.jwk("ES256"), &json!({})));
    let mut set = forge::set();
    set["keys"].as_array_mut().unwrap().push(changed(OTHERS.jwk("RS256"), &json!({ "kid": "ES256" })));
    let double = Policy::public().key("set", jwks(&set));
    let both = [("ES256", &*KEYS), ("RS256", &*OTHERS)].map(|(alg, keys)| {
        let token = token(keys, alg, &json!({ "alg": alg, "kid": "ES256" }), &claims());
        Attack::good(&double, format!("good: {alg} by one of two keys of one id"), token)
    });
    let crossed = [("ES256", &*OTHERS), ("RS256", &*KEYS)].map(|(alg, keys)| {
        let token = token(keys, alg, &json!({ "alg": alg, "kid": "ES256" }), &claims());
        Attack::refused(&double, format!("{alg} by neither of two keys of one id"), token, "bad-signature")
    });
    let crossed_id = Attack::refused(
        &policy,
        "a key under another's id",
        token(&OTHERS, "ES256", &header("ES256"), &claims()),
        "bad-signature",
    );
    both.into_iter().chain(crossed).chain([crossed_id]).collect()
}
