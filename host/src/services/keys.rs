//! The keys that the host holds. A policy knows them by name only.

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use witgate_plugin::{Algorithm, Digest, Signed, VerifyError};

use super::jwks::RemoteJwks;

/// How many signatures one policy remembers as good: 32 bytes each, so half a megabyte.
const REMEMBERED: usize = 10_000;

/// Shortest HMAC secret, in bytes (RFC 7518, section 3.2: as long as the hash of HS256).
pub const SHORTEST_SECRET: usize = 32;

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

/// What is remembered of a good signature. Each part is preceded by its length, so that no two
/// different checks share a fingerprint.
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
    /// A set that lives at a URL.
    Remote(Arc<RemoteJwks>),
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Too short to be an HMAC secret.
    #[error("the secret has {0} bytes; an HMAC key needs at least {SHORTEST_SECRET} (RFC 7518, section 3.2)")]
    ShortSecret(usize),
    /// Not a public key in PEM.
    #[error("this is not a public key in PEM (`BEGIN PUBLIC KEY`) for RSA, P-256, P-384 or Ed25519")]
    Pem,
    /// Not a JWK Set.
    #[error("this is not a JWK Set (RFC 7517, section 5): {0}")]
    Jwks(String),
    /// A JWK Set without a usable key.
    #[error("the JWK Set has no key that signs with a supported algorithm")]
    NoUsableKey,
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
        Ok(Self::fixed(vec![VerifyingKey {
            id: None,
            algorithm: None,
            family: AlgorithmFamily::Hmac,
            key: DecodingKey::from_secret(bytes),
        }]))
    }

    /// A public key in PEM.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_pem(pem: &SecretString) -> Result<Self, KeyError> {
        let bytes = pem.expose_secret().as_bytes();
        let key = DecodingKey::from_rsa_pem(bytes)
            .or_else(|_| DecodingKey::from_ec_pem(bytes))
            .or_else(|_| DecodingKey::from_ed_pem(bytes))
            .map_err(|_| KeyError::Pem)?;
        Ok(Self::fixed(vec![VerifyingKey { id: None, algorithm: None, family: key.family(), key }]))
    }

    /// A JWK Set.
    ///
    /// # Errors
    /// When it is none, or has no usable key.
    pub fn from_jwks(text: &str) -> Result<Self, KeyError> {
        Ok(Self::Fixed(Arc::new(KeySet::parse(text.as_bytes(), 0)?)))
    }

    fn fixed(keys: Vec<VerifyingKey>) -> Self {
        Self::Fixed(Arc::new(KeySet { version: 0, keys }))
    }

    async fn candidates(&self, signed: &Signed<'_>) -> Result<Arc<KeySet>, VerifyError> {
        match self {
            Self::Fixed(set) => Ok(Arc::clone(set)),
            Self::Remote(remote) => remote.current(signed.key_id).await.ok_or(VerifyError::Unavailable),
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
    /// The only algorithm that the key is for, where its set says so.
    algorithm: Option<jsonwebtoken::Algorithm>,
    family: AlgorithmFamily,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517). Keys for encryption, of an unknown type or of an unsupported
    /// algorithm are passed over, as section 5 asks.
    ///
    /// # Errors
    /// When the text is no JWK Set, or has no usable key.
    pub fn parse(text: &[u8], version: u64) -> Result<Self, KeyError> {
        let set: JwkSet = serde_json::from_slice(text).map_err(|e| KeyError::Jwks(e.to_string()))?;
        let keys: Vec<_> = set.keys.iter().filter_map(VerifyingKey::from_jwk).collect();
        if keys.is_empty() {
            return Err(KeyError::NoUsableKey);
        }
        Ok(Self { version, keys })
    }

    /// Whether a key of that id is in the set.
    pub fn has(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(key_id))
    }

    fn verify(&self, signed: &Signed<'_>) -> Result<(), VerifyError> {
        let algorithm = jose(signed.algorithm);
        let named: Vec<_> = self.keys.iter().filter(|key| key.answers_to(signed.key_id)).collect();
        if named.is_empty() {
            return Err(VerifyError::UnknownKeyId);
        }
        let mut fitting = named.into_iter().filter(|key| key.is_for(algorithm)).peekable();
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

impl VerifyingKey {
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        if matches!(&common.public_key_use, Some(other) if *other != PublicKeyUse::Signature) {
            return None;
        }
        if matches!(&common.key_operations, Some(ops) if !ops.contains(&KeyOperations::Verify)) {
            return None;
        }
        // A public place cannot hold a shared secret.
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return None;
        }
        let algorithm = match common.key_algorithm {
            None => None,
            Some(named) => Some(signing_algorithm(named)?),
        };
        let key = DecodingKey::from_jwk(jwk).ok()?;
        Some(Self { id: common.key_id.clone(), algorithm, family: key.family(), key })
    }

    /// A key without an id answers to any.
    fn answers_to(&self, key_id: Option<&str>) -> bool {
        match (key_id, self.id.as_deref()) {
            (Some(wanted), Some(own)) => wanted == own,
            (None, _) | (Some(_), None) => true,
        }
    }

    /// The family keeps an HMAC from being checked with a public key.
    fn is_for(&self, algorithm: jsonwebtoken::Algorithm) -> bool {
        self.family == algorithm.family() && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

fn signing_algorithm(named: KeyAlgorithm) -> Option<jsonwebtoken::Algorithm> {
    named.to_string().parse().ok()
}

fn jose(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Jose;
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
