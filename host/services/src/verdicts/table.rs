//! The table of kept verdicts. It is bounded by its memory, in all and per principal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use witgate_plugin::{Digest, Identity};

use super::basis::KeptBasis;
use witgate_base::breaker::CallerDigest;

/// The maximum memory of all verdicts, in bytes: some thousand tokens.
pub(super) const MOST: usize = 4 << 20;
/// The maximum memory of one principal's verdicts, who may have any number of tokens and call any number of tools.
pub(super) const MOST_OF_ONE: usize = MOST / 8;
/// The memory of a verdict without its texts.
const ENTRY: usize = 400;

/// A verdict that may be used again.
#[derive(Debug)]
pub(super) struct KeptVerdict {
    pub(super) identity: Identity,
    pub(super) basis: KeptBasis,
    /// SHA-256 of the credential, for its removal.
    pub(super) token: Digest,
    /// The principal.
    pub(super) source: CallerDigest,
}

impl KeptVerdict {
    fn size(&self) -> usize {
        let Identity { subject, issuer, roles, scopes, claims, .. } = &self.identity;
        let texts = [Some(subject), issuer.as_ref(), claims.as_ref()].into_iter().flatten();
        let lists = roles.iter().chain(scopes).map(|text| text.len() + size_of::<String>());
        let keys = self.basis.keys().iter();
        let keys = keys
            .map(|used| size_of_val(used) + used.name.len() + used.key_id.as_ref().map_or(0, |id| id.len()));
        ENTRY + texts.map(String::len).sum::<usize>() + lists.sum::<usize>() + keys.sum::<usize>()
    }
}

/// Verdicts by the digests of their questions. If there is no room for a new one, it takes the place of the oldest: of
/// the same principal, if their share is full, otherwise of all.
#[derive(Debug, Default)]
pub(super) struct VerdictTable {
    verdicts: HashMap<Digest, TableEntry>,
    /// The digests in the order of their verdicts' arrival.
    by_age: BTreeMap<u64, Digest>,
    of: HashMap<CallerDigest, PrincipalVerdicts>,
    size: usize,
    arrivals: u64,
    removals: u64,
}

#[derive(Debug)]
struct TableEntry {
    verdict: Arc<KeptVerdict>,
    arrival: u64,
    size: usize,
}

#[derive(Debug, Default)]
struct PrincipalVerdicts {
    arrivals: BTreeSet<u64>,
    size: usize,
}

impl VerdictTable {
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<KeptVerdict>> {
        self.verdicts.get(digest).map(|entry| Arc::clone(&entry.verdict))
    }

    /// True if `verdict` is still in the table.
    pub(super) fn has(&self, digest: &Digest, verdict: &Arc<KeptVerdict>) -> bool {
        self.verdicts.get(digest).is_some_and(|entry| Arc::ptr_eq(&entry.verdict, verdict))
    }

    /// The number of removals by operators so far.
    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// Adds a verdict, unless operators have removed some since there were `removals`: it may be one of them.
    pub(super) fn put(&mut self, digest: Digest, verdict: KeptVerdict, removals: u64) {
        let (size, source) = (verdict.size(), verdict.source);
        if removals != self.removals || size > MOST_OF_ONE {
            return;
        }
        self.remove(&digest);
        while let Some(oldest) = self.gives_way(&source, size) {
            self.remove(&oldest);
        }
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.by_age.insert(arrival, digest);
        let of_one = self.of.entry(source).or_default();
        of_one.arrivals.insert(arrival);
        of_one.size += size;
        self.size += size;
        self.verdicts.insert(digest, TableEntry { verdict: Arc::new(verdict), arrival, size });
    }

    /// The verdict that has to be removed before `source` gets another one of this size. None: there is room.
    fn gives_way(&self, source: &CallerDigest, size: usize) -> Option<Digest> {
        let own = self.of.get(source).filter(|own| own.size + size > MOST_OF_ONE);
        let oldest = match own {
            Some(own) => own.arrivals.first(),
            None if self.size + size > MOST => self.by_age.keys().next(),
            None => None,
        };
        self.by_age.get(oldest?).copied()
    }

    fn remove(&mut self, digest: &Digest) {
        let Some(TableEntry { verdict, arrival, size }) = self.verdicts.remove(digest) else { return };
        self.by_age.remove(&arrival);
        self.size -= size;
        let Some(of_one) = self.of.get_mut(&verdict.source) else { return };
        of_one.arrivals.remove(&arrival);
        of_one.size -= size;
        if of_one.arrivals.is_empty() {
            self.of.remove(&verdict.source);
        }
    }

    /// Removes the verdicts about a token. Those of hooks that run now are not added.
    pub(super) fn remove_all_of(&mut self, token: &Digest) {
        self.removals += 1;
        let of_token = self.verdicts.iter().filter(|(_, entry)| entry.verdict.token == *token);
        let digests: Vec<Digest> = of_token.map(|(digest, _)| *digest).collect();
        for digest in &digests {
            self.remove(digest);
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        assert_eq!(self.verdicts.len(), self.by_age.len());
        assert_eq!(self.size, self.of.values().map(|of_one| of_one.size).sum::<usize>());
        let greatest = self.of.values().map(|of_one| of_one.size).max();
        (self.verdicts.len(), self.size, greatest.unwrap_or(0))
    }
}
