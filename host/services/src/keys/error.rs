//! The errors of keys.

use super::jwk::SkipReason;

/// Maximum number of keys in a set. Issuers publish two or three. A token without a `kid` is tried with all of them,
/// so this limits the cost of a token.
pub const MOST_KEYS: usize = 100;

/// Shortest HMAC secret, in bytes (RFC 7518, section 3.2: as long as the hash of HS256).
pub const SHORTEST_SECRET: usize = 32;

/// The error when a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is too short for an HMAC secret.
    #[error("the secret has {0} bytes; an HMAC key needs at least {SHORTEST_SECRET} (RFC 7518, section 3.2)")]
    ShortSecret(usize),
    /// The text is not a public key in PEM.
    #[error("this is not a public key in PEM (`BEGIN PUBLIC KEY`) for RSA, P-256, P-384 or Ed25519")]
    Pem,
    /// The RSA key is too small or too large.
    #[error("this is an RSA key of {0} bits; it has to have 2048 to 8192")]
    RsaSize(u32),
    /// The text is not a JWK Set.
    #[error("this is not a JWK Set (RFC 7517, section 5): {0}")]
    Jwks(String),
    /// The JWK Set is too large.
    #[error("the JWK Set has {0} keys; at most {MOST_KEYS} are accepted")]
    TooManyKeys(usize),
    /// The JWK Set has no usable key.
    #[error("the JWK Set has no key that signs with a supported algorithm{}", passed_over(.0))]
    NoUsableKey(Option<SkipReason>),
}

fn passed_over(why: &Option<SkipReason>) -> String {
    why.map_or_else(String::new, |why| format!("; of the first one, {why}"))
}
