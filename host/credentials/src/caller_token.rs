//! The token of a caller, which an authorization server may exchange for a token for the upstream (RFC 8693).

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use witgate_base::digest::sha256;
use witgate_base::party::Principal;
use witgate_plugin::Digest;

/// The token with which a caller has authenticated.
pub struct CallerToken {
    principal: Principal,
    text: SecretString,
    digest: Digest,
}

impl CallerToken {
    /// The token `text` of `principal`.
    pub fn new(principal: Principal, text: &str) -> Self {
        Self { principal, digest: sha256(text.as_bytes()), text: text.into() }
    }

    /// The caller.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// A value that differs for different tokens.
    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The token.
    pub(crate) fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerToken").finish_non_exhaustive()
    }
}
