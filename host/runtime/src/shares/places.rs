//! Places in a bounded table: each is held for a time, and parties may wait for a free one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{Capacity, Holder, Holdings};
use witgate_base::party::Party;

/// Places that are held for a time. All clones share one table.
#[derive(Debug)]
pub struct Shares<P: Holder = Party> {
    table: Arc<PlaceTable<P>>,
}

impl<P: Holder> Clone for Shares<P> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table) }
    }
}

impl<P: Holder> Shares<P> {
    /// A table with free places, whose shares shrink as it fills.
    pub fn new(bounds: Capacity) -> Self {
        Self::with(bounds, Holdings::have_room)
    }

    /// A table with free places, whose shares keep their size. It is for places that are held for long, and whose room
    /// is decided elsewhere. With shrinking shares, the first parties would keep what they have, and only the last ones
    /// would get less.
    pub fn lasting(bounds: Capacity) -> Self {
        Self::with(bounds, Holdings::fits)
    }

    fn with(bounds: Capacity, has_room: HasRoom<P>) -> Self {
        Self {
            table: Arc::new(PlaceTable { bounds, has_room, state: Mutex::default(), freed: Notify::new() }),
        }
    }

    /// Takes a place for `party`. None: its share is full, or the table is.
    pub fn take(&self, party: &P) -> Option<Share<P>> {
        self.table.take(&mut self.table.state.lock(), party)
    }

    /// Waits for a place for `party`. Among the waiting parties, the one with the fewest places comes first.
    pub async fn wait_for_one(&self, party: &P) -> Share<P> {
        loop {
            let mut waiting = match self.take_or_wait(party) {
                Ok(share) => return share,
                Err(waiting) => waiting,
            };
            if let Ok(share) = (&mut waiting.place).await {
                return share;
            }
        }
    }

    fn take_or_wait(&self, party: &P) -> Result<Share<P>, Waiter<P>> {
        let mut state = self.table.state.lock();
        if let Some(share) = self.table.take(&mut state, party) {
            return Ok(share);
        }
        let (ticket, place) = state.enqueue(party);
        Err(Waiter { party: party.clone(), ticket, place, table: Arc::clone(&self.table) })
    }

    /// Waits until all places are free.
    pub async fn all_free(&self) {
        loop {
            // It is enabled before the check, so that no freed place is missed.
            let mut freed = std::pin::pin!(self.table.freed.notified());
            freed.as_mut().enable();
            if self.table.state.lock().held.all == 0 {
                return;
            }
            freed.await;
        }
    }
}

/// A place that is held until this value is dropped.
#[derive(Debug)]
pub struct Share<P: Holder = Party> {
    party: P,
    table: Arc<PlaceTable<P>>,
}

impl<P: Holder> Drop for Share<P> {
    fn drop(&mut self) {
        // A share whose receiver has gone is dropped here again, so the table must not be locked now.
        for (place, share) in self.table.free(&self.party) {
            drop(place.send(share));
        }
        self.table.freed.notify_waiters();
    }
}

/// A waiting request for a place. Dropping it ends the wait.
struct Waiter<P: Holder> {
    party: P,
    ticket: u64,
    place: oneshot::Receiver<Share<P>>,
    table: Arc<PlaceTable<P>>,
}

impl<P: Holder> Drop for Waiter<P> {
    fn drop(&mut self) {
        self.table.state.lock().dequeue(&self.party, self.ticket);
    }
}

/// A function that decides if a party may have so many more places. If it allows a number, it also allows each smaller
/// number.
type HasRoom<P> = fn(&Holdings<P>, &P, usize, Capacity) -> bool;

#[derive(Debug)]
struct PlaceTable<P: Holder> {
    bounds: Capacity,
    has_room: HasRoom<P>,
    state: Mutex<PlaceState<P>>,
    freed: Notify,
}

impl<P: Holder> PlaceTable<P> {
    fn take(self: &Arc<Self>, state: &mut PlaceState<P>, party: &P) -> Option<Share<P>> {
        if !(self.has_room)(&state.held, party, 1, self.bounds) {
            return None;
        }
        state.change(party, |state| state.held.add(party, 1));
        Some(Share { party: party.clone(), table: Arc::clone(self) })
    }

    /// Frees a place of `party`, and gives the free places to waiting parties.
    fn free(self: &Arc<Self>, party: &P) -> Vec<(PlaceSender<P>, Share<P>)> {
        let mut state = self.state.lock();
        state.change(party, |state| state.held.remove(party, 1));
        let mut given = Vec::new();
        while let Some((party, ticket)) = state.first()
            && let Some(share) = self.take(&mut state, &party)
        {
            given.extend(state.dequeue(&party, ticket).map(|place| (place, share)));
        }
        given
    }
}

type PlaceSender<P> = oneshot::Sender<Share<P>>;

