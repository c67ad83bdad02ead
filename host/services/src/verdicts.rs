//! The memory of verdicts. An authenticator may declare how long its verdict about a credential stays the same. The
//! host then answers the same question again without calling it, but only as long as everything is the same that the
//! hook has read: a plugin that declares too much changes nothing but its own verdicts.

mod basis;
mod table;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use witgate_plugin::{Call, Credential, Digest, Identity};

use self::table::{KeptVerdict, VerdictTable};
use crate::keys::Keyring;
use crate::lookups::Lookups;
use crate::process_key;
use crate::subject::Subject;
use witgate_base::breaker::CallerDigest;
use witgate_base::digest::sha256;

pub(crate) use basis::KeyUse;
pub use basis::VerdictBasis;

/// The question to an authenticator: its arguments, and the upstream. A verdict is used again only for the same one.
#[derive(Clone, Copy, Debug)]
pub struct VerdictQuestion<'a> {
    /// The request.
    pub subject: &'a dyn Subject,
    /// The call.
    pub call: &'a Call<'a>,
    /// The credential.
    pub credential: &'a Credential<'a>,
}

/// The verdicts of one policy. It is empty at the start of each generation, so a change of settings, keys or of the key
/// store removes them all.
#[derive(Debug, Default)]
pub struct VerdictMemory {
    /// True if the policy has declared that a verdict stays the same. Other policies pay nothing.
    is_used: AtomicBool,
    /// The random key of the digests. None: the system has no random numbers, so nothing is kept.
    key: OnceLock<Option<hmac::Key>>,
    table: Mutex<VerdictTable>,
    lookups: Lookups,
}

impl VerdictMemory {
    /// The identity that the policy would establish again at `now`, in seconds since the Unix epoch, with the keys of
    /// `keyring`.
    pub async fn recall(
        &self,
        question: &VerdictQuestion<'_>,
        keyring: &Keyring,
        now: u64,
    ) -> Option<Identity> {
        if !self.is_used.load(Ordering::Relaxed) {
            return None;
        }
        let digest = self.digest(question)?;
        let kept = self.table.lock().get(&digest).filter(|kept| kept.basis.holds_at(now));
        let is_good = match &kept {
            None => false,
            Some(kept) if kept.basis.keys().is_empty() => true,
            // A key set may have to be fetched, and the verdict may be removed meanwhile.
            Some(kept) => {
                Box::pin(keyring.are_current(kept.basis.keys())).await && self.table.lock().has(&digest, kept)
            }
        };
        self.lookups.note(is_good);
        kept.filter(|_| is_good).map(|kept| kept.identity.clone())
    }

    /// The empty basis of a verdict about to be given.
    pub fn basis(&self) -> VerdictBasis {
        VerdictBasis::new(self.table.lock().removals())
    }

    /// Keeps `identity`, the answer to `question`, if that is declared and its basis permits it.
    pub fn keep(&self, question: &VerdictQuestion<'_>, basis: &VerdictBasis, identity: &Identity) {
        let Some(kept_basis) = basis.kept() else { return };
        let Some(digest) = self.digest(question) else { return };
        let source = CallerDigest::of((identity.issuer.as_deref(), identity.subject.as_str()));
        let token = sha256(question.credential.value.as_bytes());
        let verdict = KeptVerdict { identity: identity.clone(), basis: kept_basis, token, source };
        self.table.lock().put(digest, verdict, basis.removals());
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Removes all verdicts about the token with this SHA-256 digest, also those that are being given now.
    pub(crate) fn forget(&self, token: &Digest) {
        self.table.lock().remove_all_of(token);
    }

    /// The hits and misses. None: the policy has declared nothing.
    pub(crate) fn lookups(&self) -> Option<&Lookups> {
        self.is_used.load(Ordering::Relaxed).then_some(&self.lookups)
    }

    /// A keyed digest, which nobody can compute from outside. So the time of a search reveals nothing about a
    /// credential.
    fn digest(&self, question: &VerdictQuestion<'_>) -> Option<Digest> {
        let VerdictQuestion { subject, call, credential } = question;
        let mut hash = hmac::Context::with_key(self.key.get_or_init(process_key::random).as_ref()?);
        for part in [credential.value, call.method, call.target, subject.upstream(), subject.audience()] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(&[
            credential.scheme as u8,
            call.kind as u8,
            call.transport as u8,
            u8::from(call.listing),
        ]);
        hash.sign().as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests;
