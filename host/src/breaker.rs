//! Takes out what keeps failing, a component or a server, and lets it back in once it works again.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config;

/// However often it fails, it is tried this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The breaker of one thing that may fail.
#[derive(Debug)]
pub(crate) struct Breaker {
    bounds: config::Breaker,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Whether it is out. What is asked on every call is this alone.
    open: AtomicBool,
    pause: Mutex<Pause>,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
}

/// A call that may reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As any other.
    Regular,
    /// The one that tries whether it works again.
    Probe,
}

/// What a failure changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// It is out, for so long.
    Out(Duration),
}

impl Breaker {
    pub(crate) fn new(bounds: config::Breaker, now: Instant) -> Self {
        Self {
            bounds,
            failures: AtomicU32::new(0),
            open: AtomicBool::new(false),
            pause: Mutex::new(Pause { until: now, length: bounds.pause }),
        }
    }

    /// Whether it is out.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Asks for a turn. Without one, the time until somebody may try again.
    pub(crate) fn turn(&self, now: impl FnOnce() -> Instant) -> Result<Turn, Duration> {
        if !self.is_open() {
            return Ok(Turn::Regular);
        }
        let now = now();
        let mut pause = self.lock();
        if now < pause.until {
            return Err(pause.until - now);
        }
        // One at a time. One that never comes back (its caller went away) is followed by another.
        pause.until = now + pause.length;
        Ok(Turn::Probe)
    }

    /// Notes that a turn went well. True: it is back.
    pub(crate) fn went_well(&self) -> bool {
        // A store on every call would make the processors fight over the line.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.is_open() && self.open.swap(false, Ordering::Relaxed)
    }

    /// Notes that a turn failed.
    pub(crate) fn failed(&self, turn: Turn, now: Instant) -> Change {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut pause = self.lock();
        match turn {
            Turn::Probe => pause.length = (pause.length * 2).min(LONGEST_PAUSE),
            // What was under way when it was taken out says nothing new.
            Turn::Regular if self.is_open() || failures < self.bounds.failures => return Change::None,
            Turn::Regular => pause.length = self.bounds.pause,
        }
        pause.until = now + pause.length;
        self.open.store(true, Ordering::Relaxed);
        Change::Out(pause.length)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::{Duration, Instant};

    use super::{Breaker, Change, Turn};
    use crate::config;

    const PAUSE: Duration = Duration::from_secs(1);

    fn breaker(now: Instant) -> Breaker {
        Breaker::new(config::Breaker { failures: 3, pause: PAUSE }, now)
    }

    fn trip(breaker: &Breaker, now: Instant) {
        for _ in 0..2 {
            assert_eq!(breaker.failed(Turn::Regular, now), Change::None);
        }
        assert_eq!(breaker.failed(Turn::Regular, now), Change::Out(PAUSE));
    }

    #[test]
    fn a_success_in_between_keeps_it_in() {
        let now = Instant::now();
        let breaker = breaker(now);
        for _ in 0..10 {
            assert_eq!(breaker.failed(Turn::Regular, now), Change::None);
            assert_eq!(breaker.failed(Turn::Regular, now), Change::None);
            assert!(!breaker.went_well());
        }
        assert_eq!(breaker.turn(|| now), Ok(Turn::Regular));
    }

    #[test]
    fn what_is_out_is_tried_by_one_call_at_a_time_and_comes_back() {
        let now = Instant::now();
        let breaker = breaker(now);
        trip(&breaker, now);
        assert_eq!(breaker.turn(|| now + PAUSE / 2), Err(PAUSE / 2));
        assert_eq!(breaker.turn(|| now + PAUSE), Ok(Turn::Probe));
        assert_eq!(breaker.turn(|| now + PAUSE), Err(PAUSE), "a second one while the first is under way");
        assert!(breaker.went_well());
        assert_eq!(breaker.turn(|| now + PAUSE), Ok(Turn::Regular));
        assert!(!breaker.went_well(), "it is back only once");
    }

    #[test]
    fn a_probe_that_fails_doubles_the_pause_up_to_half_a_minute() {
        let mut now = Instant::now();
        let breaker = breaker(now);
        trip(&breaker, now);
        for seconds in [2, 4, 8, 16, 30, 30] {
            now += Duration::from_secs(60);
            assert_eq!(breaker.turn(|| now), Ok(Turn::Probe));
            assert_eq!(breaker.failed(Turn::Probe, now), Change::Out(Duration::from_secs(seconds)));
        }
        assert!(breaker.turn(|| now + PAUSE).is_err());
    }

    #[test]
    fn what_was_under_way_when_it_was_taken_out_changes_nothing() {
        let now = Instant::now();
        let breaker = breaker(now);
        trip(&breaker, now);
        assert_eq!(breaker.failed(Turn::Regular, now + PAUSE / 2), Change::None);
        assert_eq!(breaker.turn(|| now + PAUSE), Ok(Turn::Probe));
    }
}
