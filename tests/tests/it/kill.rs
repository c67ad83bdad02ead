//! Killed at any moment, with no chance to clean up: what was promised holds, and the next one starts.
//!
//! `WITGATE_KILLS` says how often in all; without it, it is a few dozen times.

mod audit;
mod keys;
mod serve;

use std::time::Duration;

/// The number of kills in one test, by its share of a hundred.
fn kills(share: u64) -> u64 {
    let all = std::env::var("WITGATE_KILLS").ok().and_then(|all| all.parse::<u64>().ok()).unwrap_or(60);
    (all * share / 100).max(1)
}

/// Moments that are the same in every run and lie everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).unwrap().max(1)))
    }
}
