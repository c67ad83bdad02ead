//! Where a shadow would have decided otherwise: each way of disagreeing once, with how often it happened.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Ways that are told apart. A shadow that disagrees about everything is understood long before.
const MOST: usize = 1000;

/// One way of disagreeing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disagreement {
    /// The upstream.
    pub upstream: Box<str>,
    /// The method.
    pub method: Box<str>,
    /// What was called, as patterns name it. None: it was about who calls.
    pub target: Option<Box<str>>,
    /// What the live policies said.
    pub live: Box<str>,
    /// What the shadow said.
    pub shadow: Box<str>,
}

/// How often, and when last.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// When it happened last.
    pub last: SystemTime,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Disagreements {
    seen: Mutex<BTreeMap<Disagreement, Tally>>,
}

impl Disagreements {
    /// Notes one. True: it is the first of its kind, and there is room to remember it.
    pub(super) fn note(&self, disagreement: &Disagreement) -> bool {
        let mut seen = self.lock();
        let now = SystemTime::now();
        if let Some(tally) = seen.get_mut(disagreement) {
            *tally = Tally { count: tally.count + 1, last: now };
            return false;
        }
        let room = seen.len() < MOST;
        if room {
            seen.insert(disagreement.clone(), Tally { count: 1, last: now });
        }
        room
    }

    /// All that are remembered.
    pub fn all(&self) -> Vec<(Disagreement, Tally)> {
        self.lock().iter().map(|(disagreement, tally)| (disagreement.clone(), *tally)).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Disagreement, Tally>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
