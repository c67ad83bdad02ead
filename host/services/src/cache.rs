//! The cache of a policy, with limits of entries and bytes, and an expiry for each entry.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Store;

use crate::lookups::Lookups;

/// Longest key, in bytes.
const KEY_BYTES: usize = 256;
/// Longest value, in bytes.
const VALUE_BYTES: usize = 64 << 10;
/// Seconds for which a blocked key stays empty. They are longer than a policy may wait for an answer, which might be
/// older than the block.
const BLOCKED_S: u64 = 15;
/// Average size of an entry in bytes, for sizing the table: an introspected token.
const USUAL_ENTRY: u64 = 400;

/// A bounded cache.
#[derive(Debug)]
pub struct Cache {
    store: Store<Box<[u8]>, CacheEntry, Weight>,
    /// The end of the block of each key. It is not in the store, which may remove entries.
    blocked: Mutex<HashMap<Box<[u8]>, u64>>,
    lookups: Lookups,
}

#[derive(Clone, Debug)]
struct CacheEntry {
    value: Arc<[u8]>,
    ends_at: u64,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Box<[u8]>, CacheEntry> for Weight {
    fn weight(&self, key: &Box<[u8]>, entry: &CacheEntry) -> u64 {
        (key.len() + entry.value.len() + size_of::<CacheEntry>()) as u64
    }
}

impl Cache {
    /// A cache for keys and values with a total of `bytes`. Beyond that, it removes the least recently used entries.
    pub fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / USUAL_ENTRY).unwrap_or(usize::MAX);
        let store = Store::with_weighter(entries, bytes, Weight);
        Self { store, blocked: Mutex::default(), lookups: Lookups::default() }
    }

    /// The hits and misses.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The value of `key`, if it has not expired at `now` (seconds since the Unix epoch).
    pub fn get(&self, key: &[u8], now: u64) -> Option<Vec<u8>> {
        let found = self.find(key, now);
        self.lookups.note(found.is_some());
        found
    }

    fn find(&self, key: &[u8], now: u64) -> Option<Vec<u8>> {
        let entry = self.store.get(key)?;
        if entry.ends_at <= now {
            self.store.remove(key);
            return None;
        }
        Some(entry.value.to_vec())
    }

    /// Stores `value` for at most `ttl_s` seconds, unless it is too large.
    pub fn put(&self, key: &[u8], value: &[u8], now: u64, ttl_s: u32) {
        if key.len() > KEY_BYTES || value.len() > VALUE_BYTES || ttl_s == 0 {
            return;
        }
        // The lock is held to the end, so that nobody blocks the key in between.
        let blocked = self.blocked.lock();
        if blocked.get(key).is_some_and(|until| *until > now) {
            return;
        }
        let ends_at = now.saturating_add(u64::from(ttl_s));
        self.store.insert(key.into(), CacheEntry { value: value.into(), ends_at });
    }

    /// Removes `key`, and stores nothing under it for a while. True: there was an entry.
    pub fn block(&self, key: &[u8], now: u64) -> bool {
        let mut blocked = self.blocked.lock();
        blocked.retain(|_, until| *until > now);
        blocked.insert(key.into(), now.saturating_add(BLOCKED_S));
        let was_there = self.find(key, now).is_some();
        self.store.remove(key);
        was_there
    }

    /// Removes `key`.
    pub fn remove(&self, key: &[u8]) {
        self.store.remove(key);
    }

    /// Removes all keys.
    pub fn clear(&self) {
        self.store.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, VALUE_BYTES};

    const BYTES: u64 = 4 << 20;

    #[test]
    fn an_entry_expires_at_the_end_of_its_time() {
        let cache = Cache::new(BYTES);
        cache.put(b"k", b"v", 100, 10);
        assert_eq!(cache.get(b"k", 109).as_deref(), Some(b"v".as_slice()));
        assert_eq!(cache.get(b"k", 110), None);
        assert_eq!((cache.lookups().hits(), cache.lookups().misses()), (1, 1));
    }

    #[test]
    fn a_flood_of_entries_revives_no_removed_one() {
        let cache = Cache::new(BYTES);
        cache.put(b"k", b"v", 100, 60);
        assert!(cache.block(b"k", 100));
        for n in 0..20_000_u32 {
            cache.put(&n.to_be_bytes(), &[0; 1000], 100, 60);
        }
        cache.put(b"k", b"v", 101, 60);
        assert_eq!(cache.get(b"k", 101), None);
        cache.put(b"k", b"v", 100 + super::BLOCKED_S, 60);
        assert!(cache.get(b"k", 100 + super::BLOCKED_S).is_some(), "for a while only");
    }

    #[test]
    fn a_removed_entry_is_not_stored_again_for_a_while() {
        let cache = Cache::new(BYTES);
        cache.put(b"k", b"v", 100, 60);
        assert!(cache.block(b"k", 100));
        assert!(!cache.block(b"k", 100), "there is nothing left");
        // The answer to an earlier question.
        cache.put(b"k", b"v", 101, 60);
        cache.remove(b"k");
        cache.put(b"k", b"v", 102, 60);
        assert_eq!(cache.get(b"k", 103), None);
        cache.put(b"k", b"new", 116, 60);
        assert_eq!(cache.get(b"k", 117).as_deref(), Some(b"new".as_slice()));
    }

    #[test]
    fn a_flood_of_entries_stays_within_the_limit() {
        let cache = Cache::new(BYTES);
        for n in 0..100_000_u32 {
            cache.put(&n.to_be_bytes(), &[0; 1000], 0, 60);
        }
        assert!(cache.store.weight() <= BYTES);
        cache.put(b"large", &vec![0; VALUE_BYTES + 1], 0, 60);
        assert_eq!(cache.get(b"large", 0), None);
    }
}
