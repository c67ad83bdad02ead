//! Bounded tables that several parties fill: nobody takes the room of all the others.

mod places;

use std::collections::HashMap;
use std::hash::Hash;

use crate::party::Party;
pub(crate) use places::{Share, Shares};

/// The capacity of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// All in all.
    pub most: usize,
    /// Of one party.
    pub most_of_one: usize,
}

impl Bounds {
    /// The same, but for what is set otherwise. Setting one of the two moves the other as far as it has to.
    pub fn set(self, most: Option<usize>, most_of_one: Option<usize>) -> Self {
        let most = most.unwrap_or_else(|| self.most.max(most_of_one.unwrap_or(0)));
        Self { most, most_of_one: most_of_one.unwrap_or(self.most_of_one).min(most) }
    }
}

/// One of those that a table tells apart.
pub trait Holder: Clone + Eq + Hash {}

impl<P: Clone + Eq + Hash> Holder for P {}

/// The entries of each party in a table.
#[derive(Debug)]
pub(crate) struct Holdings<P: Holder = Party> {
    of: HashMap<P, usize>,
    all: usize,
}

impl<P: Holder> Default for Holdings<P> {
    fn default() -> Self {
        Self { of: HashMap::new(), all: 0 }
    }
}

impl<P: Holder> Holdings<P> {
    /// Notes that `party` holds `amount` more.
    pub(crate) fn add(&mut self, party: &P, amount: usize) {
        self.all += amount;
        match self.of.get_mut(party) {
            Some(held) => *held += amount,
            None => _ = self.of.insert(party.clone(), amount),
        }
    }

    /// Notes that `party` holds `amount` less.
    pub(crate) fn remove(&mut self, party: &P, amount: usize) {
        self.all = self.all.saturating_sub(amount);
        let Some(held) = self.of.get_mut(party) else { return };
        *held = held.saturating_sub(amount);
        if *held == 0 {
            self.of.remove(party);
        }
    }

    /// The number of units that `party` holds.
    pub(crate) fn of(&self, party: &P) -> usize {
        self.of.get(party).copied().unwrap_or(0)
    }

    /// True if `party` may have `amount` more as it is.
    pub(crate) fn have_room(&self, party: &P, amount: usize, bounds: Bounds) -> bool {
        self.of(party) + amount <= bounds.most_of_one && self.all + amount <= bounds.most
    }

    /// The party that has to give something up before `party` gets `amount` more: itself where its share is
    /// full; where everything is full, the largest one. None: nobody.
    pub(crate) fn gives_way(&self, party: &P, amount: usize, bounds: Bounds) -> Option<P> {
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
    use super::*;
    use crate::flow::testing::party;

    const BOUNDS: Bounds = Bounds { most: 5, most_of_one: 3 };

    #[test]
    fn one_bound_that_is_set_moves_the_other_as_far_as_it_must() {
        let set = |most, of_one| {
            let Bounds { most, most_of_one } = Bounds { most: 64, most_of_one: 16 }.set(most, of_one);
            (most, most_of_one)
        };
        assert_eq!(set(None, None), (64, 16));
        assert_eq!(set(Some(8), None), (8, 8));
        assert_eq!(set(None, Some(100)), (100, 100));
        assert_eq!(set(Some(200), Some(50)), (200, 50));
    }

    #[test]
    fn who_holds_most_gives_way_when_all_is_full() {
        let (mut held, [ada, bob, eve]) = (Holdings::default(), ["ada", "bob", "eve"].map(party));
        held.add(&ada, 3);
        assert_eq!(held.gives_way(&ada, 1, BOUNDS), Some(ada.clone()), "her own share is full");
        assert_eq!(held.gives_way(&bob, 1, BOUNDS), None);
        held.add(&bob, 2);
        assert_eq!(held.gives_way(&eve, 1, BOUNDS), Some(ada.clone()));
        held.remove(&ada, 2);
        held.add(&eve, 2);
        assert_eq!(held.gives_way(&eve, 1, BOUNDS), Some(eve.clone()), "nobody holds more");
    }
}
