//! The pace of checkpoints over the network. Only the newest one is sent: it proves all that the earlier ones do.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::checkpoint_place::CheckpointText;

/// The time between two checkpoints.
const EVERY: Duration = Duration::from_secs(10);

/// The first pause after a failure. Each further pause is twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The time until another look, if no checkpoint waits.
const LONG: Duration = Duration::from_secs(3600);

/// The checkpoint that waits, and the time for it.
struct CheckpointPace {
    waiting: Option<CheckpointText>,
    due: Instant,
    /// The pause after the next failure.
    retry: Duration,
    is_failing: bool,
}

/// Calls `send` for the newest checkpoint whenever one is due, until there are no more. `send` returns true if it is
/// taken; otherwise, the same or a newer one follows later. The last one gets one attempt.
pub(super) fn for_each_due(from: &Receiver<CheckpointText>, mut send: impl FnMut(&CheckpointText) -> bool) {
    let mut pace =
        CheckpointPace { waiting: None, due: Instant::now(), retry: FIRST_RETRY, is_failing: false };
    loop {
        match from.recv_timeout(pace.time_left(Instant::now())) {
            Ok(checkpoint) => {
                pace.take(checkpoint, Instant::now());
                from.try_iter().for_each(|newer| pace.take(newer, Instant::now()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // There is no other attempt, whatever the result is.
                let _ = pace.waiting.as_ref().map(send);
                return;
            }
        }
        if let Some(checkpoint) = pace.take_due(Instant::now()) {
            let is_taken = send(&checkpoint);
            pace.note(checkpoint, is_taken, Instant::now());
        }
    }
}

impl CheckpointPace {
    fn time_left(&self, now: Instant) -> Duration {
        self.waiting.as_ref().map_or(LONG, |_| self.due.saturating_duration_since(now))
    }

    /// Takes a newer checkpoint. One at an end does not wait, unless the last one has failed.
    fn take(&mut self, checkpoint: CheckpointText, now: Instant) {
        if checkpoint.is_end && !self.is_failing {
            self.due = now;
        }
        self.waiting = Some(checkpoint);
    }

    fn take_due(&mut self, now: Instant) -> Option<CheckpointText> {
        self.waiting.take_if(|_| now >= self.due)
    }

    /// Notes the result for a checkpoint, which waits again if it was not taken.
    fn note(&mut self, checkpoint: CheckpointText, is_taken: bool, now: Instant) {
        self.is_failing = !is_taken;
        if is_taken {
            (self.due, self.retry) = (now + EVERY, FIRST_RETRY);
        } else {
            self.due = now + self.retry;
            self.retry = (2 * self.retry).min(LONGEST_RETRY);
            self.waiting = Some(checkpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(text: &str, is_end: bool) -> CheckpointText {
        CheckpointText { text: text.into(), segment: 0, is_end }
    }

    /// The texts that are due in each of these seconds, if one checkpoint comes in each of the first `busy`.
    fn sent(busy: u64, seconds: u64, takes: impl Fn(u64) -> bool, ends: &[u64]) -> Vec<(u64, String)> {
        let start = Instant::now();
        let mut pace = CheckpointPace { waiting: None, due: start, retry: FIRST_RETRY, is_failing: false };
        let mut sent = Vec::new();
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            if second < busy {
                pace.take(checkpoint(&second.to_string(), ends.contains(&second)), now);
            }
            if let Some(due) = pace.take_due(now) {
                sent.push((second, due.text.to_string()));
                pace.note(due, takes(second), now);
            }
        }
        sent
    }

    fn of(sent: &[(u64, &str)]) -> Vec<(u64, String)> {
        sent.iter().map(|(second, text)| (*second, (*text).to_owned())).collect()
    }

    #[test]
    fn the_newest_checkpoint_is_sent_every_ten_seconds_and_at_an_end() {
        assert_eq!(sent(15, 60, |_| true, &[]), of(&[(0, "0"), (10, "10"), (20, "14")]));
        assert_eq!(sent(15, 60, |_| true, &[3]), of(&[(0, "0"), (3, "3"), (13, "13"), (23, "14")]));
    }

    #[test]
    fn the_pauses_after_failures_grow_and_the_checkpoint_is_kept() {
        let attempts: Vec<_> = sent(1, 300, |_| false, &[]).into_iter().map(|(second, _)| second).collect();
        assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        let recovered = sent(20, 60, |second| second >= 3, &[2]);
        assert_eq!(recovered, of(&[(0, "0"), (1, "1"), (3, "3"), (13, "13"), (23, "19")]));
    }
}
