//! The filter of a running log, which operators can change.

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;

use super::filter;

/// A function that replaces the filter of the log. False: the process has another log.
pub(super) type ReplaceFilter = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// The filter in force.
pub(super) struct LiveFilter {
    written: Mutex<String>,
    replace: ReplaceFilter,
}

/// A change of the filter, in the form of `RUST_LOG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelChange {
    /// The filter in force now.
    pub level: String,
    /// The filter before.
    pub before: String,
}

/// The reason why a filter is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// It is no filter.
    #[error("{0}")]
    NoFilter(String),
    /// The log is another one.
    #[error("the log of this process cannot be changed, because the program has set it up itself")]
    OtherLog,
}

impl std::fmt::Debug for LiveFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LiveFilter").field(&*self.written.lock()).finish()
    }
}

impl LiveFilter {
    pub(super) fn new(written: String, replace: ReplaceFilter) -> Self {
        Self { written: Mutex::new(written), replace }
    }

    /// The filter, in the form of `RUST_LOG`.
    pub(super) fn written(&self) -> String {
        self.written.lock().clone()
    }

    /// Replaces the filter.
    pub(super) fn replace(&self, wanted: &str) -> Result<LevelChange, LevelError> {
        let filter = filter::parse(wanted).map_err(LevelError::NoFilter)?;
        let level = filter.to_string();
        // Held to the end, so that the text is that of the filter if two operators change it at once.
        let mut written = self.written.lock();
        if !(self.replace)(filter) {
            return Err(LevelError::OtherLog);
        }
        let before = std::mem::replace(&mut *written, level.clone());
        Ok(LevelChange { level, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faulty_filter_changes_nothing() {
        let filter = LiveFilter::new("info".to_owned(), Box::new(|_| true));
        assert!(matches!(filter.replace("loud"), Err(LevelError::NoFilter(_))));
        assert_eq!(filter.written(), "info");
        let change = LevelChange { level: "debug".to_owned(), before: "info".to_owned() };
        assert_eq!(filter.replace("debug"), Ok(change));
        assert_eq!(filter.written(), "debug");
    }

    #[test]
    fn the_log_of_a_program_stays() {
        let filter = LiveFilter::new("info".to_owned(), Box::new(|_| false));
        assert_eq!(filter.replace("debug"), Err(LevelError::OtherLog));
        assert_eq!(filter.written(), "info");
    }
}
