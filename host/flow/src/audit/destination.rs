//! The destinations of audit records: lines on standard error, or the log of a program that embeds Witgate, and the audit
//! log.

use std::cell::RefCell;
use std::sync::Arc;

use super::entry::{EntryLog, UnsettledEntry};
use super::facts::AuditFacts;
use super::feed::DecisionFeed;
use crate::reject::Rejection;
use crate::request::Request;
use witgate_audit::EntryPlace;
use witgate_config::AuditOverflow;
use witgate_runtime::lines::{LinePlace, LineWriter};
use witgate_runtime::log::entry::LogFormat;

/// The destination of audit records.
#[derive(Debug, Default)]
pub struct Audit {
    lines: Sink,
    log: Option<EntryLog>,
    feed: Option<Arc<DecisionFeed>>,
}

/// The places for a record that is written later.
#[derive(Debug, Default)]
pub(super) struct RecordPlace {
    line: Option<LinePlace>,
    entry: Option<EntryPlace>,
}

#[derive(Debug, Default)]
enum Sink {
    /// Log events of the target `witgate::audit`, for the program that embeds Witgate.
    #[default]
    Log,
    Lines {
        to: Arc<LineWriter>,
        form: LogFormat,
        overflow: AuditOverflow,
    },
}

thread_local! {
    /// The buffer of the current line. The line is written or copied into the queue before the next one.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl Audit {
    /// Records as lines of their own.
    pub fn lines(to: Arc<LineWriter>, form: LogFormat, overflow: AuditOverflow) -> Self {
        Self { lines: Sink::Lines { to, form, overflow }, log: None, feed: None }
    }

    /// The same, with each record also as an entry of `log`.
    #[must_use]
    pub fn with_log(self, log: Option<EntryLog>) -> Self {
        Self { log, ..self }
    }

    /// The same, with the operators who watch `feed`.
    #[must_use]
    pub fn with_feed(self, feed: Arc<DecisionFeed>) -> Self {
        Self { feed: Some(feed), ..self }
    }

    /// True if an operator watches.
    pub(super) fn is_watched(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.is_watched())
    }

    /// Shows a record to the operators who watch.
    pub(super) fn show(&self, facts: &AuditFacts<'_>, request: Option<&Request>) {
        if let Some(feed) = &self.feed {
            feed.show(facts, request, self.log.as_ref().map_or("", EntryLog::node));
        }
    }

    /// The audit log.
    pub(crate) fn log(&self) -> Option<&EntryLog> {
        self.log.as_ref()
    }

    /// The places for a record, if every call needs one.
    pub(super) fn reserve(&self) -> Result<RecordPlace, Rejection> {
        let line = match &self.lines {
            Sink::Lines { to, overflow: AuditOverflow::Deny, .. } => {
                let place = to.place().filter(|_| !to.is_failing());
                Some(place.ok_or(Rejection::Unrecorded)?)
            }
            Sink::Lines { overflow: AuditOverflow::Count, .. } | Sink::Log => None,
        };
        let entry = self.log.as_ref().map(EntryLog::reserve).transpose()?.flatten();
        Ok(RecordPlace { line, entry })
    }

    /// Writes a record. Returns its entry if the answer has to wait for that.
    pub(super) fn write(&self, facts: &AuditFacts<'_>, place: RecordPlace) -> Option<UnsettledEntry> {
        match &self.lines {
            _ if self.log.as_ref().is_some_and(|log| !log.leaves_line(facts)) => {}
            Sink::Log => facts.log(),
            Sink::Lines { to, form, .. } => LINE.with_borrow_mut(|line| {
                facts.write(line, *form);
                match place.line {
                    Some(place) => place.write(line.as_bytes()),
                    None => to.write(line.as_bytes()),
                }
            }),
        }
        self.log.as_ref()?.write(facts, place.entry)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use serde_json::Value;

    use super::super::facts::tests::facts;
    use super::*;
    use witgate_runtime::lines::SharedOutput;

    #[test]
    fn a_full_queue_denies_calls_if_each_needs_a_record() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let output = Arc::new(SharedOutput::new(OwnedFd::from(writer)));
        let lines =
            Arc::new(LineWriter::start("test", output, 4, |lost| format!("lost {lost}\n").into()).unwrap());
        let deny = Audit::lines(Arc::clone(&lines), LogFormat::Json, AuditOverflow::Deny);
        let count = Audit::lines(Arc::clone(&lines), LogFormat::Json, AuditOverflow::Count);
        let long = "x".repeat(300);
        let mut written = 0;
        while let Ok(place) = deny.reserve() {
            assert!(place.line.is_some());
            deny.write(&facts(&[], &long), place);
            written += 1;
        }
        assert!(written > 4, "first the pipe is filled, then the queue");
        assert_eq!(deny.reserve().unwrap_err(), Rejection::Unrecorded);
        assert!(count.reserve().unwrap().line.is_none());
        count.write(&facts(&[], &long), RecordPlace::default());
        assert_eq!(lines.lost().get(), 1);
        drop((deny, count));
        // The thread owns the writing end, and ends when everything is written.
        drop(lines);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!((all.lines().count(), all.lines().last()), (written + 1, Some("lost 1")));
        for line in all.lines().take(written) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["fields"]["outcome"], "upstream-failed");
        }
    }
}
