//! The memory of used proofs. A proof is remembered until it is too old to be accepted. If the memory is full, new
//! proofs are refused; none is forgotten early.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;
use witgate_plugin::Digest;

use witgate_base::digest::sha256;

/// Maximum number of remembered proofs: some 15 MiB, or 400 calls a second for five minutes.
const MOST: usize = 1 << 17;

/// Maximum number for one caller with any keys, so that nobody fills the whole memory.
const MOST_OF_ONE: usize = MOST / 4;

/// The result of marking a proof as used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpendResult {
    /// The proof is now marked as used.
    First,
    /// It was used before.
    Again,
    /// The memory has no room, so the proof must not be used.
    Full {
        /// Seconds until there is room again.
        retry_after: u32,
    },
}

/// The used proofs that are not too old yet.
#[derive(Debug, Default)]
pub(super) struct UsedProofs(Mutex<ProofMemory>);

#[derive(Debug, Default)]
struct ProofMemory {
    seen: HashSet<Digest>,
    /// The proofs and their owners, by the last second in which the proofs are not too old.
    ends: BTreeMap<u64, Vec<(Digest, Digest)>>,
    /// The number of proofs of each caller.
    of_owner: HashMap<Digest, usize>,
}

impl UsedProofs {
    /// Marks the proof `id` of the key `thumbprint` as used by `owner`. It is too old after `until`.
    pub(super) fn spend(
        &self,
        thumbprint: &str,
        owner: Digest,
        id: Digest,
        until: u64,
        now: u64,
    ) -> SpendResult {
        let key = sha256(thumbprint.as_bytes());
        // `jti` is unique for its key.
        let proof = sha256(&[key, id].concat());
        self.0.lock().spend(proof, owner, until, now)
    }
}

impl ProofMemory {
    fn spend(&mut self, proof: Digest, owner: Digest, until: u64, now: u64) -> SpendResult {
        self.forget_before(now);
        if self.seen.contains(&proof) {
            return SpendResult::Again;
        }
        if self.seen.len() >= MOST || self.of_owner.get(&owner).is_some_and(|count| *count >= MOST_OF_ONE) {
            let first_end = self.ends.keys().next().copied().unwrap_or(now);
            let seconds = first_end.saturating_sub(now).saturating_add(1);
            return SpendResult::Full { retry_after: seconds.try_into().unwrap_or(u32::MAX) };
        }
        self.seen.insert(proof);
        self.ends.entry(until).or_default().push((proof, owner));
        *self.of_owner.entry(owner).or_default() += 1;
        SpendResult::First
    }

    fn forget_before(&mut self, now: u64) {
        while let Some(end) = self.ends.first_entry().filter(|end| *end.key() < now) {
            for (proof, owner) in end.remove() {
                self.seen.remove(&proof);
                if let Some(count) = self.of_owner.get_mut(&owner) {
                    *count -= 1;
                    if *count == 0 {
                        self.of_owner.remove(&owner);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_OF_ONE, ProofMemory, SpendResult, UsedProofs};
    use witgate_base::digest::sha256;

    #[test]
    fn a_proof_is_accepted_once_during_its_validity() {
        let used = UsedProofs::default();
        let (id, owner) = (sha256(b"one"), sha256(b"ada"));
        assert_eq!(used.spend("key", owner, id, 100, 50), SpendResult::First);
        assert_eq!(used.spend("other key", owner, id, 100, 50), SpendResult::First, "another's is another");
        for now in [50, 99, 100] {
            assert_eq!(used.spend("key", owner, id, 100, now), SpendResult::Again);
        }
        assert_eq!(
            used.spend("key", owner, id, 401, 101),
            SpendResult::First,
            "it was too old, and is forgotten"
        );
    }

    #[test]
    fn more_keys_of_one_party_get_no_more_room() {
        let (used, ada, bob) = (UsedProofs::default(), sha256(b"ada"), sha256(b"bob"));
        let id = |n: usize| sha256(&n.to_be_bytes());
        for n in 0..MOST_OF_ONE {
            let key = ["one", "two", "three", "four", "five"][n % 5];
            assert_eq!(used.spend(key, ada, id(n), 100, 50), SpendResult::First);
        }
        assert_eq!(used.spend("six", ada, id(MOST_OF_ONE), 100, 50), SpendResult::Full { retry_after: 51 });
        assert_eq!(used.spend("seven", bob, id(0), 100, 50), SpendResult::First, "others have room");
    }

    #[test]
    fn a_full_memory_refuses_new_proofs_and_keeps_the_old_ones() {
        let mut memory = ProofMemory::default();
        let (key, other) = (sha256(b"key"), sha256(b"other"));
        let proof = |n: usize| sha256(&n.to_be_bytes());
        for n in 0..MOST_OF_ONE {
            assert_eq!(memory.spend(proof(n), key, 100, 50), SpendResult::First);
        }
        assert_eq!(memory.spend(proof(MOST_OF_ONE), key, 100, 50), SpendResult::Full { retry_after: 51 });
        assert_eq!(memory.spend(proof(0), key, 100, 50), SpendResult::Again, "the first is remembered");
        assert_eq!(memory.spend(proof(MOST_OF_ONE), other, 100, 50), SpendResult::First, "others have room");
        assert_eq!(memory.spend(proof(MOST_OF_ONE + 1), key, 400, 101), SpendResult::First, "room again");
        assert_eq!((memory.seen.len(), memory.ends.len(), memory.of_owner.len()), (1, 1, 1));
    }
}
