//! The states that were in force at each time, as far as it can be known from outside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::state::{State, Verdict};

/// The states in the order that they were brought about.
#[derive(Debug)]
pub(crate) struct Timeline {
    begun: Mutex<Vec<State>>,
    /// The last one that an answer has shown: every call that is made from then on is under it, or a later one.
    shown: AtomicUsize,
}

/// A moment in it: nothing before is in force any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(usize);

impl Timeline {
    pub(crate) fn new(first: State) -> Self {
        Self { begun: Mutex::new(vec![first]), shown: AtomicUsize::new(0) }
    }

    /// The next one is about to be brought about.
    pub(crate) fn begin(&self, state: State) {
        self.lock().push(state);
    }

    /// An answer has shown the last one that was begun.
    pub(crate) fn show(&self) {
        self.shown.store(self.lock().len().saturating_sub(1), Ordering::SeqCst);
    }

    /// To be taken before a call.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.shown.load(Ordering::SeqCst))
    }

    /// True if an answer to a call of `tool`, made at `since` and answered by now, is that of one state that
    /// can have been in force.
    pub(crate) fn allows(&self, since: Moment, tool: &str, verdict: &Verdict) -> bool {
        let states = self.lock();
        let possible = states.get(since.0..).unwrap_or_default();
        possible.iter().any(|state| state.verdict(tool) == *verdict)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<State>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
