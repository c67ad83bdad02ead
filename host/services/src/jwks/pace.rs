//! The pace of requests to a server for its keys. Times are arguments, so that tests can set them.

use std::time::{Duration, Instant};

use crate::keys::set::KeySet;

/// Number of useless requests for unknown keys before further ones are delayed.
const BUDGET: u32 = 5;
/// Interval between further requests for unknown keys. However many key ids callers invent, the server gets no more
/// requests, and a caller with a new key waits no longer.
const INTERVAL: Duration = Duration::from_secs(10);
/// The first pause after a failure. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause: the server is asked again at most this long after it has returned.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The reason for a request.
#[derive(Debug)]
pub(super) enum Reason {
    /// There is no set.
    Nothing,
    /// The set has expired, or expires soon.
    Old,
    /// The set has no key with this id.
    Unknown(String),
}

impl Reason {
    pub(super) fn is_met_by(&self, set: &KeySet) -> bool {
        match self {
            Self::Nothing | Self::Old => true,
            Self::Unknown(key_id) => set.has(key_id),
        }
    }
}

#[derive(Debug)]
pub(super) struct RequestPace {
    /// The time of the last request.
    asked: Option<Instant>,
    /// The remaining requests for unknown keys, and the start of their count.
    budget: u32,
    counted: Instant,
    /// The number of failures in a row, and the end of the pause after them.
    failures: u32,
    pause_ends: Option<Instant>,
}

impl RequestPace {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: None, budget: BUDGET, counted: now, failures: 0, pause_ends: None }
    }

    pub(super) fn has_asked_since(&self, moment: Instant) -> bool {
        self.asked.is_some_and(|asked| asked >= moment)
    }

    pub(super) fn may_ask(&mut self, now: Instant, reason: &Reason) -> bool {
        if self.pause_ends.is_some_and(|end| now < end) {
            return false;
        }
        self.refill(now);
        !matches!(reason, Reason::Unknown(_)) || self.budget > 0
    }

    /// A request that has found its key costs nothing, so keys may rotate at any pace.
    pub(super) fn answered(&mut self, asked: Instant, found: bool) {
        self.asked = Some(asked);
        self.failures = 0;
        self.pause_ends = None;
        if !found {
            self.budget = self.budget.saturating_sub(1);
        }
    }

    pub(super) fn failed(&mut self, asked: Instant, now: Instant) {
        self.asked = Some(asked);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.pause_ends = Some(now + pause);
    }

    fn refill(&mut self, now: Instant) {
        if self.budget == BUDGET {
            self.counted = now;
        }
        while self.budget < BUDGET && now.saturating_duration_since(self.counted) >= INTERVAL {
            self.budget += 1;
            self.counted += INTERVAL;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BUDGET, Reason, RequestPace};

    fn unknown() -> Reason {
        Reason::Unknown("made up".to_owned())
    }

    #[test]
    fn made_up_key_ids_cost_a_few_requests_and_then_one_every_interval() {
        let begin = Instant::now();
        let mut pace = RequestPace::new(begin);
        let mut sent = 0;
        // A thousand invented ids in each of a hundred seconds.
        for second in 0..100 {
            let now = begin + Duration::from_secs(second);
            for _ in 0..1000 {
                if pace.may_ask(now, &unknown()) {
                    pace.answered(now, false);
                    sent += 1;
                }
            }
        }
        assert_eq!(sent, BUDGET + 9);
    }

    #[test]
    fn fast_rotation_of_keys_is_followed() {
        let begin = Instant::now();
        let mut pace = RequestPace::new(begin);
        for second in 0..1000 {
            let now = begin + Duration::from_secs(second);
            assert!(pace.may_ask(now, &unknown()), "second {second}");
            pace.answered(now, true);
        }
    }

    #[test]
    fn an_old_set_is_fetched_despite_made_up_key_ids() {
        let now = Instant::now();
        let mut pace = RequestPace::new(now);
        (0..BUDGET).for_each(|_| pace.answered(now, false));
        assert!(!pace.may_ask(now, &unknown()));
        assert!(pace.may_ask(now, &Reason::Old) && pace.may_ask(now, &Reason::Nothing));
    }

    #[test]
    fn the_pause_after_failures_grows_up_to_a_limit() {
        let mut now = Instant::now();
        let mut pace = RequestPace::new(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.failed(now, now);
            let begin = now;
            while !pace.may_ask(now, &Reason::Nothing) {
                now += Duration::from_millis(100);
            }
            pauses.push(now.duration_since(begin).as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
        pace.answered(now, true);
        assert!(pace.may_ask(now, &Reason::Old));
    }

    #[test]
    fn callers_that_waited_before_the_request_use_its_answer() {
        let now = Instant::now();
        let mut pace = RequestPace::new(now);
        let later = now + Duration::from_millis(1);
        pace.answered(later, true);
        assert!(pace.has_asked_since(now) && pace.has_asked_since(later));
        assert!(!pace.has_asked_since(later + Duration::from_millis(1)));
    }
}
