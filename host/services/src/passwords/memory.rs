//! The memory of right passwords. It has one for each hash, so one for each user, and only as a keyed digest.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use witgate_plugin::Digest;

use crate::process_key;

/// The time for which a password is remembered. A verdict of `basic` is kept for another minute, so both together are
/// ten minutes.
pub(super) const REMEMBERED: Duration = Duration::from_secs(9 * 60);

/// The time in which a password has a place of its own in the queue, after it was right.
pub(super) const PREFERRED: Duration = Duration::from_secs(24 * 3600);

/// The maximum number of passwords, each of some two hundred bytes.
pub(super) const MOST: usize = 10_000;

/// The passwords that were right lately.
#[derive(Debug, Default)]
pub(super) struct RightPasswords {
    /// The random key of the digests. None: the system has no random numbers, so nothing is remembered.
    key: OnceLock<Option<hmac::Key>>,
    table: Mutex<RightTable>,
}

#[derive(Debug, Default)]
struct RightTable {
    by_hash: HashMap<Box<str>, RightPassword>,
    /// The hashes in the order in which their passwords arrived.
    by_age: BTreeMap<u64, Box<str>>,
    arrivals: u64,
}

#[derive(Debug)]
struct RightPassword {
    digest: Digest,
    since: Instant,
    arrival: u64,
}

impl RightPasswords {
    /// True if `password` was right for `hash` lately.
    pub(super) fn has(&self, hash: &str, password: &str, now: Instant) -> bool {
        self.had(hash, password, now, REMEMBERED)
    }

    /// True if `password` was right for `hash` in the last day. That proves nothing now.
    pub(super) fn prefers(&self, hash: &str, password: &str, now: Instant) -> bool {
        self.had(hash, password, now, PREFERRED)
    }

    fn had(&self, hash: &str, password: &str, now: Instant, within: Duration) -> bool {
        if !self.table.lock().knows(hash, now, within) {
            return false;
        }
        let Some(digest) = self.digest(hash, password) else { return false };
        let table = self.table.lock();
        table.by_hash.get(hash).is_some_and(|right| {
            right.is_within(within, now) && verify_slices_are_equal(&right.digest, &digest).is_ok()
        })
    }

    /// Remembers that `password` is right for `hash`, in place of an earlier one.
    pub(super) fn add(&self, hash: &str, password: &str, now: Instant) {
        if let Some(digest) = self.digest(hash, password) {
            self.table.lock().add(hash, digest, now);
        }
    }

    /// A keyed digest, so that nobody who reads the memory can search for the password with the speed of SHA-256. The
    /// hash has a salt of its own, so it stands for the user.
    fn digest(&self, hash: &str, password: &str) -> Option<Digest> {
        let key = self.key.get_or_init(process_key::random);
        let mut context = hmac::Context::with_key(key.as_ref()?);
        context.update(&(hash.len() as u64).to_be_bytes());
        context.update(hash.as_bytes());
        context.update(password.as_bytes());
        context.sign().as_ref().try_into().ok()
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let table = self.table.lock();
        (table.by_hash.len(), table.by_age.len())
    }
}

impl RightPassword {
    fn is_within(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < time
    }
}

impl RightTable {
    fn knows(&self, hash: &str, now: Instant, within: Duration) -> bool {
        self.by_hash.get(hash).is_some_and(|right| right.is_within(within, now))
    }

    fn add(&mut self, hash: &str, digest: Digest, now: Instant) {
        self.remove(hash);
        while let Some(oldest) = self.superfluous(now) {
            self.remove(&oldest);
        }
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.by_age.insert(arrival, hash.into());
        self.by_hash.insert(hash.into(), RightPassword { digest, since: now, arrival });
    }

    /// The oldest entry, if its time is over or the table is full.
    fn superfluous(&self, now: Instant) -> Option<Box<str>> {
        let (_, oldest) = self.by_age.first_key_value()?;
        (self.by_hash.len() >= MOST || !self.knows(oldest, now, PREFERRED)).then(|| oldest.clone())
    }

    fn remove(&mut self, hash: &str) {
        if let Some(right) = self.by_hash.remove(hash) {
            self.by_age.remove(&right.arrival);
        }
    }
}
