//! Bounded tables that parties share, so that no party takes the room of all others.

mod places;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use foldhash::quality::RandomState;

pub use places::{Share, Shares};
use witgate_base::party::Party;

/// The capacity of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The maximum number of units of all parties.
    pub most: usize,
    /// The maximum number of units of one party.
    pub most_of_one: usize,
}

impl Capacity {
    /// The same, with the given values. If only one value is given, the other changes as far as necessary.
    pub fn set(self, most: Option<usize>, most_of_one: Option<usize>) -> Self {
        let most = most.unwrap_or_else(|| self.most.max(most_of_one.unwrap_or(0)));
        Self { most, most_of_one: most_of_one.unwrap_or(self.most_of_one).min(most) }
    }
}

/// An owner of units in a table.
pub trait Holder: Clone + Eq + Hash {}

impl<P: Clone + Eq + Hash> Holder for P {}

/// The number of units that each party holds in a table.
#[derive(Debug)]
pub struct Holdings<P: Holder = Party> {
    /// The units by party. A party without units has no entry.
    of: HashMap<P, usize, RandomState>,
    all: usize,
}

impl<P: Holder> Default for Holdings<P> {
    fn default() -> Self {
        Self { of: HashMap::default(), all: 0 }
    }
}

impl<P: Holder> Holdings<P> {
    /// Adds `amount` units of `party`.
    pub fn add(&mut self, party: &P, amount: usize) {
        self.all += amount;
        *self.of.entry(party.clone()).or_default() += amount;
    }

    /// Removes `amount` units of `party`.
    pub fn remove(&mut self, party: &P, amount: usize) {
        self.all = self.all.saturating_sub(amount);
        let Entry::Occupied(mut held) = self.of.entry(party.clone()) else { return };
        let rest = held.get().saturating_sub(amount);
        if rest == 0 {
            held.remove();
        } else {
            held.insert(rest);
        }
    }

    /// The number of units of all parties.
    pub fn all(&self) -> usize {
        self.all
    }

    /// The number of parties that hold units.
    #[cfg(test)]
    pub fn holders(&self) -> usize {
        self.of.len()
    }

    /// The number of units that `party` holds.
    pub fn of(&self, party: &P) -> usize {
        self.of.get(party).copied().unwrap_or(0)
    }

    /// True if `party` may have `amount` more units, and enough stays free for parties that come later.
    ///
    /// A party that holds units may hold at most as many as were free before (dynamic thresholds: Choudhury and Hahne,
    /// "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998, with a factor of one). So k competing
    /// parties leave one part in k + 1 free, and the last unit is for a party without units. If one party may hold more
    /// than half of all units, nothing is kept for others.
    pub fn have_room(&self, party: &P, amount: usize, bounds: Capacity) -> bool {
        let (held, free) = (self.of(party), bounds.most.saturating_sub(self.all));
        let keeps_room = bounds.most_of_one <= bounds.most.div_ceil(2);
        let wanted = held + amount;
        wanted <= bounds.most_of_one && amount <= free && (!keeps_room || wanted <= free)
    }

    /// True if the limits allow `party` to have `amount` more units, however few stay free for others.
    fn fits(&self, party: &P, amount: usize, bounds: Capacity) -> bool {
        self.of(party) + amount <= bounds.most_of_one && self.all + amount <= bounds.most
    }

