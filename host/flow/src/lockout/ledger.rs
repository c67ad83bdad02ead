//! The failures of networks or credentials, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::quality::RandomState;

use witgate_config::limits::Lockout as LockoutSettings;

/// Maximum number of entries.
const MOST: usize = 65_536;

/// Entries among which a full ledger chooses the one that goes.
const SEARCH: usize = 16;

/// The failures by network or credential.
#[derive(Debug)]
pub(super) struct Ledger<K> {
    most: usize,
    places: HashMap<K, usize, RandomState>,
    entries: Vec<(K, Failures)>,
    /// The entry at which the next search begins.
    hand: usize,
    last_end: LastPauseEnd,
}

/// The time at which the last pause of a ledger ends, or a later one. Everybody can read it without the lock of the
/// ledger, so that requests take no lock while nobody is in a pause.
#[derive(Clone, Debug, Default)]
pub(super) struct LastPauseEnd(Arc<AtomicU64>);

impl LastPauseEnd {
    /// The time now, if a pause may be running.
    pub(super) fn pausing(ends: &[Self], now: impl FnOnce() -> Duration) -> Option<Duration> {
        let last = ends.iter().map(|end| end.0.load(Ordering::Acquire)).max().filter(|last| *last > 0)?;
        Some(now()).filter(|now| nanoseconds(*now) < last)
    }

    fn note(&self, end: Duration) {
        self.0.fetch_max(nanoseconds(end), Ordering::Release);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A failure that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddedFailure {
    /// The number of failures with it.
    pub(super) number: u32,
    /// The pause that begins with it. None: there is none, or it had begun before.
    pub(super) begun: Option<Duration>,
    at: Duration,
    /// The failures before it. None: there were none, or they were forgotten.
    former: Option<Failures>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failures {
    number: u32,
    last: Duration,
    /// The end of the pause.
    until: Duration,
    /// The time at which all of it is forgotten.
    forgotten: Duration,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        let (places, entries, hand, last_end) = Default::default();
        Self { most: MOST, places, entries, hand, last_end }
    }
}

impl<K: Clone + Eq + Hash> Ledger<K> {
    #[cfg(test)]
    pub(super) fn with_room(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// The end of the last pause.
    pub(super) fn last_end(&self) -> LastPauseEnd {
        self.last_end.clone()
    }

    /// The rest of the pause, if there is one.
    pub(super) fn rest(&self, key: &K, now: Duration) -> Option<Duration> {
        if self.entries.is_empty() {
            return None;
        }
        let rest = self.find(key)?.until.checked_sub(now)?;
        (!rest.is_zero()).then_some(rest)
    }

    /// True if it has failures that are not forgotten.
    pub(super) fn knows(&self, key: &K, now: Duration) -> bool {
        self.find(key).is_some_and(|failures| failures.forgotten > now)
    }

    /// Adds a failure, which may lead to a pause, or to a longer one.
    pub(super) fn add(&mut self, key: K, settings: &LockoutSettings, now: Duration) -> AddedFailure {
        let known = self.find(&key).copied().filter(|failures| failures.forgotten > now);
        let number = known.map_or(0, |failures| failures.number).saturating_add(1);
        let paused_until = known.map(|failures| failures.until).filter(|until| *until > now);
        let pause = pause(number, settings);
        let until = paused_until.unwrap_or(now).max(now + pause.unwrap_or_default());
        let failures = Failures { number, last: now, until, forgotten: until + settings.forget };
        self.put(key, failures, now);
        AddedFailure { number, begun: pause.filter(|_| paused_until.is_none()), at: now, former: known }
    }

    /// Takes a failure back, which was none after all, with the pause that it has begun. Those that were added since
    /// stay.
    pub(super) fn take_back(&mut self, key: &K, added: &AddedFailure, settings: &LockoutSettings) {
        let Some(place) = self.places.get(key).copied() else { return };
        let Some((_, failures)) = self.entries.get_mut(place) else { return };
        let is_last = (failures.number, failures.last) == (added.number, added.at);
        match (failures.number.saturating_sub(1), added.former) {
            (0, _) => self.remove_at(place),
            (_, Some(former)) if is_last => *failures = former,
            (number, _) => {
                failures.number = number;
                failures.until =
                    failures.until.min(failures.last + pause(number, settings).unwrap_or_default());
                failures.forgotten = failures.until + settings.forget;
            }
        }
    }

    /// Removes an entry. True: there was one.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let Some(place) = self.places.get(key).copied() else { return false };
        self.remove_at(place);
        true
    }

    /// Removes all entries, and returns their number.
    pub(super) fn clear(&mut self) -> usize {
        self.places.clear();
        std::mem::take(&mut self.entries).len()
    }

    /// All entries that are not forgotten: the number of failures, and the rest of the pause.
    pub(super) fn all(&self, now: Duration) -> impl Iterator<Item = (&K, u32, Duration)> {
        let known = self.entries.iter().filter(move |(_, failures)| failures.forgotten > now);
        known.map(move |(key, failures)| (key, failures.number, failures.until.saturating_sub(now)))
    }

    fn find(&self, key: &K) -> Option<&Failures> {
        self.places.get(key).and_then(|place| self.entries.get(*place)).map(|(_, failures)| failures)
    }

    fn put(&mut self, key: K, failures: Failures, now: Duration) {
        self.last_end.note(failures.until);
        if let Some((_, known)) = self.places.get(&key).and_then(|place| self.entries.get_mut(*place)) {
            *known = failures;
            return;
        }
        if self.entries.len() >= self.most {
            self.make_room(now);
        }
        self.places.insert(key.clone(), self.entries.len());
        self.entries.push((key, failures));
    }

    /// Removes one of the next entries: a forgotten one, or else the one with the fewest failures, of which the oldest.
    /// A running pause goes last, so that nobody ends it by failing under other names.
    fn make_room(&mut self, now: Duration) {
        let mut least: Option<(Rank, usize)> = None;
        for _ in 0..SEARCH.min(self.entries.len()) {
            self.hand = if self.hand + 1 < self.entries.len() { self.hand + 1 } else { 0 };
            let Some((_, failures)) = self.entries.get(self.hand) else { continue };
            let rank = failures.rank(now);
            if least.is_none_or(|(other, _)| rank < other) {
                least = Some((rank, self.hand));
            }
        }
        if let Some((_, place)) = least {
            self.remove_at(place);
        }
    }

    fn remove_at(&mut self, place: usize) {
        if place >= self.entries.len() {
            return;
        }
        let (key, _) = self.entries.swap_remove(place);
        self.places.remove(&key);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(moved.clone(), place);
        }
    }
}

/// The order in which entries go: not forgotten, end of the pause, failures, last failure.
type Rank = (bool, Duration, u32, Duration);

impl Failures {
    fn rank(&self, now: Duration) -> Rank {
        let pause = if self.until > now { self.until } else { Duration::ZERO };
        (self.forgotten > now, pause, self.number, self.last)
    }
}

/// The pause after so many failures.
fn pause(number: u32, settings: &LockoutSettings) -> Option<Duration> {
    let doublings = number.checked_sub(settings.failures)?;
    let pause = settings.pause.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
    Some(pause.min(settings.max_pause))
}
