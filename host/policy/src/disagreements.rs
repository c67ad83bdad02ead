//! The disagreements of shadows: each kind once, with the number of times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use witgate_base::clock;

/// Maximum number of kinds of disagreement for known callers. That is enough to understand a shadow that disagrees
/// about everything.
const MOST: usize = 800;
/// Maximum number of them that one principal's calls have added first, so that a caller who invents names cannot fill
/// the table.
const SHARE: usize = 100;

/// The same limits for unknown callers, and for those of one address.
const MOST_UNKNOWN: usize = 200;
const SHARE_UNKNOWN: usize = 20;

/// A kind of disagreement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disagreement {
    /// The upstream.
    pub upstream: Box<str>,
    /// The method.
    pub method: Box<str>,
    /// The target of the call, as in patterns. None: the disagreement was about the caller.
    pub target: Option<Box<str>>,
    /// The verdict of the live policies.
    pub live: Box<str>,
    /// The verdict of the shadow.
    pub shadow: Box<str>,
}

/// The number of occurrences, and the last one.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// The number of occurrences.
    pub count: u64,
    /// The time of the last one.
    pub last: SystemTime,
}

/// The source of the calls with a disagreement.
#[derive(Clone, Debug)]
pub enum DisagreementOwner {
    /// A principal that the live policies have authenticated.
    Known(Arc<str>),
    /// A caller without a valid credential, at this address.
    Unknown(Arc<str>),
}

/// All of them.
#[derive(Debug)]
pub struct Disagreements {
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    known: DisagreementTable,
    unknown: DisagreementTable,
}

impl Default for Disagreements {
    fn default() -> Self {
        let (known, unknown) =
            (DisagreementTable::new(MOST, SHARE), DisagreementTable::new(MOST_UNKNOWN, SHARE_UNKNOWN));
        Self { tables: Mutex::new(Tables { known, unknown }) }
    }
}

impl Disagreements {
    /// Records a disagreement. True: it is the first of its kind, and the table has room for it.
    pub(super) fn note(&self, disagreement: &Disagreement, with: DisagreementOwner) -> bool {
        let mut tables = self.tables.lock();
        let Tables { known, unknown } = &mut *tables;
        // Disagreements of a known kind are counted for all callers.
        if known.count(disagreement) || unknown.count(disagreement) {
            return false;
        }
        match with {
            DisagreementOwner::Known(owner) => known.add(disagreement, owner),
            DisagreementOwner::Unknown(owner) => unknown.add(disagreement, owner),
        }
    }

    /// All disagreements in the table.
    pub fn all(&self) -> Vec<(Disagreement, Tally)> {
        let tables = self.tables.lock();
        let kinds = tables.known.kinds.iter().chain(&tables.unknown.kinds);
        kinds.map(|(disagreement, entry)| (disagreement.clone(), entry.tally)).collect()
    }

    /// The number of disagreements that did not fit into the table.
    pub fn left_out(&self) -> u64 {
        let tables = self.tables.lock();
        tables.known.left_out + tables.unknown.left_out
    }
}

/// The kinds of disagreement, each with the source that added it.
#[derive(Debug)]
struct DisagreementTable {
    most: usize,
    share: usize,
    kinds: BTreeMap<Disagreement, DisagreementEntry>,
    /// The number of kinds of each source.
    owners: HashMap<Arc<str>, usize>,
    left_out: u64,
}

#[derive(Debug)]
struct DisagreementEntry {
    tally: Tally,
    owner: Arc<str>,
}

impl DisagreementTable {
    fn new(most: usize, share: usize) -> Self {
        Self { most, share, kinds: BTreeMap::new(), owners: HashMap::new(), left_out: 0 }
    }

    /// Counts a disagreement of a known kind. False: the kind is not in the table.
    fn count(&mut self, disagreement: &Disagreement) -> bool {
        let entry = self.kinds.get_mut(disagreement);
        entry.is_some_and(|DisagreementEntry { tally, .. }| {
            *tally = Tally { count: tally.count + 1, last: clock::system_time() };
            true
        })
    }

