//! Signature algorithms by their JOSE names. `none` is not among them.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use witgate_plugin as host;

/// A signature or MAC algorithm (RFC 7518, section 3.1; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
#[allow(missing_docs, reason = "the JOSE names say it")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    /// Only over Curve25519, so that it means the same as `Ed25519` (RFC 9864).
    #[serde(alias = "Ed25519")]
    EdDSA,
}

impl Algorithm {
    /// The algorithm with this JOSE name. Case matters.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<Error>::new(name)).ok()
    }

    /// True if the algorithm's key is a shared secret.
    pub(crate) fn is_mac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl From<Algorithm> for host::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::Hs256,
            Algorithm::HS384 => Self::Hs384,
            Algorithm::HS512 => Self::Hs512,
            Algorithm::RS256 => Self::Rs256,
            Algorithm::RS384 => Self::Rs384,
            Algorithm::RS512 => Self::Rs512,
            Algorithm::PS256 => Self::Ps256,
            Algorithm::PS384 => Self::Ps384,
            Algorithm::PS512 => Self::Ps512,
            Algorithm::ES256 => Self::Es256,
            Algorithm::ES384 => Self::Es384,
            Algorithm::EdDSA => Self::EdDsa,
        }
    }
}
