//! Bounded tables that several parties fill: nobody takes the room of all the others.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

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

/// Places that are taken for a time. Cheap to clone: all clones are one table.
#[derive(Debug)]
pub(crate) struct Shares<P: Holder = Party> {
    table: Arc<Table<P>>,
}

impl<P: Holder> Clone for Shares<P> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table) }
    }
}

#[derive(Debug)]
struct Table<P: Holder> {
    bounds: Bounds,
    state: Mutex<State<P>>,
    freed: Notify,
}

#[derive(Debug)]
struct State<P: Holder> {
    held: Holdings<P>,
    /// Those who wait for a place, in the order in which they came. None of them could have one now.
    waiting: VecDeque<Waiting<P>>,
}

#[derive(Debug)]
struct Waiting<P: Holder> {
    party: P,
    place: oneshot::Sender<Share<P>>,
}

impl<P: Holder> Shares<P> {
    /// With all places free.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let state = State { held: Holdings::default(), waiting: VecDeque::new() };
        Self { table: Arc::new(Table { bounds, state: Mutex::new(state), freed: Notify::new() }) }
    }

    /// A place for `party`. None: its share is taken, or all are.
    pub(crate) fn take(&self, party: &P) -> Option<Share<P>> {
        self.table.take(&mut self.table.state(), party)
    }

    /// A place for `party`, as soon as there is one. Of those who wait, whoever holds least comes first.
    pub(crate) async fn wait_for_one(&self, party: &P) -> Share<P> {
        loop {
            let place = {
                let mut state = self.table.state();
                if let Some(share) = self.table.take(&mut state, party) {
                    return share;
                }
                state.enqueue(party)
            };
            if let Ok(share) = place.await {
                return share;
            }
        }
    }

    /// Waits until all places are free.
    pub(crate) async fn all_free(&self) {
        loop {
            // Before looking, so that no place is given up unseen.
            let mut freed = std::pin::pin!(self.table.freed.notified());
            freed.as_mut().enable();
            if self.table.state().held.all == 0 {
                return;
            }
            freed.await;
        }
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Share<P: Holder = Party> {
    party: P,
    table: Arc<Table<P>>,
}

impl<P: Holder> Drop for Share<P> {
    fn drop(&mut self) {
        // One that is handed to who has gone comes back here, so that it must not be dropped while the table is locked.
        for (place, share) in self.table.free(&self.party) {
            drop(place.send(share));
        }
        self.table.freed.notify_waiters();
    }
}

impl<P: Holder> Table<P> {
    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, state: &mut State<P>, party: &P) -> Option<Share<P>> {
        if !state.held.have_room(party, 1, self.bounds) {
            return None;
        }
        state.held.add(party, 1);
        Some(Share { party: party.clone(), table: Arc::clone(self) })
    }

    /// Frees a place of `party`. What those get who can have one now is to be sent to them.
    fn free(self: &Arc<Self>, party: &P) -> Vec<(oneshot::Sender<Share<P>>, Share<P>)> {
        let mut state = self.state();
        state.held.remove(party, 1);
        state.forget_gone();
        let mut handed = Vec::new();
        while let Some(next) = state.next(self.bounds)
            && let Some(share) = self.take(&mut state, &next.party)
        {
            handed.push((next.place, share));
        }
        handed
    }
}

impl<P: Holder> State<P> {
    fn enqueue(&mut self, party: &P) -> oneshot::Receiver<Share<P>> {
        self.forget_gone();
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(Waiting { party: party.clone(), place: sender });
        receiver
    }

    fn forget_gone(&mut self) {
        self.waiting.retain(|waiting| !waiting.place.is_closed());
    }

    /// Takes out who comes next: of those whose share is not taken, the first of those who hold least.
    fn next(&mut self, bounds: Bounds) -> Option<Waiting<P>> {
        let can =
            self.waiting.iter().enumerate().filter(|(_, one)| self.held.have_room(&one.party, 1, bounds));
        let (place, _) = can.min_by_key(|(_, one)| self.held.of(&one.party))?;
        self.waiting.remove(place)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

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
        let state = shares.table.state();
        assert_eq!((state.held.all, state.held.of.len()), (0, 0));
    }

    #[test]
    fn of_those_who_wait_whoever_holds_least_comes_first() {
        let (shares, [ada, bob, eve]) = (Shares::new(BOUNDS), ["ada", "bob", "eve"].map(party));
        let wait = |party| Box::pin(shares.wait_for_one(party));
        let mut of_ada: Vec<_> = (0..3).filter_map(|_| shares.take(&ada)).collect();
        let _of_bob: Vec<_> = (0..2).filter_map(|_| shares.take(&bob)).collect();
        let mut waiting = [&ada, &ada, &bob, &bob, &eve].map(wait);
        let mut gone = wait(&eve);
        for one in waiting.iter_mut().chain([&mut gone]) {
            assert!(one.now_or_never().is_none(), "all are taken");
        }
        drop(gone);
        let [first, _, third, _, last] = &mut waiting;
        of_ada.pop();
        assert!(first.now_or_never().is_none() && third.now_or_never().is_none());
        let of_eve = last.now_or_never().expect("she holds least, and was asked last");
        assert!(shares.take(&eve).is_none(), "all are taken again, and whoever has gone holds nothing");
        of_ada.pop();
        let of_ada_again =
            first.now_or_never().expect("nobody who waits holds less, and she was there first");
        drop((of_eve, of_ada_again));
    }

    #[test]
    fn who_waits_behind_a_full_share_keeps_nobody_else_waiting() {
        let (shares, [ada, bob]) = (Shares::new(BOUNDS), ["ada", "bob"].map(party));
        let _of_ada: Vec<_> = (0..3).filter_map(|_| shares.take(&ada)).collect();
        let mut waiting: Vec<_> = (0..9).map(|_| Box::pin(shares.wait_for_one(&ada))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        assert!(shares.wait_for_one(&bob).now_or_never().is_some());
        drop(waiting);
        assert!(shares.wait_for_one(&ada).now_or_never().is_none());
        assert_eq!(shares.table.state().waiting.len(), 1, "who has gone takes no room");
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
