//! Fingerprints of credentials: salted hashes, by which they are recognised and not read.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};
use std::mem::discriminant;

use witgate_message::credential::Credentials;
use witgate_policy::generation::Pipeline;

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
    /// The credentials that the policies of `pipeline` judge, as one value. None: there are none. What only shadow
    /// policies judge does not count, and neither does a proof of possession, which is a new one in each request.
    pub(super) fn fingerprint(
        &self,
        upstream: usize,
        pipeline: &Pipeline,
        shown: &Credentials,
    ) -> Option<CredentialFingerprint> {
        let mut hasher = self.0.build_hasher();
        hasher.write_usize(upstream);
        let judged = shown.items().filter(|(scheme, header, _)| pipeline.enforces(*scheme, *header));
        let mut number = 0_usize;
        let mut previous = None;
        for (scheme, _, text) in judged {
            // The same key in two headers is one credential.
            if previous.replace((scheme, text)) == Some((scheme, text)) {
                continue;
            }
            discriminant(&scheme).hash(&mut hasher);
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
            number += 1;
        }
        (number > 0).then(|| CredentialFingerprint(hasher.finish()))
    }

    /// A hash of another value.
    pub(super) fn hash(&self, value: impl Hash) -> u64 {
        self.0.hash_one(value)
    }
}
