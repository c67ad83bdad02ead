//! A gateway and commands that are killed at random moments: confirmed changes are kept, and the next process starts.
//!
//! `WITGATE_KILLS` sets the total number of kills; the default is a few dozen.

mod audit;
mod keys;
mod serve;

use std::time::Duration;

/// The number of kills in one test, by its share of a hundred.
pub(crate) fn kills(share: u64) -> u64 {
    let all = std::env::var("WITGATE_KILLS").ok().and_then(|all| all.parse::<u64>().ok()).unwrap_or(60);
    (all * share / 100).max(1)
}

/// Pseudo-random moments that are the same in every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // The xorshift64 generator.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).unwrap().max(1)))
    }
}
