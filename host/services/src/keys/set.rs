//! Sets of keys.

use jsonwebtoken::Algorithm as Jose;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde::Deserialize;
use serde_json::value::RawValue;
use witgate_plugin::{Algorithm, SignedMessage, VerifyError};

use super::error::{KeyError, MOST_KEYS};
use super::jwk::{self, SkipReason, VerifyingKey};

/// Keys to try.
#[derive(Debug, Default)]
pub struct KeySet {
    /// The version, which increases when a remote set changes.
    pub(super) version: u64,
    pub(super) keys: Vec<VerifyingKey>,
}

/// The text of a JWK Set. Other members have no meaning (RFC 7517, section 5).
#[derive(Deserialize)]
struct JwkSetText<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517). Keys that are not for signatures, of an unknown type, or invalid are skipped, as
    /// section 5 requires, and never invalidate the set.
    ///
    /// # Errors
    /// If the text is not a JWK Set, has too many keys, or no usable one.
    pub fn parse(text: &[u8], version: u64) -> Result<Self, KeyError> {
        let written: JwkSetText<'_> =
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

    /// True if the set has a key with this id.
    pub fn has(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(key_id))
    }

    /// The ids of the keys that have one.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.id.as_deref())
    }

    /// The number of usable keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// True if a key of the set verifies signatures of the algorithm with this JOSE name.
    pub fn verifies(&self, algorithm: &str) -> bool {
        // RFC 9864 names the only supported curve.
        let named: Option<Jose> =
            if algorithm == "Ed25519" { Some(Jose::EdDSA) } else { algorithm.parse().ok() };
        named.is_some_and(|named| self.keys.iter().any(|key| key.algorithms.contains(&named)))
    }

    /// True if fetching the set again could not help for this id: the set has it, or no key in the set has an id.
    pub(crate) fn settles(&self, key_id: Option<&str>) -> bool {
        key_id.is_none_or(|id| self.has(id)) || self.keys.iter().all(|key| key.id.is_none())
    }

    pub(super) fn verify(&self, signed: &SignedMessage<'_>) -> Result<(), VerifyError> {
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

/// Logs a key with which everybody could sign, because that is an accident.
fn tell(number: usize, why: SkipReason) {
    match why {
        SkipReason::Private => tracing::warn!("key {number} of a JWK Set is not used: {why}"),
        _ => tracing::debug!("key {number} of a JWK Set is not used: {why}"),
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
