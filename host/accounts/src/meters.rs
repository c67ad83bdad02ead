//! Counts of logins and tokens, and the state of the files beside the database, for the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The end of an attempt to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// Somebody has logged in.
    Right,
    /// A name, password or other proof was wrong.
    Wrong,
    /// It came in a pause after failed attempts.
    Paused,
    /// Too many people logged in at the same time, or the accounts could not be used.
    Unavailable,
}

/// The end of a request for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAnswer {
    /// A code was exchanged.
    Exchanged,
    /// A refresh token was exchanged.
    Refreshed,
    /// A code or refresh token was not valid.
    Refused,
    /// A code or refresh token was used again, so that its login has ended.
    Reused,
}

/// The counts of a process.
#[derive(Debug, Default)]
pub struct AccountMeters {
    logins: [AtomicU64; 4],
    tokens: [AtomicU64; 4],
    listed: AtomicU64,
    is_behind: AtomicBool,
}

impl AccountMeters {
    /// Counts an attempt to log in.
    pub fn login(&self, outcome: LoginOutcome) {
        let [right, wrong, paused, unavailable] = &self.logins;
        let counter = match outcome {
            LoginOutcome::Right => right,
            LoginOutcome::Wrong => wrong,
            LoginOutcome::Paused => paused,
            LoginOutcome::Unavailable => unavailable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request for tokens.
    pub(crate) fn token(&self, outcome: TokenAnswer) {
        let [exchanged, refreshed, refused, reused] = &self.tokens;
        let counter = match outcome {
            TokenAnswer::Exchanged => exchanged,
            TokenAnswer::Refreshed => refreshed,
            TokenAnswer::Refused => refused,
            TokenAnswer::Reused => reused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes whether the files beside the database are as the database. `listed`: the ended logins in the list.
    pub(crate) fn kept(&self, is_behind: bool, listed: Option<u64>) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
        if let Some(listed) = listed {
            self.listed.store(listed, Ordering::Relaxed);
        }
    }

    /// The attempts to log in, by outcome.
    pub fn logins(&self) -> [(&'static str, u64); 4] {
        labelled(["right", "wrong", "paused", "unavailable"], &self.logins)
    }

    /// The requests for tokens, by outcome.
    pub fn tokens(&self) -> [(&'static str, u64); 4] {
        labelled(["exchanged", "refreshed", "refused", "reused"], &self.tokens)
    }

    /// The number of ended logins in the list.
    pub fn listed(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
    }

    /// True if logins may have ended that policies still accept.
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }
}

fn labelled(names: [&'static str; 4], counters: &[AtomicU64; 4]) -> [(&'static str, u64); 4] {
    let mut counts = names.map(|name| (name, 0));
    for ((_, count), counter) in counts.iter_mut().zip(counters) {
        *count = counter.load(Ordering::Relaxed);
    }
    counts
}
