//! Tables of buckets: how often something may happen, and how much of it at the same time.
//!
//! A call may need several buckets, of several limits. [`take_all`] checks all of them before it takes anything, so that
//! a refused call costs nothing. The tables of a call are locked in one order, for the time of that check.

mod rate;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use smallvec::SmallVec;

pub use rate::{Moment, Rate};
pub use table::{Bounds, BucketName, BucketStatus, Lack};
use table::{CheckedBucket, Place, TableState};

use crate::metrics::Metrics;
use crate::shares::Capacity;
use witgate_base::party::Party;

/// The buckets of one limit: those of tens of thousands of callers, in a few MiB.
pub const CAPACITY: Capacity = Capacity { most: 65_536, most_of_one: 8_192 };

/// The tables of all limits by name. They outlive the generations that use them.
#[derive(Debug)]
pub struct BucketTables<K> {
    began: Instant,
    capacity: Capacity,
    made: AtomicU64,
    tables: Mutex<BTreeMap<Arc<str>, Arc<BucketTable<K>>>>,
    hits: Family<HitLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HitLabels {
    limit: String,
    of: &'static str,
}

impl<K> Default for BucketTables<K> {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl<K> BucketTables<K> {
    /// Tables with this capacity each.
    pub fn with_capacity(capacity: Capacity) -> Self {
        let (made, tables, hits) = Default::default();
        Self { began: Instant::now(), capacity, made, tables, hits }
    }

    /// The time now. It comes from the monotonic clock.
    pub fn now(&self) -> Moment {
        Moment::try_from(self.began.elapsed().as_nanos()).unwrap_or(Moment::MAX)
    }

    /// The table of the limit `name`: the existing one with its counts, or a new one.
    pub fn table(&self, name: &Arc<str>) -> Arc<BucketTable<K>> {
        let mut tables = self.tables.lock();
        let new = || {
            let hit = |of| self.hits.get_or_create_owned(&HitLabels { limit: name.to_string(), of });
            Arc::new(BucketTable {
                number: self.made.fetch_add(1, Ordering::Relaxed),
                hits: Hits { rate: hit("rate"), concurrent: hit("concurrent"), buckets: hit("buckets") },
                state: Mutex::new(TableState::new(self.capacity)),
            })
        };
        Arc::clone(tables.entry(Arc::clone(name)).or_insert_with(new))
    }

    /// Forgets the tables that nobody uses, except for those of the limits `names`.
    pub fn keep_only(&self, names: &[Arc<str>]) {
        self.tables.lock().retain(|name, table| names.contains(name) || Arc::strong_count(table) > 1);
    }

    /// Registers the counters of hits with `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        let help = "Calls that a limit refused: because of its rate, because too many were running, or because one \
                    caller kept too many of its buckets busy";
        metrics.register(|registry| registry.register("limit_hits", help, self.hits.clone()));
    }
}

/// The buckets of one limit.
#[derive(Debug)]
pub struct BucketTable<K> {
    /// The place in the order in which tables are locked.
    number: u64,
    hits: Hits,
    state: Mutex<TableState<K>>,
}

#[derive(Debug, Default)]
struct Hits {
    rate: Counter,
    concurrent: Counter,
    buckets: Counter,
}

impl<K> BucketTable<K> {
    /// The place in the order in which tables are locked.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Counts a refused call.
    pub fn count(&self, lack: Lack) {
        match lack {
            Lack::Units(_) => self.hits.rate.inc(),
            Lack::Concurrent => self.hits.concurrent.inc(),
            Lack::Buckets => self.hits.buckets.inc(),
        };
    }

    /// The number of calls that the limit has refused.
    pub fn hits(&self) -> u64 {
        self.hits.rate.get() + self.hits.concurrent.get() + self.hits.buckets.get()
    }

    /// The number of buckets, idle ones included.
    pub fn buckets(&self) -> usize {
        self.state.lock().len()
    }

