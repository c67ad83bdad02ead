//! Client authentication by a signature (`private_key_jwt`: RFC 7523, section 2.2, and OpenID Connect Core,
//! section 9). The private key never leaves the host.

use std::fmt;
use std::fmt::Write as _;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use witgate_plugin::{Assertion, HttpError};

use witgate_base::clock;

/// `client_assertion_type`.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Lifetime of an assertion in seconds. It is sent at once, but clocks differ.
const LIFETIME_S: u64 = 60;

/// A private key that signs assertions.
pub struct SigningKey {
    key: EncodingKey,
    /// All possible algorithms of the key; the first one is the default.
    algorithms: Vec<Algorithm>,
}

/// The message for a key that cannot sign assertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a private key in PEM (`BEGIN PRIVATE KEY`) for RSA of 2048 bits or more, P-256, P-384 or Ed25519"
)]
pub struct NoSigningKey;

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

impl SigningKey {
    /// Reads a private key in PEM.
    ///
    /// # Errors
    /// If it cannot sign.
    pub fn from_pem(pem: &SecretString) -> Result<Self, NoSigningKey> {
        let pem = pem.expose_secret().as_bytes();
        let kinds: [(_, &[Algorithm]); 3] = [
            (EncodingKey::from_rsa_pem(pem), &RSA),
            (EncodingKey::from_ec_pem(pem), &[Algorithm::ES256, Algorithm::ES384]),
            (EncodingKey::from_ed_pem(pem), &[Algorithm::EdDSA]),
        ];
        for (key, algorithms) in kinds {
            let Ok(key) = key else { continue };
            // The key does not name its curve, so its algorithms are found by trying them.
            let signs = |algorithm: &Algorithm| encode(&Header::new(*algorithm), &json!({}), &key).is_ok();
            let algorithms: Vec<_> = algorithms.iter().copied().filter(signs).collect();
            if !algorithms.is_empty() {
                return Ok(Self { key, algorithms });
            }
        }
        Err(NoSigningKey)
    }

    /// Signs a new, unique assertion.
    pub(super) fn sign(&self, assertion: &Assertion) -> Result<String, HttpError> {
        let algorithm = match &assertion.algorithm {
            None => self.algorithms.first().copied(),
            Some(name) => name.parse().ok().filter(|algorithm| self.algorithms.contains(algorithm)),
        };
        let mut header = Header::new(algorithm.ok_or(HttpError::InvalidRequest)?);
        header.kid.clone_from(&assertion.key_id);
        let now = clock::since_epoch().as_secs();
        let claims = json!({
            "iss": assertion.id,
            "sub": assertion.id,
            "aud": assertion.audience,
            "jti": unique().ok_or(HttpError::InvalidRequest)?,
            "iat": now,
            "exp": now + LIFETIME_S,
        });
        encode(&header, &claims, &self.key).map_err(|_| HttpError::InvalidRequest)
    }
}

/// A unique id.
fn unique() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}