/// The held places and the waiting requests. No waiting party could have a place now.
#[derive(Debug)]
struct PlaceState<P: Holder> {
    held: Holdings<P>,
    /// The waiting requests of each party, by ticket.
    waiting: HashMap<P, BTreeMap<u64, PlaceSender<P>>>,
    /// The waiting parties, ordered by the number of their places and their first ticket.
    order: BTreeMap<(usize, u64), P>,
    tickets: u64,
}

impl<P: Holder> Default for PlaceState<P> {
    fn default() -> Self {
        Self { held: Holdings::default(), waiting: HashMap::new(), order: BTreeMap::new(), tickets: 0 }
    }
}

impl<P: Holder> PlaceState<P> {
    /// The party that gets the next place. If this party has no room, no other party has.
    fn first(&self) -> Option<(P, u64)> {
        let ((_, ticket), party) = self.order.first_key_value()?;
        Some((party.clone(), *ticket))
    }

    fn enqueue(&mut self, party: &P) -> (u64, oneshot::Receiver<Share<P>>) {
        let (sender, receiver) = oneshot::channel();
        self.tickets += 1;
        let ticket = self.tickets;
        self.change(party, |state| {
            state.waiting.entry(party.clone()).or_default().insert(ticket, sender);
        });
        (ticket, receiver)
    }

    fn dequeue(&mut self, party: &P, ticket: u64) -> Option<PlaceSender<P>> {
        self.change(party, |state| {
            let of_party = state.waiting.get_mut(party)?;
            let place = of_party.remove(&ticket);
            if of_party.is_empty() {
                state.waiting.remove(party);
            }
            place
        })
    }

    /// Changes the places or waiting requests of `party`, and updates its rank.
    fn change<T>(&mut self, party: &P, change: impl FnOnce(&mut Self) -> T) -> T {
        if let Some(rank) = self.rank(party) {
            self.order.remove(&rank);
        }
        let changed = change(self);
        if let Some(rank) = self.rank(party) {
            self.order.insert(rank, party.clone());
        }
        changed
    }

    fn rank(&self, party: &P) -> Option<(usize, u64)> {
        let (ticket, _) = self.waiting.get(party)?.first_key_value()?;
        Some((self.held.of(party), *ticket))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const BOUNDS: Capacity = Capacity { most: 5, most_of_one: 3 };

    #[test]
    fn a_returned_place_is_free_again() {
        let (shares, ada, bob) = (Shares::lasting(BOUNDS), "ada", "bob");
        let mut of_ada: Vec<_> = (0..3).filter_map(|_| shares.take(&ada)).collect();
        assert!(of_ada.len() == 3 && shares.take(&ada).is_none(), "her share is full");
        let of_bob: Vec<_> = (0..3).filter_map(|_| shares.take(&bob)).collect();
        assert_eq!(of_bob.len(), 2, "all is full");
        of_ada.pop();
        assert!(shares.take(&bob).is_some());
        drop((of_ada, of_bob));
        let state = shares.table.state.lock();
        assert_eq!((state.held.all, state.held.of.len()), (0, 0));
    }

    #[test]
    fn the_waiter_that_holds_least_comes_first() {
        let (shares, [ada, bob, eve]) = (Shares::lasting(BOUNDS), ["ada", "bob", "eve"]);
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
    fn a_waiter_with_a_full_share_does_not_delay_others() {
        let (shares, [ada, bob]) = (Shares::new(BOUNDS), ["ada", "bob"]);
        let _of_ada: Vec<_> = (0..3).filter_map(|_| shares.take(&ada)).collect();
        let mut waiting: Vec<_> = (0..9).map(|_| Box::pin(shares.wait_for_one(&ada))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        assert!(shares.wait_for_one(&bob).now_or_never().is_some());
        drop(waiting);
        let state = shares.table.state.lock();
        assert!(state.waiting.is_empty() && state.order.is_empty(), "who has gone takes no room");
    }

    #[test]
    fn waiters_share_returned_places_and_leave_one_for_a_newcomer() {
        let shares = &Shares::new(Capacity { most: 64, most_of_one: 32 });
        // The first party gets half of the places, the second half of the rest, and so on. The last parties get none.
        let mut waiting: Vec<_> = (0..10)
            .flat_map(|party| [party; 100])
            .map(|party| Box::pin(async move { (party, shares.wait_for_one(&party).await) }))
            .collect();
        let mut held = Vec::new();
        let mut look = |held: &mut Vec<_>| {
            waiting.retain_mut(|one| match one.now_or_never() {
                Some(taken) => {
                    held.push(taken);
                    false
                }
                None => true,
            });
        };
        look(&mut held);
        // This simulates that all served requests end, the oldest first.
        for _ in 0..64 {
            drop(held.remove(0));
            look(&mut held);
        }
        for _ in 0..300 {
            let newcomer = shares.take(&10).expect("ten parties leave some of 64 places free");
            drop(newcomer);
            drop(held.remove(0));
            look(&mut held);
        }
        for party in 0..10 {
            let has = held.iter().filter(|(of, _)| *of == party).count();
            assert!((5..=6).contains(&has), "{party} has {has} of 64");
        }
    }
}