    /// Adds a kind if there is room without removing another one.
    fn add(&mut self, disagreement: &Disagreement, owner: Arc<str>) -> bool {
        let own = self.owners.get(&owner).copied().unwrap_or(0);
        let has_room = self.kinds.len() < self.most;
        if own >= self.share || !(has_room || self.make_room(own)) {
            self.left_out += 1;
            return false;
        }
        *self.owners.entry(Arc::clone(&owner)).or_default() += 1;
        let tally = Tally { count: 1, last: clock::system_time() };
        self.kinds.insert(disagreement.clone(), DisagreementEntry { tally, owner });
        has_room
    }

    /// Removes the rarest kind of the source with the most kinds, in favour of a source with `own` kinds. False: no
    /// source has more.
    fn make_room(&mut self, own: usize) -> bool {
        let richest =
            self.owners.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > own + 1);
        let Some(richest) = richest.map(|(owner, _)| Arc::clone(owner)) else { return false };
        let of_theirs = self.kinds.iter().filter(|(_, entry)| entry.owner == richest);
        let rarest = of_theirs.min_by_key(|(_, entry)| (entry.tally.count, Reverse(entry.tally.last)));
        let Some(rarest) = rarest.map(|(disagreement, _)| disagreement.clone()) else { return false };
        let gone = self.kinds.remove(&rarest).map_or(0, |entry| entry.tally.count);
        self.left_out += gone;
        if let Some(count) = self.owners.get_mut(&richest) {
            *count -= 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(target: &str) -> Disagreement {
        Disagreement {
            upstream: "u".into(),
            method: "tools/call".into(),
            target: Some(target.into()),
            live: "allow".into(),
            shadow: "deny".into(),
        }
    }

    fn known(name: &str) -> DisagreementOwner {
        DisagreementOwner::Known(name.into())
    }

    fn count(all: &Disagreements, target: &str) -> Option<u64> {
        let disagreement = about(target);
        all.all().iter().find(|(seen, _)| *seen == disagreement).map(|(_, tally)| tally.count)
    }

    #[test]
    fn made_up_names_fill_only_the_share_of_their_caller() {
        let all = Disagreements::default();
        let first = (0..5000).filter(|i| all.note(&about(&format!("made-up-{i}")), known("mallory"))).count();
        assert_eq!((first, all.left_out()), (SHARE, 4900));
        for (target, times) in [("delete", 3), ("send", 1)] {
            for _ in 0..times {
                all.note(&about(target), known("ada"));
            }
        }
        assert_eq!((count(&all, "delete"), count(&all, "send")), (Some(3), Some(1)));
        // A kind is counted together for all callers.
        all.note(&about("delete"), known("mallory"));
        assert_eq!(count(&all, "delete"), Some(4));
    }

    #[test]
    fn a_full_table_drops_entries_of_the_largest_holder_and_counts_them() {
        let all = Disagreements::default();
        for caller in 0..8 {
            for i in 0..SHARE {
                assert!(all.note(&about(&format!("{caller}-{i}")), known(&format!("caller-{caller}"))));
            }
        }
        assert!(!all.note(&about("delete"), known("ada")), "something else has gone, so no line of the log");
        assert_eq!((count(&all, "delete"), all.left_out(), all.all().len()), (Some(1), 1, MOST));
        for i in 0..1000 {
            all.note(&about(&format!("x-{i}")), known("mallory"));
        }
        assert_eq!(count(&all, "delete"), Some(1), "who has one is not who has most");
        assert_eq!(all.all().len(), MOST);
    }

    #[test]
    fn unknown_callers_do_not_displace_known_ones() {
        let all = Disagreements::default();
        all.note(&about("delete"), known("ada"));
        for address in 0..100 {
            for i in 0..50 {
                let with = DisagreementOwner::Unknown(address.to_string().into());
                all.note(&about(&format!("{address}-{i}")), with);
            }
        }
        assert_eq!((count(&all, "delete"), all.all().len()), (Some(1), MOST_UNKNOWN + 1));
        let total: u64 = all.all().iter().map(|(_, tally)| tally.count).sum();
        assert_eq!(total + all.left_out(), 5001, "none is uncounted");
    }
}
