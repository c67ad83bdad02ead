//! Log lines and events that strangers can cause as often as they like: of each code, one in ten seconds.

use std::collections::HashMap;

use parking_lot::Mutex;
use witgate_runtime::log::throttle::LogThrottle;

/// The limits, by the codes of the lines. Their number is that of the codes in this crate.
#[derive(Debug, Default)]
pub(super) struct RareLines(Mutex<HashMap<&'static str, LogThrottle>>);

impl RareLines {
    /// The number of lines with this code that were left out since the last one, if one may be written now.
    pub(super) fn turn(&self, code: &'static str) -> Option<u64> {
        self.0.lock().entry(code).or_default().turn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_code_leaves_the_lines_of_others_alone() {
        let lines = RareLines::default();
        let turns: Vec<_> = (0..1_000).filter_map(|_| lines.turn("client-unknown")).collect();
        assert_eq!((turns, lines.turn("login-failed")), (vec![0], Some(0)));
    }
}
