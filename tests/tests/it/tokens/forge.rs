//! Signers, and the composition of tokens from any parts.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub(super) const NOW: u64 = 2_000_000_000;
pub(super) const ISSUER: &str = "https://idp.example.com";
pub(super) const AUDIENCE: &str = "https://mcp.example.com/mcp";
/// The secret protects nothing.
pub(super) const SECRET: &str = "a secret of the host that is long enough";

/// The issuer's keys, made anew in each run.
pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);

/// Keys that no issuer publishes.
pub(super) static OTHERS: LazyLock<Keys> = LazyLock::new(Keys::generate);

pub(super) struct Keys {
    pub(super) p256: EcdsaKeyPair,
    pub(super) p384: EcdsaKeyPair,
    pub(super) ed: Ed25519KeyPair,
    pub(super) rsa: RsaKeyPair,
}

impl Keys {
    fn generate() -> Self {
        Self {
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// A signature by the algorithm of this name, whatever a header says.
    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            "RS256" => self.rsa(&RSA_PKCS1_SHA256, message),
            "PS256" => self.rsa(&RSA_PSS_SHA256, message),
            "HS256" => mac(SECRET.as_bytes(), message),
            other => panic!("nobody signs by {other}"),
        }
    }

    fn rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// The public key of an algorithm, as DER writes it (RFC 5280).
    pub(super) fn der(&self, algorithm: &str) -> Vec<u8> {
        match algorithm {
            "ES256" => {
                AsDer::<PublicKeyX509Der<'_>>::as_der(self.p256.public_key()).unwrap().as_ref().to_vec()
            }
            _ => AsDer::<PublicKeyX509Der<'_>>::as_der(self.rsa.public_key()).unwrap().as_ref().to_vec(),
        }
    }

    /// The public key of an algorithm as a JWK, whose id is the algorithm's name.
    pub(super) fn jwk(&self, algorithm: &str) -> Value {
        match algorithm {
            "ES256" => curve("P-256", "ES256", self.p256.public_key().as_ref()),
            "ES384" => curve("P-384", "ES384", self.p384.public_key().as_ref()),
            "EdDSA" => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": "EdDSA", "x": b64(self.ed.public_key().as_ref()) })
            }
            _ => {
                let key = self.rsa.public_key();
                let number = |bytes: &[u8]| b64(bytes);
                json!({
                    "kty": "RSA", "kid": "RS256",
                    "n": number(key.modulus().big_endian_without_leading_zero()),
                    "e": number(key.exponent().big_endian_without_leading_zero()),
                })
            }
        }
    }
}

fn curve(name: &str, kid: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at(point.len() / 2);
    json!({ "kty": "EC", "crv": name, "kid": kid, "x": b64(x), "y": b64(y) })
}

/// The issuer's set: one key for each of four algorithms. `PS256` is for the RSA one as well.
pub(super) fn set() -> Value {
    let keys = ["ES256", "ES384", "EdDSA", "RS256"].map(|algorithm| KEYS.jwk(algorithm));
    json!({ "keys": keys })
}

/// The header of a good token.
pub(super) fn header(algorithm: &str) -> Value {
    let kid = if algorithm == "PS256" { "RS256" } else { algorithm };
    match algorithm {
        "HS256" => json!({ "alg": algorithm, "typ": "JWT" }),
        _ => json!({ "alg": algorithm, "typ": "JWT", "kid": kid }),
    }
}

/// The claims of a good token.
pub(super) fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 300, "iat": NOW - 10 })
}

/// `object` with `changes`; `null` takes a member out.
pub(super) fn changed(mut object: Value, changes: &Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    object
}

/// A valid token, signed with the issuer's own key.
pub(super) fn good(algorithm: &str) -> String {
    token(&KEYS, algorithm, &header(algorithm), &claims())
}

/// A token with another header, signed by the issuer's ES256.
pub(super) fn with_header(changes: &Value) -> String {
    token(&KEYS, "ES256", &changed(header("ES256"), changes), &claims())
}

/// A token with other claims, signed by the issuer's ES256.
pub(super) fn with_claims(changes: &Value) -> String {
    token(&KEYS, "ES256", &header("ES256"), &changed(claims(), changes))
}

/// A token whose payload is this text, signed by the issuer's ES256.
pub(super) fn with_payload(text: impl AsRef<[u8]>) -> String {
    signed(&KEYS, "ES256", header("ES256").to_string().as_bytes(), text.as_ref())
}

/// A token whose header is this text, signed by the issuer's ES256.
pub(super) fn with_header_text(text: &str) -> String {
    signed(&KEYS, "ES256", text.as_bytes(), claims().to_string().as_bytes())
}

pub(super) fn token(keys: &Keys, algorithm: &str, header: &Value, claims: &Value) -> String {
    signed(keys, algorithm, header.to_string().as_bytes(), claims.to_string().as_bytes())
}

fn signed(keys: &Keys, algorithm: &str, header: &[u8], payload: &[u8]) -> String {
    let message = format!("{}.{}", b64(header), b64(payload));
    let signature = b64(&keys.sign(algorithm, message.as_bytes()));
    format!("{message}.{signature}")
}

/// A token with a signature that `make` makes of the message.
pub(super) fn with_signature(header: &Value, make: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims().to_string().as_bytes()));
    let signature = b64(&make(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The three parts of a token.
pub(super) fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

pub(super) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn mac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// `BEGIN PUBLIC KEY`, with or without the last line's end.
pub(super) fn pem(der: &[u8], end: &str) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----{end}", lines.join("\n"))
}
