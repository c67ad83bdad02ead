//! The states that were in force at each time, as far as they can be known from outside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::state::{State, Verdict, can_give};

/// The states in the order of the changes.
#[derive(Debug)]
pub(crate) struct Timeline {
    begun: Mutex<Vec<State>>,
    /// The last state that an answer has shown: every later call is decided by it, or by a later one.
    shown: AtomicUsize,
}

/// A moment of the timeline: no earlier state is in force any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(usize);

impl Timeline {
    pub(crate) fn new(first: State) -> Self {
        Self { begun: Mutex::new(vec![first]), shown: AtomicUsize::new(0) }
    }

    /// Records that the change to this state begins.
    pub(crate) fn begin(&self, state: State) {
        self.lock().push(state);
    }

    /// Records that an answer has shown the last state.
    pub(crate) fn show(&self) {
        self.shown.store(self.lock().len().saturating_sub(1), Ordering::SeqCst);
    }

    /// The present moment, to be taken before a call.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.shown.load(Ordering::SeqCst))
    }

    /// True if an answer to a call of `tool`, made at `since` and answered by now, agrees with a state that can have
    /// been in force.
    pub(crate) fn allows(&self, since: Moment, tool: &str, verdict: &Verdict) -> bool {
        let states = self.lock();
        let possible = states.get(since.0..).unwrap_or_default();
        can_give(possible, tool, verdict)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<State>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
