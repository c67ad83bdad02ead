//! The buckets of one limit, in bounded memory.
//!
//! A bucket that is full and has no running call is the same as no bucket, so it can go at any time. Any other bucket
//! carries information: without it, its caller could start again with a full burst. If the table is full of such
//! buckets, the one that is full again the soonest makes room, and the table remembers that time as its floor. New
//! buckets are full no earlier than the floor. So a bucket that returns never has more than it had, and nobody gains
//! from pushing buckets out.

use std::cmp::Reverse;
use std::hash::{BuildHasher as _, Hash};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::rate::{Moment, Rate};
use crate::shares::{Capacity, Holdings};
use witgate_base::party::Party;

/// The bounds of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The rate of calls.
    pub rate: Option<Rate>,
    /// The number of calls that may run at the same time.
    pub concurrent: Option<u32>,
}

/// The reason why a bucket does not admit a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is empty, for this number of nanoseconds.
    Units(u64),
    /// Too many calls are running.
    Concurrent,
    /// The party keeps too many buckets of this limit busy to get another one.
    Buckets,
}

impl Lack {
    /// Nanoseconds until a retry makes sense. For running calls that is unknown, and a second is assumed.
    pub fn wait(self) -> u64 {
        match self {
            Self::Units(wait) => wait,
            Self::Concurrent | Self::Buckets => 1_000_000_000,
        }
    }
}

/// A borrowed name of a bucket, which is compared with the owned names `K` in a table.
pub trait BucketName<K>: Hash {
    /// True if it is the name `key`.
    fn is(&self, key: &K) -> bool;
    /// The owned name.
    fn to_key(&self) -> K;
}

/// A bucket.
#[derive(Debug)]
struct Bucket<K> {
    hash: u64,
    key: K,
    /// The party that made the bucket, and in whose share it is.
    party: Party,
    full_at: Moment,
    running: u32,
    /// The last call that used it.
    call: u64,
}

impl<K> Bucket<K> {
    /// True if it is the same as no bucket.
    fn is_idle(&self, now: Moment) -> bool {
        self.running == 0 && self.full_at <= now
    }
}

/// The place of a bucket in the table. It stays the same while a call of the bucket runs.
pub(super) type Place = u32;

/// Slots that each new bucket looks at, to remove idle ones. With two, a table shrinks faster than it grows.
const SWEEP: usize = 2;

/// The time for which an idle bucket stays, in nanoseconds. Making it again costs more than finding it.
const REST: Moment = 60_000_000_000;

/// Slots that a new bucket looks at in a full table.
const SEARCH: usize = 16;

/// Slots that a refusal looks at, if the party's share may contain idle buckets.
const SHARE_SWEEP: usize = 256;

/// The state of a table.
#[derive(Debug)]
pub(super) struct TableState<K> {
    capacity: Capacity,
    hasher: RandomState,
    index: HashTable<Place>,
    slots: Vec<Option<Bucket<K>>>,
    vacant: Vec<Place>,
    /// The slot at which the next search begins.
    hand: usize,
    parties: Holdings,
    floor: Moment,
    calls: u64,
    /// The call in which idle buckets were last looked for, to make room for its party.
    swept_in: u64,
}

/// A bucket as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketStatus<K> {
    /// Its name.
    pub key: K,
    /// The time at which it is full again.
    pub full_at: Moment,
    /// The number of its running calls.
    pub running: u32,
}

/// A bucket that a call needs, after the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckedBucket {
    /// It exists, and gets this time.
    At(Place, Moment),
    /// It does not exist yet. It gets this time.
    New(Moment),
    /// The same call has it already.
    Twice,
}

