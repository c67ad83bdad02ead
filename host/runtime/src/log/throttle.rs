//! A limit for log lines that others can cause as often as they like.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The minimum time between two such lines.
const PAUSE: Duration = Duration::from_secs(10);

/// The limit of one log line: it is written at most once in ten seconds, however often it is caused.
#[derive(Debug, Default)]
pub struct LogThrottle {
    state: Mutex<ThrottleState>,
}

#[derive(Debug, Default)]
struct ThrottleState {
    said: Option<Instant>,
    unsaid: u64,
}

impl LogThrottle {
    /// The number of occurrences that were not logged since the last line, if the line may be written now. None: the
    /// line may not be written now.
    pub fn turn(&self) -> Option<u64> {
        self.turn_at(Instant::now())
    }

    fn turn_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < PAUSE) {
            state.unsaid = state.unsaid.saturating_add(1);
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_is_written_rarely_and_counts_its_omissions() {
        let (seldom, started) = (LogThrottle::default(), Instant::now());
        let turns = [0, 1, 9, 10, 11, 30].map(|s| seldom.turn_at(started + Duration::from_secs(s)));
        assert_eq!(turns, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
