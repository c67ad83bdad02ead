//! Holders of keys, and the proofs that they make (DPoP, RFC 9449), good and bad.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::KeyPair;
use serde_json::{Map, Value, json};

/// Somebody who holds a P-256 key.
pub struct Holder {
    key: EncodingKey,
    /// The private part, `d` of a JWK.
    private: String,
    jwk: Value,
}

impl Default for Holder {
    fn default() -> Self {
        Self::new()
    }
}

impl Holder {
    /// One with a new key.
    pub fn new() -> Self {
        let pair = KeyPair::generate().unwrap();
        let pkcs8 = pair.serialize_der();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) });
        Self { key: EncodingKey::from_ec_der(&pkcs8), private: encoded(&pkcs8[36..68]), jwk }
    }

    /// The public key (RFC 7517).
    pub fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    /// The same with the private part in it.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.jwk();
        jwk["d"] = self.private.as_str().into();
        jwk
    }

    /// Its thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> String {
        let text = |name: &str| self.jwk[name].as_str().unwrap().to_owned();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, text("x"), text("y"));
        sha256(canonical.as_bytes())
    }

    /// A good proof for a POST to `url` with `token`, made now.
    pub fn proof(&self, url: &str, token: &str) -> Proof<'_> {
        let mut header = Map::new();
        header.insert("typ".to_owned(), "dpop+jwt".into());
        header.insert("alg".to_owned(), "ES256".into());
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
        jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256).unwrap()
    }
}

/// A proof that is being made.
#[derive(Clone)]
pub struct Proof<'a> {
    holder: &'a Holder,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Proof<'_> {
    /// With another member of the header; null: without it.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// With another claim; null: without it.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// Signed.
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
    /// Header and claims as they stand, signed.
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

/// Base64url without padding.
pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The time, in seconds since the Unix epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
