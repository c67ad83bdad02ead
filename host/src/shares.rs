//! Bounded tables that several parties fill: nobody takes the room of all the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::party::Party;

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

/// The entries of each party in a table.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    of: HashMap<Party, usize>,
    all: usize,
}

impl Holdings {
    /// Notes that `party` holds `amount` more.
    pub(crate) fn add(&mut self, party: &Party, amount: usize) {
        self.all += amount;
        match self.of.get_mut(party) {
            Some(held) => *held += amount,
            None => _ = self.of.insert(party.clone(), amount),
        }
    }

    /// Notes that `party` holds `amount` less.
    pub(crate) fn remove(&mut self, party: &Party, amount: usize) {
        self.all = self.all.saturating_sub(amount);
        let Some(held) = self.of.get_mut(party) else { return };
        *held = held.saturating_sub(amount);
        if *held == 0 {
            self.of.remove(party);
        }
    }

    /// The number of units that `party` holds.
    pub(crate) fn of(&self, party: &Party) -> usize {
        self.of.get(party).copied().unwrap_or(0)
    }

    /// True if `party` may have `amount` more as it is.
    pub(crate) fn have_room(&self, party: &Party, amount: usize, bounds: Bounds) -> bool {
        self.of(party) + amount <= bounds.most_of_one && self.all + amount <= bounds.most
    }

    /// The party that has to give something up before `party` gets `amount` more: itself where its share is
    /// full; where everything is full, the largest one. None: nobody.
    pub(crate) fn gives_way(&self, party: &Party, amount: usize, bounds: Bounds) -> Option<Party> {
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

/// Places that are taken for a time. Cheap to clone: all clones are one table.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    bounds: Bounds,
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    held: Mutex<Holdings>,
    freed: Notify,
}

impl Shares {
    /// With all places free.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, table: Arc::default() }
    }

    /// A place for `party`. None: its share is taken, or all are.
    pub(crate) fn take(&self, party: &Party) -> Option<Share> {
        let mut held = self.table.held();
        if !held.have_room(party, 1, self.bounds) {
            return None;
        }
        held.add(party, 1);
        Some(Share { party: party.clone(), table: Arc::clone(&self.table) })
    }

    /// A place for `party`, as soon as there is one.
    pub(crate) async fn wait_for_one(&self, party: &Party) -> Share {
        self.when_freed(|| self.take(party)).await
    }

    /// Waits until all places are free.
    pub(crate) async fn all_free(&self) {
        self.when_freed(|| (self.table.held().all == 0).then_some(())).await;
    }

    async fn when_freed<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            // Before looking, so that no place is given up unseen.
            let mut freed = std::pin::pin!(self.table.freed.notified());
            freed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            freed.await;
        }
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Share {
    party: Party,
    table: Arc<Table>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.table.held().remove(&self.party, 1);
        self.table.freed.notify_waiters();
    }
}

impl Table {
    fn held(&self) -> MutexGuard<'_, Holdings> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_place_is_free_again_when_it_is_given_up() {
        let (shares, ada, bob) = (Shares::new(BOUNDS), party("ada"), party("bob"));
        let mut of_ada: Vec<_> = (0..3).filter_map(|_| shares.take(&ada)).collect();
        assert!(of_ada.len() == 3 && shares.take(&ada).is_none(), "her share is full");
        let of_bob: Vec<_> = (0..3).filter_map(|_| shares.take(&bob)).collect();
        assert_eq!(of_bob.len(), 2, "all is full");
        of_ada.pop();
        assert!(shares.take(&bob).is_some());
        drop((of_ada, of_bob));
        let held = shares.table.held();
        assert_eq!((held.all, held.of.len()), (0, 0));
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
