//! The generic cell rate algorithm (GCRA): a rate limit whose whole state is one point in time.
//!
//! The state of a bucket is the time at which it is full again. Each unit moves this time by one interval. A unit is
//! admitted if the bucket is full again within its depth, which is the burst times the interval. In any time `t`, a
//! bucket therefore admits at most `burst + t / interval` units.

use std::time::Duration;

/// A time, in nanoseconds since the tables were made. It never goes back.
pub type Moment = u64;

/// A rate with its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time in which the bucket gets one unit back, in nanoseconds.
    interval: u64,
    /// The time in which an empty bucket is full again, in nanoseconds.
    depth: u64,
}

impl Rate {
    /// `count` units per `period`, of which `burst` may come at once. An interval is rounded up, so that the rate is
    /// never higher. Zero counts as one.
    pub fn new(count: u32, period: Duration, burst: u32) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let interval = period.div_ceil(u64::from(count.max(1))).max(1);
        Self { interval, depth: interval.saturating_mul(u64::from(burst.max(1))) }
    }

    /// The time at which a bucket is full again after one more unit. `full_at` is the time before that unit.
    ///
    /// # Errors
    /// The bucket is empty: with the nanoseconds until it has one unit.
    pub fn take(&self, full_at: Moment, now: Moment) -> Result<Moment, u64> {
        let next = self.bounded(full_at, now).saturating_add(self.interval);
        match next.checked_sub(now.saturating_add(self.depth)) {
            None | Some(0) => Ok(next),
            Some(wait) => Err(wait),
        }
    }

    /// The number of units that a bucket has now.
    pub fn remaining(&self, full_at: Moment, now: Moment) -> u64 {
        let lacking = self.bounded(full_at, now).saturating_sub(now);
        self.depth.saturating_sub(lacking) / self.interval
    }

    /// `full_at`, not in the past, and not later than for an empty bucket. It is later after the rate was changed.
    fn bounded(&self, full_at: Moment, now: Moment) -> Moment {
        full_at.clamp(now, now.saturating_add(self.depth))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_comes_at_once_and_then_one_unit_per_interval() {
        let rate = Rate::new(10, Duration::from_secs(1), 3);
        let mut full_at = 0;
        for _ in 0..3 {
            full_at = rate.take(full_at, 0).unwrap();
        }
        assert_eq!((rate.take(full_at, 0), rate.remaining(full_at, 0)), (Err(100_000_000), 0));
        assert_eq!(rate.take(full_at, 99_999_999), Err(1));
        assert!(rate.take(full_at, 100_000_000).is_ok());
        assert_eq!(rate.remaining(full_at, 100_000_000), 1);
        assert_eq!(rate.remaining(full_at, 400_000_000), 3);
    }

    #[test]
    fn a_shorter_limit_ends_a_longer_wait() {
        let (slow, quick) =
            (Rate::new(1, Duration::from_secs(86_400), 1), Rate::new(1, Duration::from_secs(1), 1));
        let full_at = slow.take(0, 0).unwrap();
        assert_eq!(quick.take(full_at, 0), Err(1_000_000_000), "empty, and not for a day");
    }

    proptest! {
        /// In every window of time, a bucket admits at most the burst and what the rate gives meanwhile.
        #[test]
        fn no_window_admits_more_than_burst_and_rate(
            count in 1_u32..50,
            burst in 1_u32..20,
            steps in proptest::collection::vec(0_u64..40_000_000, 1..200),
        ) {
            let period = Duration::from_millis(100);
            let rate = Rate::new(count, period, burst);
            let (mut now, mut full_at, mut admitted) = (0, 0, Vec::new());
            for step in steps {
                now += step;
                let remaining = rate.remaining(full_at, now);
                match rate.take(full_at, now) {
                    Ok(next) => {
                        prop_assert!(remaining >= 1);
                        full_at = next;
                        admitted.push(now);
                    }
                    Err(wait) => {
                        prop_assert_eq!(remaining, 0);
                        prop_assert!(rate.take(full_at, now + wait).is_ok());
                        prop_assert!(rate.take(full_at, now + wait - 1).is_err());
                    }
                }
            }
            for (first, start) in admitted.iter().enumerate() {
                for (place, end) in admitted.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (end - start) * u64::from(count) / 100_000_000;
                    prop_assert!((place - first + 1) as u64 <= most);
                }
            }
        }
    }
}