    /// The party that has to give units up before `party` gets `amount` more. If its own share is full, it is `party`
    /// itself. If the table is full, it is the party with the most units. None: nobody has to.
    pub fn gives_way(&self, party: &P, amount: usize, bounds: Capacity) -> Option<P> {
        if self.of(party) + amount > bounds.most_of_one {
            return Some(party.clone());
        }
        if self.all + amount <= bounds.most {
            return None;
        }
        let own = (party, self.of(party));
        let others = self.of.iter().map(|(other, held)| (other, *held));
        let (greatest, _) = others.fold(own, |most, other| if other.1 > most.1 { other } else { most });
        Some(greatest.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Capacity = Capacity { most: 5, most_of_one: 3 };

    #[test]
    fn setting_one_limit_adjusts_the_other_as_needed() {
        let set = |most, of_one| {
            let Capacity { most, most_of_one } = Capacity { most: 64, most_of_one: 16 }.set(most, of_one);
            (most, most_of_one)
        };
        assert_eq!(set(None, None), (64, 16));
        assert_eq!(set(Some(8), None), (8, 8));
        assert_eq!(set(None, Some(100)), (100, 100));
        assert_eq!(set(Some(200), Some(50)), (200, 50));
    }

    #[test]
    fn a_single_party_gets_its_whole_share_and_the_next_half_of_the_rest() {
        for (most, shares) in
            [(64, [32, 16, 8, 4]), (25, [13, 6, 3, 2]), (4, [2, 1, 1, 0]), (1, [1, 0, 0, 0])]
        {
            let (mut held, bounds) = (Holdings::default(), Capacity { most, most_of_one: most.div_ceil(2) });
            for (party, share) in shares.into_iter().enumerate() {
                while held.have_room(&party, 1, bounds) {
                    held.add(&party, 1);
                }
                assert_eq!(held.of(&party), share, "party {party} of {most}");
            }
        }
    }

    #[test]
    fn small_shares_shrink_only_when_the_table_is_nearly_full() {
        let (mut held, bounds) = (Holdings::default(), Capacity { most: 10_000, most_of_one: 1_000 });
        for party in 0..10 {
            while held.have_room(&party, 1, bounds) {
                held.add(&party, 1);
            }
        }
        assert_eq!(held.of(&8), 1_000);
        assert_eq!(held.of(&9), 500);
    }

    #[test]
    fn shares_above_half_reserve_nothing_for_others() {
        let (mut held, bounds) = (Holdings::default(), Capacity { most: 8, most_of_one: 8 });
        held.add(&"ada", 7);
        assert!(held.have_room(&"ada", 1, bounds));
    }

    proptest! {
        /// Each party leaves half of the units that it found free, in any order of taking and giving back.
        #[test]
        fn parties_leave_a_place_for_a_newcomer(
            parties in 1_u32..=6,
            steps in proptest::collection::vec((0_u32..6, any::<bool>(), 1_usize..80), 0..200),
        ) {
            let (mut held, bounds) = (Holdings::default(), Capacity { most: 64, most_of_one: 32 });
            for (party, gives_back, times) in steps {
                let party = party % parties;
                for _ in 0..times {
                    match gives_back {
                        true if held.of(&party) > 0 => held.remove(&party, 1),
                        false if held.have_room(&party, 1, bounds) => held.add(&party, 1),
                        _ => {}
                    }
                }
                prop_assert!(held.all <= 64 - (64 >> parties));
                prop_assert!(held.have_room(&parties, 1, bounds), "{held:?}");
            }
        }

        /// If fewer parties than units are in the table, they always leave one unit for another party.
        #[test]
        fn fewer_parties_than_places_leave_one_for_a_newcomer(
            most in 2_usize..100,
            parties in 1_usize..100,
            steps in proptest::collection::vec((0_usize..100, any::<bool>()), 0..500),
        ) {
            let parties = parties.min(most - 1);
            let (mut held, bounds) = (Holdings::default(), Capacity { most, most_of_one: most.div_ceil(2) });
            (0..parties).for_each(|party| held.add(&party, 1));
            for (party, gives_back) in steps {
                let party = party % parties;
                match gives_back {
                    true if held.of(&party) > 1 => held.remove(&party, 1),
                    false if held.have_room(&party, 1, bounds) => held.add(&party, 1),
                    _ => {}
                }
            }
            prop_assert!(held.have_room(&parties, 1, bounds), "{held:?}");
        }
    }

    #[test]
    fn the_largest_holder_gives_way_in_a_full_table() {
        let (mut held, [ada, bob, eve]) = (Holdings::default(), ["ada", "bob", "eve"]);
        held.add(&ada, 3);
        assert_eq!(held.gives_way(&ada, 1, BOUNDS), Some(ada), "her own share is full");
        assert_eq!(held.gives_way(&bob, 1, BOUNDS), None);
        held.add(&bob, 2);
        assert_eq!(held.gives_way(&eve, 1, BOUNDS), Some(ada));
        held.remove(&ada, 2);
        held.add(&eve, 2);
        assert_eq!(held.gives_way(&eve, 1, BOUNDS), Some(eve), "nobody holds more");
    }
}
