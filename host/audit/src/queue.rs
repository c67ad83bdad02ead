//! The queue of entries between the threads that make them and the one that writes them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::waiters::{DurableEntry, Waiters};

/// The number of entries that may wait, including places for entries that are made later.
const MOST_ENTRIES: usize = 16_384;

/// The number of bytes of waiting entries above which no more places are given.
const MOST_BYTES: usize = 32 << 20;

/// A bounded queue. Entries are kept one after the other in one buffer.
#[derive(Default)]
pub(crate) struct EntryQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
    places: AtomicUsize,
    bytes: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Default)]
struct QueueState {
    batch: EntryBatch,
    /// The time of the first entry of `batch`.
    oldest: Option<Instant>,
    /// That of the batch that is being written.
    oldest_taken: Option<Instant>,
    is_writer_waiting: bool,
    wants_checkpoint: bool,
    is_ended: bool,
}

/// Entries that are written together.
#[derive(Default)]
pub(crate) struct EntryBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    waiters: Waiters,
}

/// Requests that came with a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchRequests {
    /// A checkpoint is wanted now.
    pub(crate) checkpoint: bool,
    /// The log ends after this batch.
    pub(crate) end: bool,
}

/// A place for one entry. Dropping it frees the place.
pub struct EntryPlace {
    queue: Arc<EntryQueue>,
    is_used: bool,
}

impl fmt::Debug for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryPlace").finish_non_exhaustive()
    }
}

