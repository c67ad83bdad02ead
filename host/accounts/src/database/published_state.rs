//! The state of the database that the files beside it show.

use std::time::{Duration, Instant};

use crate::moment::{ms, now_ms};

/// The time after which the files are compared with the database, whatever has happened.
const COMPARED: Duration = Duration::from_secs(60);

/// The difference between clocks that is a step of the wall clock, in milliseconds.
const STEP_MS: i64 = 2_000;

/// The state of the database that the files show.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishedState {
    /// `PRAGMA data_version`, which changes with each commit of another process.
    version: i64,
    at: Instant,
    wall_ms: i64,
}

impl PublishedState {
    /// The state of this version, now.
    pub(super) fn now(version: i64) -> Self {
        Self { version, at: Instant::now(), wall_ms: now_ms() }
    }

    /// True if the files may differ from a database of this version.
    pub(super) fn is_over(self, version: i64) -> bool {
        let passed = self.at.elapsed();
        let by_wall = now_ms() - self.wall_ms;
        let has_stepped = (by_wall - ms(passed)).abs() > STEP_MS;
        self.version != version || passed >= COMPARED || has_stepped
    }
}
