//! The times of the work that does not depend on entries: checkpoints, signs of life, and the removal of old segments.

use std::time::{Duration, Instant};

/// The time between checkpoints while there are new entries.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// The time without entries after which an entry says that the log is alive.
const IDLE: Duration = Duration::from_secs(60);

/// The time between two looks for segments that are too old.
const UPKEEP_EVERY: Duration = Duration::from_secs(3600);

/// The time until another try, if the look could not begin.
const UPKEEP_RETRY: Duration = Duration::from_secs(1);

/// The times at which work is due next.
#[derive(Debug)]
pub(crate) struct Schedule {
    checkpoint: Instant,
    idle: Instant,
    upkeep: Instant,
}

impl Schedule {
    /// The schedule of a log that is opened `now`.
    pub(crate) fn begin(now: Instant) -> Self {
        Self { checkpoint: now, idle: now + IDLE, upkeep: now }
    }

    /// A schedule with a sign of life after `idle`.
    #[cfg(test)]
    pub(crate) fn idle_after(now: Instant, idle: Duration) -> Self {
        Self { idle: now + idle, ..Self::begin(now) }
    }

    /// The time until which there is nothing to do without entries. `is_unsigned`: there are lines after the last
    /// checkpoint.
    pub(crate) fn next(&self, is_unsigned: bool) -> Instant {
        let due = if is_unsigned { self.checkpoint } else { self.idle };
        due.min(self.upkeep)
    }

    /// Notes that entries were written.
    pub(crate) fn note_entries(&mut self, now: Instant) {
        self.idle = now + IDLE;
    }

    /// Notes that a segment is complete, so that old ones are looked for now.
    pub(crate) fn note_rotation(&mut self, now: Instant) {
        self.upkeep = now;
    }

    /// True if a checkpoint is due, or wanted in any case.
    pub(crate) fn take_checkpoint(&mut self, now: Instant, is_unsigned: bool, is_wanted: bool) -> bool {
        let is_due = is_wanted || (is_unsigned && now >= self.checkpoint);
        if is_due {
            self.checkpoint = now + CHECKPOINT_EVERY;
        }
        is_due
    }

    /// True if a sign of life is due.
    pub(crate) fn take_idle(&mut self, now: Instant) -> bool {
        let is_due = now >= self.idle;
        if is_due {
            self.idle = now + IDLE;
        }
        is_due
    }

    /// Notes that the look for old segments could not begin.
    pub(crate) fn retry_upkeep(&mut self, now: Instant) {
        self.upkeep = now + UPKEEP_RETRY;
    }

    /// True if it is time to look for old segments.
    pub(crate) fn take_upkeep(&mut self, now: Instant) -> bool {
        let is_due = now >= self.upkeep;
        if is_due {
            self.upkeep = now + UPKEEP_EVERY;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds of an hour at which `take` is due, with entries until the second `busy_until`.
    fn due(busy_until: u64, take: impl Fn(&mut Schedule, Instant, bool) -> bool) -> Vec<u64> {
        let start = Instant::now();
        let mut schedule = Schedule::begin(start);
        schedule.take_upkeep(start);
        let at = |second: u64| start + Duration::from_secs(second);
        let mut due = Vec::new();
        for second in 0..3600 {
            let is_unsigned = second < busy_until;
            if is_unsigned {
                schedule.note_entries(at(second));
            }
            if take(&mut schedule, at(second), is_unsigned) {
                due.push(second);
            }
        }
        due
    }

    #[test]
    fn a_checkpoint_is_due_each_second_while_there_are_entries() {
        let seconds = due(5, |schedule, now, is_unsigned| schedule.take_checkpoint(now, is_unsigned, false));
        assert_eq!(seconds, [0, 1, 2, 3, 4]);
        let start = Instant::now();
        let mut schedule = Schedule::begin(start);
        assert!(schedule.take_checkpoint(start, true, false));
        let soon = start + Duration::from_millis(999);
        assert!(!schedule.take_checkpoint(soon, true, false));
        assert!(schedule.take_checkpoint(soon, true, true), "a reload and the stop do not wait");
        assert!(!schedule.take_checkpoint(start + Duration::from_secs(1), true, false));
    }

    #[test]
    fn a_sign_of_life_is_due_each_minute_without_entries() {
        let seconds = due(31, |schedule, now, _| schedule.take_idle(now));
        assert_eq!(seconds[..3], [90, 150, 210]);
        assert_eq!(seconds.len(), 59);
    }

    #[test]
    fn the_writer_sleeps_until_something_is_due() {
        let start = Instant::now();
        let mut schedule = Schedule::begin(start);
        assert_eq!(schedule.next(false), start, "old segments are looked for at once");
        assert!(schedule.take_upkeep(start) && schedule.take_checkpoint(start, true, false));
        assert_eq!(schedule.next(true), start + CHECKPOINT_EVERY);
        assert_eq!(schedule.next(false), start + IDLE);
        schedule.note_rotation(start);
        assert_eq!(schedule.next(false), start);
    }
}