impl<K> TableState<K> {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            hasher: RandomState::default(),
            index: HashTable::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            hand: 0,
            parties: Holdings::default(),
            floor: 0,
            calls: 0,
            swept_in: 0,
        }
    }

    /// Starts a call. Its buckets are those of this call until the next one.
    pub(super) fn begin(&mut self) {
        self.calls += 1;
    }

    /// Checks whether the bucket `name` admits one more call. `new` is the number of buckets that the call makes
    /// besides. Nothing changes, except that idle buckets may go.
    pub(super) fn check(
        &mut self,
        name: &impl BucketName<K>,
        bounds: Bounds,
        now: Moment,
        (party, new): (impl Fn() -> Party, usize),
    ) -> Result<CheckedBucket, Lack> {
        let Some(place) = self.find(name) else {
            let full_at = taken(bounds, self.floor, 0, now)?;
            self.has_room(&party(), new + 1, now)?;
            return Ok(CheckedBucket::New(full_at));
        };
        let call = self.calls;
        let Some(bucket) = self.bucket_mut(place) else { return Err(Lack::Buckets) };
        if bucket.call == call {
            return Ok(CheckedBucket::Twice);
        }
        bucket.call = call;
        taken(bounds, bucket.full_at, bucket.running, now).map(|full_at| CheckedBucket::At(place, full_at))
    }

    /// Takes what the check has found. Returns the place of the bucket, unless the call has it already.
    pub(super) fn take(
        &mut self,
        found: CheckedBucket,
        name: &impl BucketName<K>,
        (bounds, now): (Bounds, Moment),
        party: impl FnOnce() -> Party,
    ) -> Option<Place> {
        let runs = u32::from(bounds.concurrent.is_some());
        match found {
            CheckedBucket::Twice => None,
            CheckedBucket::At(place, full_at) => {
                let bucket = self.bucket_mut(place)?;
                bucket.full_at = full_at;
                bucket.running += runs;
                Some(place)
            }
            // A call with the same target twice finds the bucket that it has made itself.
            CheckedBucket::New(_) if self.find(name).is_some() => None,
            CheckedBucket::New(full_at) => {
                let (hash, key, call) = (self.hasher.hash_one(name), name.to_key(), self.calls);
                let bucket = Bucket { hash, key, party: party(), full_at, running: runs, call };
                Some(self.insert(bucket, now))
            }
        }
    }

    /// Ends a running call of the bucket at `place`.
    pub(super) fn release(&mut self, place: Place) {
        if let Some(bucket) = self.bucket_mut(place) {
            bucket.running = bucket.running.saturating_sub(1);
        }
    }

    /// The number of buckets that are not idle, and the `most` of them that take the longest to be full.
    pub(super) fn busiest(&self, now: Moment, most: usize) -> (usize, Vec<BucketStatus<K>>)
    where
        K: Clone,
    {
        let mut busy: Vec<_> = self.slots.iter().flatten().filter(|bucket| !bucket.is_idle(now)).collect();
        let (number, rank) = (busy.len(), |bucket: &&Bucket<K>| Reverse((bucket.full_at, bucket.running)));
        if most < number {
            busy.select_nth_unstable_by_key(most, rank);
            busy.truncate(most);
        }
        busy.sort_unstable_by_key(rank);
        let status = |bucket: &Bucket<K>| BucketStatus {
            key: bucket.key.clone(),
            full_at: bucket.full_at,
            running: bucket.running,
        };
        (number, busy.into_iter().map(status).collect())
    }

    /// The time at which the bucket `name` is full again, and the number of its running calls.
    pub(super) fn look(&self, name: &impl BucketName<K>) -> (Moment, u32) {
        let bucket = self.find(name).and_then(|place| self.slots.get(place as usize)?.as_ref());
        bucket.map_or((self.floor, 0), |bucket| (bucket.full_at, bucket.running))
    }

    /// The number of buckets, idle ones included.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    fn find(&self, name: &impl BucketName<K>) -> Option<Place> {
        let is_it = |place: &Place| {
            let bucket = self.slots.get(*place as usize).and_then(Option::as_ref);
            bucket.is_some_and(|bucket| name.is(&bucket.key))
        };
        self.index.find(self.hasher.hash_one(name), is_it).copied()
    }

    fn bucket_mut(&mut self, place: Place) -> Option<&mut Bucket<K>> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    /// Checks that the party may have `new` more buckets, and that enough stay free for others. The first bucket of a
    /// party always has room: an idle one has to go for it. Idle buckets are looked for once in a call.
    fn has_room(&mut self, party: &Party, new: usize, now: Moment) -> Result<(), Lack> {
        let is_first = new == 1 && self.parties.of(party) == 0;
        if is_first || self.parties.have_room(party, new, self.capacity) {
            return Ok(());
        }
        if self.swept_in != self.calls {
            self.swept_in = self.calls;
            self.sweep(SHARE_SWEEP, now);
        }
        if self.parties.have_room(party, new, self.capacity) { Ok(()) } else { Err(Lack::Buckets) }
    }

    fn insert(&mut self, bucket: Bucket<K>, now: Moment) -> Place {
        if let Some(before) = now.checked_sub(REST) {
            self.sweep(SWEEP, before);
        }
        if self.len() >= self.capacity.most {
            self.make_room(now);
        }
        self.parties.add(&bucket.party, 1);
        let hash = bucket.hash;
        let place = match self.vacant.pop() {
            Some(place) => place,
            None => {
                self.slots.push(None);
                Place::try_from(self.slots.len() - 1).unwrap_or(Place::MAX)
            }
        };
        if let Some(slot) = self.slots.get_mut(place as usize) {
            *slot = Some(bucket);
        }
        let slots = &self.slots;
        let rehash =
            |place: &Place| slots.get(*place as usize).and_then(Option::as_ref).map_or(0, |b| b.hash);
        self.index.insert_unique(hash, place, rehash);
        place
    }

    /// Removes buckets among the next slots that have been idle since `before`, except those of the current call.
    fn sweep(&mut self, looks: usize, before: Moment) {
        for _ in 0..looks.min(self.slots.len()) {
            let (place, call) = (self.advance(), self.calls);
            let bucket = self.slots.get(place).and_then(Option::as_ref);
            if bucket.is_some_and(|bucket| bucket.is_idle(before) && bucket.call != call) {
                self.remove(place);
            }
        }
    }

    /// Removes the bucket, among the next slots, that is full again the soonest. Buckets of the current call and those
    /// with running calls stay. If there is no other among these slots, the search goes on; if there is none at all,
    /// the table grows: running calls have bounds of their own.
    fn make_room(&mut self, now: Moment) {
        let mut soonest: Option<(Moment, usize)> = None;
        for look in 0..self.slots.len() {
            if look >= SEARCH && soonest.is_some() {
                break;
            }
            let (place, call) = (self.advance(), self.calls);
            let bucket = self.slots.get(place).and_then(Option::as_ref);
            if let Some(bucket) = bucket.filter(|bucket| bucket.running == 0 && bucket.call != call)
                && soonest.is_none_or(|(full_at, _)| bucket.full_at < full_at)
            {
                soonest = Some((bucket.full_at, place));
            }
        }
        if let Some((full_at, place)) = soonest {
            if full_at > now {
                self.floor = self.floor.max(full_at);
            }
            self.remove(place);
        }
    }

    fn advance(&mut self) -> usize {
        let place = self.hand;
        self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
        place
    }

    fn remove(&mut self, place: usize) {
        let Some(bucket) = self.slots.get_mut(place).and_then(Option::take) else { return };
        let Ok(place) = Place::try_from(place) else { return };
        if let Ok(entry) = self.index.find_entry(bucket.hash, |other| *other == place) {
            entry.remove();
        }
        self.vacant.push(place);
        self.parties.remove(&bucket.party, 1);
    }
}

/// The time at which a bucket with these bounds is full again after one more call.
fn taken(bounds: Bounds, full_at: Moment, running: u32, now: Moment) -> Result<Moment, Lack> {
    if bounds.concurrent.is_some_and(|most| running >= most) {
        return Err(Lack::Concurrent);
    }
    match bounds.rate {
        Some(rate) => rate.take(full_at, now).map_err(Lack::Units),
        None => Ok(full_at.max(now)),
    }
}
