//! The keys of the host. Policies know only their names.

mod error;
mod jwk;
pub(super) mod set;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::RsaParameters;
use jsonwebtoken::{Algorithm as Jose, DecodingKey};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use witgate_plugin::{Digest, SignedMessage, VerifyError};

use super::jwks::{KeySetState, RemoteJwks};
use super::lookups::Lookups;
use super::verdicts::{KeyUse, VerdictBasis};
pub use error::{KeyError, MOST_KEYS, SHORTEST_SECRET};
pub use jwk::SkipReason;
use jwk::VerifyingKey;
pub use set::KeySet;

/// Maximum number of valid signatures that one policy remembers: 32 bytes each, so half a megabyte.
const REMEMBERED: usize = 10_000;

/// The keys that one policy may name.
#[derive(Debug)]
pub struct Keyring {
    keys: HashMap<String, Arc<Key>>,
    /// Valid signatures, as digests over key, algorithm, message and signature. The cache is empty at the start of
    /// each generation, so a changed key removes them all.
    good: Cache<Digest, ()>,
    lookups: Lookups,
}

impl Keyring {
    /// A ring with `keys`.
    pub fn new(keys: HashMap<String, Arc<Key>>) -> Self {
        Self { keys, good: Cache::new(REMEMBERED), lookups: Lookups::default() }
    }

    /// True if the policy may name no key.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The hits and misses among the valid signatures.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The fetched sets among the keys, as they are now.
    pub fn key_sets(&self) -> impl Iterator<Item = KeySetState> {
        self.keys.values().filter_map(|key| match &**key {
            Key::Remote { set, max_stale } => Some(set.state(*max_stale)),
            Key::Fixed(_) | Key::Unavailable => None,
        })
    }

    /// Checks a signature with the key named `name`, and notes the key in the `basis` of the verdict.
    ///
    /// # Errors
    /// With the reason why it is not accepted.
    pub async fn verify(
        &self,
        name: &str,
        signed: &SignedMessage<'_>,
        basis: Option<&VerdictBasis>,
    ) -> Result<(), VerifyError> {
        let candidates = match self.keys.get(name) {
            Some(key) => key.candidates(signed.key_id).await,
            None => Err(VerifyError::UnknownKey),
        };
        if let Some(basis) = basis {
            match (&candidates, self.keys.get(name).map(|key| &**key)) {
                (Ok(_), Some(Key::Fixed(_))) => {}
                (Ok(set), _) => basis.rests_on(name, signed.key_id, set.version),
                (Err(_), _) => basis.is_unknown(),
            }
        }
        let candidates = candidates?;
        let fingerprint = fingerprint(name, candidates.version, signed);
        let is_known = self.good.get(&fingerprint).is_some();
        self.lookups.note(is_known);
        if is_known {
            return Ok(());
        }
        candidates.verify(signed)?;
        self.good.insert(fingerprint, ());
        Ok(())
    }

    /// True if signatures would be checked with the same key sets now.
    pub(crate) async fn are_current(&self, used: &[KeyUse]) -> bool {
        for KeyUse { name, key_id, version } in used {
            let Some(key) = self.keys.get(&**name) else { return false };
            if !key.candidates(key_id.as_deref()).await.is_ok_and(|set| set.version == *version) {
                return false;
            }
        }
        true
    }
}

/// The fingerprint of a valid signature. Each part has its length in front, so that different checks have different
/// fingerprints.
fn fingerprint(name: &str, version: u64, signed: &SignedMessage<'_>) -> Digest {
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
    /// A fetched set.
    Remote {
        /// The set.
        set: Arc<RemoteJwks>,
        /// Time for which the set is used beyond its lifetime while its server does not answer.
        max_stale: Duration,
    },
    /// A set that cannot be fetched: in a sandbox, where there is no network.
    Unavailable,
}

impl Key {
    /// A shared secret.
    ///
    /// # Errors
    /// If it is too short.
    pub fn from_secret(secret: &SecretString) -> Result<Self, KeyError> {
        let bytes = secret.expose_secret().as_bytes();
        if bytes.len() < SHORTEST_SECRET {
            return Err(KeyError::ShortSecret(bytes.len()));
        }
        let key = DecodingKey::from_secret(bytes).map_err(|_| KeyError::ShortSecret(bytes.len()))?;
        Ok(Self::one(vec![Jose::HS256, Jose::HS384, Jose::HS512], key))
    }

    /// A public key in PEM.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn from_pem(pem: &SecretString) -> Result<Self, KeyError> {
        let bytes = pem.expose_secret().as_bytes();
        if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
            return Self::from_rsa(key);
        }
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            // An uncompressed point, whose length determines the curve.
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
    /// If it is invalid, or has no usable key.
    pub fn from_jwks(text: &str) -> Result<Self, KeyError> {
        Ok(Self::Fixed(Arc::new(KeySet::parse(text.as_bytes(), 0)?)))
    }

    fn one(algorithms: Vec<Jose>, key: DecodingKey) -> Self {
        let key = VerifyingKey { id: None, algorithms, key };
        Self::Fixed(Arc::new(KeySet { version: 0, keys: vec![key] }))
    }

    async fn candidates(&self, key_id: Option<&str>) -> Result<Arc<KeySet>, VerifyError> {
        match self {
            Self::Fixed(set) => Ok(Arc::clone(set)),
            Self::Unavailable => Err(VerifyError::Unavailable),
            Self::Remote { set, max_stale } => {
                set.current(key_id, *max_stale).await.ok_or(VerifyError::Unavailable)
            }
        }
    }
}

#[cfg(test)]
mod tests;
