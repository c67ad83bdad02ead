//! The basis of a verdict: what its hook has read besides its arguments.

use parking_lot::Mutex;

/// The host functions whose results belong to a kept verdict or depend on the question only. A verdict that rests on
/// any other function is not kept.
const HARMLESS: [&str; 7] = [
    // Its result is compared with the declared end.
    "clock.now",
    "request.upstream",
    "request.audience",
    "crypto.sha256",
    "crypto.equal",
    // Hash and password are of the settings and of the credential.
    "crypto.verify-password",
    // The versions of its keys are noted.
    "crypto.verify",
];

/// The maximum number of fetched keys that a kept verdict rests on.
const MOST_KEYS: usize = 8;

/// The basis of a verdict while the hook runs.
#[derive(Debug)]
pub struct VerdictBasis {
    /// The number of removals from the memory before the hook.
    removals: u64,
    state: Mutex<BasisState>,
}

#[derive(Debug, Default)]
struct BasisState {
    /// True if the verdict rests on something that the next request may change.
    is_unknown: bool,
    /// True if the hook found the queue of the password checks full.
    is_crowded: bool,
    /// The latest time that the hook has seen.
    seen: u64,
    /// The declared end.
    until: Option<u64>,
    keys: Vec<KeyUse>,
}

/// The use of a fetched key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyUse {
    pub(crate) name: Box<str>,
    pub(crate) key_id: Option<Box<str>>,
    /// The version of the set.
    pub(crate) version: u64,
}

impl VerdictBasis {
    pub(super) fn new(removals: u64) -> Self {
        Self { removals, state: Mutex::default() }
    }

    /// Notes a call of a host function, by its name.
    pub(crate) fn uses(&self, function: &str) {
        if !HARMLESS.contains(&function) {
            self.is_unknown();
        }
    }

    /// Notes that the verdict rests on something that the next request may change.
    pub(crate) fn is_unknown(&self) {
        self.state.lock().is_unknown = true;
    }

    /// Notes that a password was not checked, because the queue was full.
    pub(crate) fn met_full_queue(&self) {
        self.state.lock().is_crowded = true;
    }

    /// True if a password was not checked, because the queue was full.
    pub fn is_crowded(&self) -> bool {
        self.state.lock().is_crowded
    }

    /// Notes the time that the hook sees.
    pub(crate) fn sees(&self, now: u64) {
        let mut state = self.state.lock();
        state.seen = state.seen.max(now);
    }

    /// Notes the use of a fetched key set.
    pub(crate) fn rests_on(&self, name: &str, key_id: Option<&str>, version: u64) {
        let mut state = self.state.lock();
        let used = KeyUse { name: name.into(), key_id: key_id.map(Into::into), version };
        if state.keys.contains(&used) {
            return;
        }
        if state.keys.len() >= MOST_KEYS {
            state.is_unknown = true;
            return;
        }
        state.keys.push(used);
    }

    /// Notes the declared end of the verdict, if it is the earliest.
    pub(crate) fn ends(&self, until: u64) {
        let mut state = self.state.lock();
        state.until = Some(state.until.map_or(until, |earlier| earlier.min(until)));
    }

    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// The basis of a verdict that may be kept.
    pub(super) fn kept(&self) -> Option<KeptBasis> {
        let state = self.state.lock();
        let until = state.until.filter(|until| !state.is_unknown && state.seen < *until)?;
        Some(KeptBasis { since: state.seen, until, keys: state.keys.clone().into() })
    }
}

/// The basis of a verdict that is kept.
#[derive(Debug)]
pub(super) struct KeptBasis {
    since: u64,
    until: u64,
    keys: Box<[KeyUse]>,
}

impl KeptBasis {
    /// True if the clock is where the verdict was declared to stay the same. A clock may be set back.
    pub(super) fn holds_at(&self, now: u64) -> bool {
        (self.since..self.until).contains(&now)
    }

    /// The fetched key sets.
    pub(super) fn keys(&self) -> &[KeyUse] {
        &self.keys
    }
}
