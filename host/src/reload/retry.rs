//! The retry of a change that failed because the machine lacked something.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The first pause. A file descriptor or a thread is often free again a moment later.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause: a revocation is in force at most this long after the shortage has ended.
const LONGEST: Duration = Duration::from_secs(2);

/// The longest pause after a long try, such as one with a component that is too slow to be configured. The pause is as
/// long as the try, up to this, so that half of a processor is left.
const LONGEST_AFTER_LONG: Duration = Duration::from_secs(4);

/// The next try, if one is planned. Each pause is twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct Retry {
    at: Option<Instant>,
    pause: Option<Duration>,
}

impl Retry {
    /// Plans a try at once.
    pub(super) fn soon(&mut self) {
        self.at = Some(Instant::now());
    }

    /// Plans a try at once, but not before `earliest`.
    pub(super) fn soon_after(&mut self, earliest: Option<std::time::Instant>) {
        let now = Instant::now();
        self.at = Some(earliest.map_or(now, Instant::from_std).max(now));
    }

    /// Cancels the planned try: the running work reports when there is something to try. Earlier failures still count:
    /// a compiler that cannot be started fails at once, again and again.
    pub(super) fn hold(&mut self) {
        self.at = None;
    }

    /// Plans the next try after one that took `took`, if that one failed and may succeed later.
    pub(super) fn after(&mut self, may_pass: bool, took: Duration) {
        self.pause = may_pass.then(|| next(self.pause));
        self.at = self.pause.map(|pause| Instant::now() + pause.max(took.min(LONGEST_AFTER_LONG)));
    }

    /// True if it is time to try again.
    pub(super) fn is_due(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Waits for the next try, or for ever if none is planned.
    pub(super) async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// The pause that follows the pause `before`.
fn next(before: Option<Duration>) -> Duration {
    before.map_or(FIRST, |pause| (pause * 2).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = std::iter::successors(Some(next(None)), |pause| Some(next(Some(*pause))));
        let pauses: Vec<_> = pauses.take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000]);
    }

    #[test]
    fn only_temporary_failures_are_retried() {
        let mut retry = Retry::default();
        assert!(!retry.is_due());
        retry.soon();
        assert!(retry.is_due());
        retry.after(true, Duration::ZERO);
        assert!(!retry.is_due() && retry.at.is_some());
        retry.after(false, Duration::ZERO);
        assert_eq!(retry.at, None);
    }

    #[test]
    fn requests_in_quick_succession_wait() {
        let mut retry = Retry::default();
        retry.soon_after(None);
        assert!(retry.is_due());
        retry.soon_after(Some(std::time::Instant::now() + Duration::from_secs(5)));
        assert!(!retry.is_due() && retry.at.is_some());
        retry.soon_after(Some(std::time::Instant::now()));
        assert!(retry.is_due());
    }

    #[test]
    fn a_running_attempt_does_not_shorten_the_pauses() {
        let mut retry = Retry::default();
        retry.after(true, Duration::ZERO);
        retry.hold();
        assert_eq!(retry.at, None);
        retry.after(true, Duration::ZERO);
        assert_eq!(retry.pause, Some(FIRST * 2));
    }

    #[test]
    fn the_pause_after_a_long_attempt_is_longer() {
        let mut retry = Retry::default();
        let now = Instant::now();
        retry.after(true, Duration::from_secs(3));
        assert!(retry.at.unwrap() >= now + Duration::from_secs(3));
        retry.after(true, Duration::from_secs(60));
        assert!(retry.at.unwrap() <= Instant::now() + LONGEST_AFTER_LONG);
    }
}
