//! The progress of a comparison, in one line of a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::cli::terminal::Terminal;

/// Time between two changes of the line.
const PAUSE: Duration = Duration::from_millis(200);

/// A line on standard error that is written again and again. Whoever reads a file or a pipe gets none.
pub(super) struct ProgressLine {
    is_shown: bool,
    written: Option<Instant>,
}

impl ProgressLine {
    pub(super) fn new(terminal: &Terminal) -> Self {
        Self { is_shown: !terminal.is_json() && io::stderr().is_terminal(), written: None }
    }

    pub(super) fn show(&mut self, asked: u64, all: u64) {
        if !self.is_shown || self.written.is_some_and(|written| written.elapsed() < PAUSE) {
            return;
        }
        self.written = Some(Instant::now());
        let percent = asked.saturating_mul(100).checked_div(all).unwrap_or(100).min(100);
        drop(write!(io::stderr(), "\r{percent:3} % of {all} questions"));
    }

    /// Removes the line.
    pub(super) fn clear(&mut self) {
        if self.written.take().is_some() {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}
