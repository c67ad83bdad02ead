//! The counters of a policy since the start of its generation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use histogram::AtomicHistogram;

use witgate_component::failure::Failure;
use witgate_plugin::{Decision, EntryDecision, Unavailability, Verdict};

/// The resolution of durations is an eighth. The longest is more than an hour, in nanoseconds.
const GRAIN: u8 = 3;
const LONGEST: u8 = 42;

/// Counters of one policy.
#[derive(Debug)]
pub struct Counts {
    calls: AtomicU64,
    denials: AtomicU64,
    fallbacks: AtomicU64,
    disagreements: AtomicU64,
    shed: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
    times: Option<AtomicHistogram>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            calls: AtomicU64::default(),
            denials: AtomicU64::default(),
            fallbacks: AtomicU64::default(),
            disagreements: AtomicU64::default(),
            shed: AtomicU64::default(),
            failures: Default::default(),
            // The histogram refuses invalid settings, and these are valid.
            times: AtomicHistogram::new(GRAIN, LONGEST).ok(),
        }
    }
}

/// The decisions in the answer of one hook.
#[derive(Clone, Copy, Debug)]
pub(super) struct HookTally {
    calls: u64,
    denials: u64,
    /// The kind of the answer, for traces.
    pub(super) verdict: &'static str,
}

impl HookTally {
    /// A hook that gave no answer.
    pub(super) const FAILED: Self = Self { calls: 1, denials: 0, verdict: "failed" };

    pub(super) fn of_verdict(verdict: &Verdict) -> Self {
        let (denials, verdict) = match verdict {
            Verdict::Identity(_) => (0, "identity"),
            Verdict::NotMine => (0, "not-mine"),
            Verdict::Refused(_) => (1, "refused"),
            Verdict::Unavailable(_) => (0, "unavailable"),
        };
        Self { calls: 1, denials, verdict }
    }

    pub(super) fn of_decision(decision: &Decision) -> Self {
        let (denials, verdict) = match decision {
            Decision::Allow => (0, "allow"),
            Decision::Abstain => (0, "abstain"),
            Decision::Deny(_) => (1, "deny"),
            Decision::Unavailable(_) => (0, "unavailable"),
        };
        Self { calls: 1, denials, verdict }
    }

    pub(super) fn of_entries(decisions: &Result<Vec<EntryDecision>, Unavailability>) -> Self {
        let Ok(decisions) = decisions else { return Self { verdict: "unavailable", ..Self::FAILED } };
        let denials = decisions.iter().filter(|decision| **decision == EntryDecision::Deny).count();
        let count = |number| u64::try_from(number).unwrap_or(u64::MAX);
        Self { calls: count(decisions.len()), denials: count(denials), verdict: "entries" }
    }
}

impl Counts {
    /// Counts a call of a hook. One about entries of a list counts as a call for each, in an equal part of the time.
    pub(super) fn call(&self, took: Duration, tally: HookTally) {
        let HookTally { calls, denials, .. } = tally;
        self.calls.fetch_add(calls, Ordering::Relaxed);
        if denials > 0 {
            self.denials.fetch_add(denials, Ordering::Relaxed);
        }
        if let Some(times) = &self.times {
            let each = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / calls.max(1);
            // Longer times count as the longest.
            let _ = times.add(each, calls);
        }
    }

    /// Counts a verdict that was used again, without a hook.
    pub(super) fn used_again(&self) {
        add(&self.calls);
    }

    pub(super) fn fail(&self, failure: Failure) {
        let place = Failure::ALL.iter().position(|each| *each == failure);
        if let Some(counter) = place.and_then(|place| self.failures.get(place)) {
            add(counter);
        }
    }

    pub(super) fn fallback(&self) {
        add(&self.fallbacks);
    }

    /// Counts a verdict of a shadow that differs from that of the live policies.
    pub(super) fn disagree(&self) {
        add(&self.disagreements);
    }

    /// Counts a call that a shadow did not judge, because it was busy.
    pub fn shed(&self) {
        add(&self.shed);
    }

    /// For a shadow: the calls that it did not judge, because it was busy.
    pub fn sheds(&self) -> u64 {
        read(&self.shed)
    }

    /// The calls of hooks.
    pub fn calls(&self) -> u64 {
        read(&self.calls)
    }

    /// Refusals and denials.
    pub fn denials(&self) -> u64 {
        read(&self.denials)
    }

    /// The hooks that the built-in answered because the component is missing or failed.
    pub fn fallbacks(&self) -> u64 {
        read(&self.fallbacks)
    }

    /// For a shadow: the verdicts that differ from those of the live policies.
    pub fn disagreements(&self) -> u64 {
        read(&self.disagreements)
    }

    /// The kinds of failures, with their numbers.
    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        let counted = Failure::ALL.into_iter().zip(&self.failures);
        counted.map(|(failure, counter)| (failure, read(counter))).filter(|(_, count)| *count > 0)
    }

    /// The median and the 99th percentile of the times of hooks. None: no hook has run yet.
    pub fn times(&self) -> Option<(Duration, Duration)> {
        let times = self.times.as_ref()?.load();
        let of = |share| {
            let bucket = times.quantile_bucket(share).ok().flatten()?;
            Some(Duration::from_nanos(bucket.end()))
        };
        Some((of(0.5)?, of(0.99)?))
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
