//! The keys that the host holds. A policy knows them by name only.

mod jwk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::RsaParameters;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm as Jose, DecodingKey};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use witgate_plugin::{Algorithm, Digest, Signed, VerifyError};

use super::jwks::RemoteJwks;
pub use jwk::PassedOver;

/// Maximum number of signatures that one policy remembers as good: 32 bytes each, so half a megabyte.
const REMEMBERED: usize = 10_000;

/// Shortest HMAC secret, in bytes (RFC 7518, section 3.2: as long as the hash of HS256).
pub const SHORTEST_SECRET: usize = 32;

/// Maximum number of keys in a set: issuers publish two or three. A token without a `kid` is tried with every
/// one, so this bounds what a token can cost.
pub const MOST_KEYS: usize = 100;

/// The keys that one policy may name.
#[derive(Debug)]
pub struct Keyring {
    keys: HashMap<String, Arc<Key>>,
    /// Signatures that were good: digests over key, algorithm, message and signature. It starts
    /// empty with each generation, so a changed key forgets them all.
    good: Cache<Digest, ()>,
}

impl Keyring {
    /// A ring of `keys`.
    pub fn new(keys: HashMap<String, Arc<Key>>) -> Self {
        Self { keys, good: Cache::new(REMEMBERED) }
    }

    /// Checks a signature with the key named `name`.
    ///
    /// # Errors
    /// With why it was not found good.
    pub async fn verify(&self, name: &str, signed: &Signed<'_>) -> Result<(), VerifyError> {
        let key = self.keys.get(name).ok_or(VerifyError::UnknownKey)?;
        let candidates = key.candidates(signed).await?;
        let fingerprint = fingerprint(name, candidates.version, signed);
        if self.good.get(&fingerprint).is_some() {
            return Ok(());
        }
        candidates.verify(signed)?;
        self.good.insert(fingerprint, ());
        Ok(())
    }
}

/// The fingerprint of a good signature. Each part is preceded by its length, so that no two different checks
/// share a fingerprint.
fn fingerprint(name: &str, version: u64, signed: &Signed<'_>) -> Digest {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let key_id = signed.key_id.unwrap_or_default().as_bytes();
    for part in [name.as_bytes(), key_id, signed.message, signed.signature] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(&version.to_be_bytes());
    hash.update(&[signed.algorithm as u8, u8::from(signed.key_id.is_some())]);
    let mut digest = Digest::default();
    for (byte, from) in digest.iter_mut().zip(hash.finish().as_ref()) {
        *byte = *from;
    }
    digest
}

/// A key, or a set of them.
#[derive(Debug)]
pub enum Key {
    /// One key, or a set that does not change within a generation.
    Fixed(Arc<KeySet>),
    /// A set that is fetched.
    Remote {
        /// The set.
        set: Arc<RemoteJwks>,
        /// Time for which the set is used beyond its lifetime while its server does not answer.
        max_stale: Duration,
    },
    /// A set that cannot be fetched: in a sandbox, where there is no network.
    Unavailable,
}

/// The error when a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Too short to be an HMAC secret.
    #[error("the secret has {0} bytes; an HMAC key needs at least {SHORTEST_SECRET} (RFC 7518, section 3.2)")]
    ShortSecret(usize),
    /// Not a public key in PEM.
    #[error("this is not a public key in PEM (`BEGIN PUBLIC KEY`) for RSA, P-256, P-384 or Ed25519")]
    Pem,
    /// An RSA key that is too small or too large.
    #[error("this is an RSA key of {0} bits; it has to have 2048 to 8192")]
    RsaSize(u32),
    /// Not a JWK Set.
    #[error("this is not a JWK Set (RFC 7517, section 5): {0}")]
    Jwks(String),
    /// A JWK Set that is too large.
    #[error("the JWK Set has {0} keys; at most {MOST_KEYS} are accepted")]
    TooManyKeys(usize),
    /// A JWK Set without a usable key.
    #[error("the JWK Set has no key that signs with a supported algorithm{}", passed_over(.0))]
    NoUsableKey(Option<PassedOver>),
}

fn passed_over(why: &Option<PassedOver>) -> String {
    why.map_or_else(String::new, |why| format!("; of the first one, {why}"))
}

impl Key {
    /// A shared secret.
    ///
    /// # Errors
    /// When it is too short.
    pub fn from_secret(secret: &SecretString) -> Result<Self, KeyError> {
        let bytes = secret.expose_secret().as_bytes();
        if bytes.len() < SHORTEST_SECRET {
            return Err(KeyError::ShortSecret(bytes.len()));
        }
        Ok(Self::one(vec![Jose::HS256, Jose::HS384, Jose::HS512], DecodingKey::from_secret(bytes)))
    }