impl Drop for EntryPlace {
    fn drop(&mut self) {
        if !self.is_used {
            self.queue.places.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl EntryBatch {
    /// A batch of one entry, which needs no place.
    pub(crate) fn single(entry: Vec<u8>) -> Self {
        let ends = vec![entry.len()];
        Self { bytes: entry, ends, waiters: Waiters::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The entries, each a JSON object.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| self.bytes.get(begin..*end).unwrap_or_default())
    }

    /// Tells those who wait that the entries are durable, and empties the batch.
    pub(crate) fn settle(&mut self, is_durable: bool) {
        self.waiters.settle(is_durable);
        self.bytes.clear();
        self.ends.clear();
    }
}

impl EntryQueue {
    /// Takes a place for an entry that is made later.
    pub(crate) fn place(self: &Arc<Self>) -> Option<EntryPlace> {
        if self.bytes.load(Ordering::Relaxed) > MOST_BYTES {
            return None;
        }
        let more = |places: usize| (places < MOST_ENTRIES).then_some(places + 1);
        let taken = self.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        taken.then(|| EntryPlace { queue: Arc::clone(self), is_used: false })
    }

    /// Adds an entry.
    pub(crate) fn push(&self, entry: &[u8], place: EntryPlace) {
        let mut state = self.state.lock();
        self.push_into(&mut state, entry, place);
    }

    /// The same, for a caller who waits until it is durable.
    pub(crate) fn push_durably(&self, entry: &[u8], place: EntryPlace) -> DurableEntry {
        let mut state = self.state.lock();
        match self.push_into(&mut state, entry, place) {
            true => state.batch.waiters.add(),
            false => DurableEntry::lost(),
        }
    }

    /// Adds an entry. False: the queue has ended.
    fn push_into(&self, state: &mut QueueState, entry: &[u8], mut place: EntryPlace) -> bool {
        if state.is_ended {
            self.lose(1);
            return false;
        }
        place.is_used = true;
        if state.batch.is_empty() {
            state.oldest = Some(Instant::now());
        }
        state.batch.bytes.extend_from_slice(entry);
        let end = state.batch.bytes.len();
        state.batch.ends.push(end);
        self.bytes.fetch_add(entry.len(), Ordering::Relaxed);
        if std::mem::take(&mut state.is_writer_waiting) {
            self.changed.notify_one();
        }
        true
    }

    /// Asks the writer for a checkpoint.
    pub(crate) fn want_checkpoint(&self) {
        let mut state = self.state.lock();
        state.wants_checkpoint = true;
        state.is_writer_waiting = false;
        self.changed.notify_one();
    }

    /// Ends the queue: what waits is still written.
    pub(crate) fn end(&self) {
        self.state.lock().is_ended = true;
        self.changed.notify_one();
    }

    /// True after [`EntryQueue::end`].
    pub(crate) fn is_ended(&self) -> bool {
        self.state.lock().is_ended
    }

    /// Counts lost entries.
    pub(crate) fn lose(&self, entries: u64) {
        self.lost.fetch_add(entries, Ordering::Relaxed);
    }

    /// The number of lost entries.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The number of entries that wait, and of places.
    pub(crate) fn waiting(&self) -> usize {
        self.places.load(Ordering::Relaxed)
    }

    /// Waits for entries or requests, at most until `due`. `batch`, which is empty, is exchanged with those that wait.
    pub(crate) fn take(&self, batch: &mut EntryBatch, due: Instant) -> BatchRequests {
        let mut state = self.state.lock();
        while state.batch.is_empty() && !state.is_ended && !state.wants_checkpoint {
            state.is_writer_waiting = true;
            let is_late = self.changed.wait_until(&mut state, due).timed_out();
            state.is_writer_waiting = false;
            if is_late {
                break;
            }
        }
        std::mem::swap(batch, &mut state.batch);
        state.oldest_taken = state.oldest.take();
        BatchRequests { checkpoint: std::mem::take(&mut state.wants_checkpoint), end: state.is_ended }
    }

    /// Frees the places of a batch that is written, or given up.
    pub(crate) fn free(&self, batch: &EntryBatch) {
        self.places.fetch_sub(batch.ends.len(), Ordering::Relaxed);
        self.bytes.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
        self.state.lock().oldest_taken = None;
    }

    /// The time since which the oldest entry waits to be written. Zero: none waits.
    pub(crate) fn lag(&self) -> Duration {
        let state = self.state.lock();
        state.oldest_taken.or(state.oldest).map(|oldest| oldest.elapsed()).unwrap_or_default()
    }

    /// Waits until `due`, or until the queue ends.
    pub(crate) fn pause(&self, due: Instant) {
        let mut state = self.state.lock();
        while !state.is_ended && !self.changed.wait_until(&mut state, due).timed_out() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_their_places() {
        let queue = Arc::new(EntryQueue::default());
        let (kept, dropped) = (queue.place().unwrap(), queue.place().unwrap());
        drop(dropped);
        queue.push(b"{1}", kept);
        queue.push(b"{22}", queue.place().unwrap());
        assert_eq!(queue.waiting(), 2);
        let mut batch = EntryBatch::default();
        queue.take(&mut batch, Instant::now());
        assert_eq!(batch.entries().collect::<Vec<_>>(), [b"{1}".as_slice(), b"{22}"]);
        queue.free(&batch);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn the_lag_is_that_of_the_oldest_entry_until_it_is_written() {
        let queue = Arc::new(EntryQueue::default());
        assert_eq!(queue.lag(), Duration::ZERO);
        queue.push(b"{}", queue.place().unwrap());
        let mut batch = EntryBatch::default();
        queue.take(&mut batch, Instant::now());
        // As if it waited for long.
        const LONG: Duration = Duration::from_secs(60);
        queue.state.lock().oldest_taken = Instant::now().checked_sub(LONG);
        queue.push(b"{}", queue.place().unwrap());
        assert!(queue.lag() >= LONG, "the batch is not written yet");
        queue.free(&batch);
        batch.settle(true);
        let lag = queue.lag();
        assert!(lag > Duration::ZERO && lag < LONG, "{lag:?}");
        queue.take(&mut batch, Instant::now());
        queue.free(&batch);
        assert_eq!(queue.lag(), Duration::ZERO);
    }

    #[test]
    fn the_queue_is_bounded() {
        let queue = Arc::new(EntryQueue::default());
        let places: Vec<_> = std::iter::from_fn(|| queue.place()).collect();
        assert_eq!(places.len(), MOST_ENTRIES);
        drop(places);
        queue.push(&vec![b'x'; MOST_BYTES + 1], queue.place().unwrap());
        assert!(queue.place().is_none(), "one entry may exceed the bound, and then no other");
    }

    #[test]
    fn an_ended_queue_loses_what_comes_later() {
        let queue = Arc::new(EntryQueue::default());
        queue.push(b"{}", queue.place().unwrap());
        queue.end();
        queue.push(b"{}", queue.place().unwrap());
        assert_eq!((queue.lost(), queue.waiting()), (1, 1));
        let mut batch = EntryBatch::default();
        assert!(queue.take(&mut batch, Instant::now() + Duration::from_secs(60)).end);
        assert_eq!(batch.entries().count(), 1);
    }
}
