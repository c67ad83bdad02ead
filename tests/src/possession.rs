//! Holders of keys, and the proofs that they make (DPoP, RFC 9449), valid and invalid.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Map, Value, json};

/// A holder of a key.
pub struct Holder {
    /// `alg` of the holder's signatures.
    name: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: BTreeMap<&'static str, String>,
}

impl Default for Holder {
    fn default() -> Self {
        Self::new()
    }
}

impl Holder {
    /// A holder with a new P-256 key.
    pub fn new() -> Self {
        Self::of("ES256")
    }

    /// A holder with a new key for the algorithm of this JOSE name.
    pub fn of(name: &'static str) -> Self {
        let algorithm = match name {
            "Ed25519" => Algorithm::EdDSA,
            other => other.parse().unwrap(),
        };
        let pair = match name {
            "ES256" => KeyPair::generate(),
            "ES384" => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            "EdDSA" | "Ed25519" => KeyPair::generate_for(&PKCS_ED25519),
            _ => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let (key, jwk) = parts(&pair.unwrap());
        Self { name, algorithm, key, jwk }
    }

    /// The public key (RFC 7517).
    pub fn jwk(&self) -> Value {
        json!(self.jwk)
    }

    /// The public key with a private part in it, which is invalid.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.jwk();
        jwk["d"] = encoded(&[7; 32]).into();
        jwk
    }

    /// The thumbprint of the key (RFC 7638).
    pub fn thumbprint(&self) -> String {
        // The thumbprint covers the required members, in the order of their names.
        sha256(json!(self.jwk).to_string().as_bytes())
    }

    /// A valid proof for a POST to `url` with `token`, made now.
    pub fn proof(&self, url: &str, token: &str) -> Proof<'_> {
        let mut header = Map::new();
        header.insert("typ".to_owned(), "dpop+jwt".into());
        header.insert("alg".to_owned(), self.name.into());
        header.insert("jwk".to_owned(), self.jwk());
        let claims = json!({
            "jti": unique(),
            "htm": "POST",
            "htu": url,
            "iat": now(),
            "ath": sha256(token.as_bytes()),
        });
        let Value::Object(claims) = claims else { unreachable!("an object") };
        Proof { holder: self, header, claims }
    }

    fn sign(&self, message: &str) -> String {
        jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap()
    }
}

/// The key, and the required members of its public JWK.
fn parts(pair: &KeyPair) -> (EncodingKey, BTreeMap<&'static str, String>) {
    let (pem, raw) = (pair.serialize_pem(), pair.public_key_raw());
    let point = |curve: &str| {
        let (x, y) = raw[1..].split_at(raw.len() / 2);
        let point =
            [("kty", "EC".to_owned()), ("crv", curve.to_owned()), ("x", encoded(x)), ("y", encoded(y))];
        (EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), point.into())
    };
    match raw.len() {
        32 => {
            let point = [("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", encoded(raw))];
            (EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(), point.into())
        }
        65 => point("P-256"),
        97 => point("P-384"),
        _ => {
            let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
            let jwk = json!(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap());
            let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
            (key, [("kty", text("kty")), ("n", text("n")), ("e", text("e"))].into())
        }
    }
}

/// A proof before its signature.
#[derive(Clone)]
pub struct Proof<'a> {
    holder: &'a Holder,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Proof<'_> {
    /// Replaces a member of the header; null removes it.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// Replaces a claim; null removes it.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// The signed proof.
    pub fn signed(&self) -> String {
        let header = Value::Object(self.header.clone()).to_string();
        self.holder.signed(&header, &Value::Object(self.claims.clone()).to_string())
    }

    /// The claims, as text.
    pub fn claims(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }

    /// The header, as text.
    pub fn head(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }
}

impl Holder {
    /// Signs header and claims as they are.
    pub fn signed(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()));
        let signature = self.sign(&message);
        format!("{message}.{signature}")
    }
}

fn set(members: &mut Map<String, Value>, name: &str, value: Value) {
    match value {
        Value::Null => drop(members.remove(name)),
        value => drop(members.insert(name.to_owned(), value)),
    }
}

/// SHA-256 in base64url.
pub fn sha256(bytes: &[u8]) -> String {
    encoded(digest(&SHA256, bytes).as_ref())
}

/// Encodes in base64url without padding.
pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The present time, in seconds since the Unix epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