    /// The number of buckets that are not full or have running calls, and the `most` of them that take the longest to
    /// be full.
    pub fn busiest(&self, now: Moment, most: usize) -> (usize, Vec<BucketStatus<K>>)
    where
        K: Clone,
    {
        self.state.lock().busiest(now, most)
    }

    /// The time at which the bucket `name` is full again, and the number of its running calls.
    pub fn look(&self, name: &impl BucketName<K>) -> (Moment, u32) {
        self.state.lock().look(name)
    }
}

/// One bucket that a call needs.
#[derive(Debug)]
pub struct NeededBucket<'a, K, N> {
    /// The table of its limit.
    pub table: &'a Arc<BucketTable<K>>,
    /// The bounds of each bucket of the limit.
    pub bounds: Bounds,
    /// Its name.
    pub name: N,
}

/// The places of a call among the running ones. Dropping it ends the call.
#[derive(Debug)]
pub struct RunningCall<K>(SmallVec<[(Arc<BucketTable<K>>, Place); 2]>);

impl<K> RunningCall<K> {
    /// True if the call has no place.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K> Default for RunningCall<K> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<K> Drop for RunningCall<K> {
    fn drop(&mut self) {
        for (table, place) in &self.0 {
            table.state.lock().release(*place);
        }
    }
}

/// Takes one unit from each of the buckets, or nothing at all. `needed` are in the order of their tables' numbers.
/// `party` is the party of the call, which is only needed for new buckets.
///
/// # Errors
/// If a bucket does not admit the call: with the place in `needed` of the one with the longest wait, and the reason.
pub fn take_all<K, N: BucketName<K>>(
    needed: &[NeededBucket<'_, K, N>],
    party: impl Fn() -> Party,
    now: Moment,
) -> Result<RunningCall<K>, (usize, Lack)> {
    let mut locked = LockedTables::new();
    let checked = check_all(needed, &mut locked, &party, now)?;
    let mut running = RunningCall::default();
    for (bucket, (table, checked)) in needed.iter().zip(checked) {
        let Some(state) = locked.get_mut(table) else { continue };
        let taken = state.take(checked, &bucket.name, (bucket.bounds, now), &party);
        if let (Some(place), Some(_)) = (taken, bucket.bounds.concurrent) {
            running.0.push((Arc::clone(bucket.table), place));
        }
    }
    Ok(running)
}

/// The tables of a call, locked in the order of their numbers.
type LockedTables<'a, K> = SmallVec<[MutexGuard<'a, TableState<K>>; 4]>;

/// The checked buckets of a call, each with the place of its table among the locked ones.
type CheckedBuckets = SmallVec<[(usize, CheckedBucket); 4]>;

/// Checks all buckets, and leaves their tables locked.
fn check_all<'a, K, N: BucketName<K>>(
    needed: &[NeededBucket<'a, K, N>],
    locked: &mut LockedTables<'a, K>,
    party: &impl Fn() -> Party,
    now: Moment,
) -> Result<CheckedBuckets, (usize, Lack)> {
    debug_assert!(needed.is_sorted_by_key(|bucket| bucket.table.number));
    let mut all = CheckedBuckets::new();
    let mut worst: Option<(usize, Lack)> = None;
    let (mut last, mut new) = (None, 0);
    for (place, bucket) in needed.iter().enumerate() {
        if last != Some(bucket.table.number) {
            let mut state = bucket.table.state.lock();
            state.begin();
            locked.push(state);
            (last, new) = (Some(bucket.table.number), 0);
        }
        let table = locked.len() - 1;
        let Some(state) = locked.last_mut() else { continue };
        match state.check(&bucket.name, bucket.bounds, now, (party, new)) {
            Ok(checked) => {
                new += usize::from(matches!(checked, CheckedBucket::New(_)));
                all.push((table, checked));
            }
            // No other bucket can shorten the wait, and each would be looked for in vain.
            Err(Lack::Buckets) => return Err((place, Lack::Buckets)),
            Err(lack) if worst.is_none_or(|(_, known)| known.wait() < lack.wait()) => {
                worst = Some((place, lack));
            }
            Err(_) => {}
        }
    }
    worst.map_or(Ok(all), Err)
}