    /// A public key in PEM.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &SecretString) -> Result<Self, KeyError> {
        let bytes = pem.expose_secret().as_bytes();
        if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
            return Self::from_rsa(key);
        }
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            // An uncompressed point: its length tells the curve.
            return match key.try_get_as_bytes().map_err(|_| KeyError::Pem)?.len() {
                65 => Ok(Self::one(vec![Jose::ES256], key)),
                97 => Ok(Self::one(vec![Jose::ES384], key)),
                _ => Err(KeyError::Pem),
            };
        }
        let key = DecodingKey::from_ed_pem(bytes).map_err(|_| KeyError::Pem)?;
        Ok(Self::one(vec![Jose::EdDSA], key))
    }

    fn from_rsa(key: DecodingKey) -> Result<Self, KeyError> {
        let der = key.try_get_as_bytes().map_err(|_| KeyError::Pem)?;
        let bits = RsaParameters::public_modulus_len(der).map_err(|_| KeyError::Pem)?;
        match jwk::RSA_BITS.contains(&(bits as usize)) {
            true => Ok(Self::one(jwk::RSA.to_vec(), key)),
            false => Err(KeyError::RsaSize(bits)),
        }
    }

    /// A JWK Set.
    ///
    /// # Errors
    /// When it is none, or has no usable key.
    pub fn from_jwks(text: &str) -> Result<Self, KeyError> {
        Ok(Self::Fixed(Arc::new(KeySet::parse(text.as_bytes(), 0)?)))
    }

    fn one(algorithms: Vec<Jose>, key: DecodingKey) -> Self {
        let key = VerifyingKey { id: None, algorithms, key };
        Self::Fixed(Arc::new(KeySet { version: 0, keys: vec![key] }))
    }

    async fn candidates(&self, signed: &Signed<'_>) -> Result<Arc<KeySet>, VerifyError> {
        match self {
            Self::Fixed(set) => Ok(Arc::clone(set)),
            Self::Unavailable => Err(VerifyError::Unavailable),
            Self::Remote { set, max_stale } => {
                set.current(signed.key_id, *max_stale).await.ok_or(VerifyError::Unavailable)
            }
        }
    }
}

/// Keys to try.
#[derive(Debug, Default)]
pub struct KeySet {
    /// Grows whenever a remote set changes.
    version: u64,
    keys: Vec<VerifyingKey>,
}

#[derive(Debug)]
struct VerifyingKey {
    id: Option<String>,
    /// The permitted algorithms of the key, by its type, its curve and its set. It keeps an HMAC from being
    /// checked with a public key.
    algorithms: Vec<Jose>,
    key: DecodingKey,
}

/// A JWK Set as it is written. What else is in it has no meaning here (RFC 7517, section 5).
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517). A key that is not for signatures, of an unknown type, or that
    /// cannot be read is passed over, as section 5 asks, and never breaks the set.
    ///
    /// # Errors
    /// When the text is no JWK Set, has too many keys, or no usable one.
    pub fn parse(text: &[u8], version: u64) -> Result<Self, KeyError> {
        let written: Written<'_> =
            serde_json::from_slice(text).map_err(|error| KeyError::Jwks(error.to_string()))?;
        if written.keys.len() > MOST_KEYS {
            return Err(KeyError::TooManyKeys(written.keys.len()));
        }
        let (mut keys, mut first) = (Vec::new(), None);
        for (number, jwk) in (1..).zip(&written.keys) {
            match jwk::read(jwk.get()) {
                Ok(key) => keys.push(key),
                Err(why) => {
                    first = first.or(Some(why));
                    tell(number, why);
                }
            }
        }
        match keys.is_empty() {
            true => Err(KeyError::NoUsableKey(first)),
            false => Ok(Self { version, keys }),
        }
    }

    /// True if a key of that id is in the set.
    pub fn has(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(key_id))
    }

    /// The ids of the keys that have one.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.id.as_deref())
    }

    /// True if fetching the set again could bring nothing about that id: the id is there, or nothing in the
    /// set has one.
    pub(super) fn settles(&self, key_id: Option<&str>) -> bool {
        key_id.is_none_or(|id| self.has(id)) || self.keys.iter().all(|key| key.id.is_none())
    }

    fn verify(&self, signed: &Signed<'_>) -> Result<(), VerifyError> {
        let algorithm = jose(signed.algorithm);
        let named: Vec<_> = self.keys.iter().filter(|key| key.answers_to(signed.key_id)).collect();
        if named.is_empty() {
            return Err(VerifyError::UnknownKeyId);
        }
        let mut fitting = named.into_iter().filter(|key| key.algorithms.contains(&algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err(VerifyError::AlgorithmMismatch);
        }
        let signature = signed.signature.to_vec();
        let good = fitting.any(|key| {
            (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key.key)
                .is_ok_and(|verifier| verifier.verify(signed.message, &signature).is_ok())
        });
        if good { Ok(()) } else { Err(VerifyError::BadSignature) }
    }
}

/// A key that everybody could sign with is an accident that somebody has to hear of.
fn tell(number: usize, why: PassedOver) {
    match why {
        PassedOver::Private => tracing::warn!("key {number} of a JWK Set is not used: {why}"),
        _ => tracing::debug!("key {number} of a JWK Set is not used: {why}"),
    }
}

impl VerifyingKey {
    /// A key without an id answers to any.
    fn answers_to(&self, key_id: Option<&str>) -> bool {
        match (key_id, self.id.as_deref()) {
            (Some(wanted), Some(own)) => wanted == own,
            (None, _) | (Some(_), None) => true,
        }
    }
}

fn jose(algorithm: Algorithm) -> Jose {
    match algorithm {
        Algorithm::Hs256 => Jose::HS256,
        Algorithm::Hs384 => Jose::HS384,
        Algorithm::Hs512 => Jose::HS512,
        Algorithm::Rs256 => Jose::RS256,
        Algorithm::Rs384 => Jose::RS384,
        Algorithm::Rs512 => Jose::RS512,
        Algorithm::Ps256 => Jose::PS256,
        Algorithm::Ps384 => Jose::PS384,
        Algorithm::Ps512 => Jose::PS512,
        Algorithm::Es256 => Jose::ES256,
        Algorithm::Es384 => Jose::ES384,
        Algorithm::EdDsa => Jose::EdDSA,
    }
}

#[cfg(test)]
mod tests;
