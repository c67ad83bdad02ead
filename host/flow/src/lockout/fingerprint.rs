//! Fingerprints of credentials: salted hashes, by which they are recognised and not read.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};
use std::mem::discriminant;

use witgate_message::credential::Credentials;

/// A salted hash of the credentials of a request, for one upstream. It is never printed. Two credentials have the same
/// one by chance, once in 2^64; then a pause of one may apply to the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CredentialFingerprint(pub(super) u64);

impl fmt::Debug for CredentialFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialFingerprint(****)")
    }
}

/// The salt, which is different in each process: the key of a keyed hash (SipHash).
#[derive(Default)]
pub(super) struct Salt(RandomState);

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(****)")
    }
}

impl Salt {
    /// The credentials as one value. A proof of possession is a new one in each request, and does not count.
    pub(super) fn fingerprint(&self, upstream: usize, shown: &Credentials) -> CredentialFingerprint {
        let mut hasher = self.0.build_hasher();
        hasher.write_usize(upstream);
        for (scheme, text) in shown.texts() {
            let Some(scheme) = scheme else { continue };
            discriminant(&scheme).hash(&mut hasher);
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        }
        CredentialFingerprint(hasher.finish())
    }

    /// A hash of another value.
    pub(super) fn hash(&self, value: impl Hash) -> u64 {
        self.0.hash_one(value)
    }
}
