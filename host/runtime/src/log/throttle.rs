//! Lines that others can cause as often as they like.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// From one such line to the next.
const PAUSE: Duration = Duration::from_secs(10);

/// The turns of a line that is said once in ten seconds, however often there is a reason to.
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
    /// The number of reasons that were passed over since the line was last said, where it is to be said now.
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
