//! The log of `witgate serve`: its output, filter and format.
//!
//! The audit is separate: it has its own [`LineWriter`], and `RUST_LOG` does not affect it. Both write to standard
//! error.

pub mod entry;
mod fields;
mod filter;
mod level;
pub mod throttle;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::lines::{LineWriter, SharedOutput};
use crate::metrics::Metrics;
use entry::{LogEntry, LogFormat};
use fields::FieldFormat;
use level::{LiveFilter, ReplaceFilter};
use witgate_base::printable;

pub use level::{LevelChange, LevelError};

/// The maximum number of audit lines that wait to be written. A line has at most 4 KiB, and usually a tenth of that.
const AUDIT_LINES: usize = 8192;

/// The maximum number of log lines that wait to be written.
const LOG_LINES: usize = 1024;

/// The log and the audit of `serve`, on standard error.
#[derive(Debug)]
pub struct Logs {
    form: LogFormat,
    log: Arc<LineWriter>,
    audit: Arc<LineWriter>,
    filter: LiveFilter,
}

impl Logs {
    /// Starts the log on standard error with the filter `wanted` (`RUST_LOG`), as JSON or as text for people. Faults of
    /// the filter are the first lines. If the process already has a log, that log stays.
    ///
    /// # Errors
    /// If the system gives no descriptor or thread.
    pub fn start(wanted: Option<&str>, is_json: bool) -> io::Result<Self> {
        let form = if is_json { LogFormat::Json } else { LogFormat::Text };
        let output = Arc::new(SharedOutput::stderr()?);
        let start = |name, target, most| {
            let notice = move |lost| notice(form, target, lost);
            LineWriter::start(name, Arc::clone(&output), most, notice).map(Arc::new)
        };
        let log = start("witgate-log", "witgate::log", LOG_LINES)?;
        let audit = start("witgate-audit", "witgate::audit", AUDIT_LINES)?;
        let (filter, faults) = filter::read(wanted);
        let written = filter.to_string();
        let replace = subscribe(filter, Arc::clone(&log), form);
        let logs = Self { form, log, audit, filter: LiveFilter::new(written, replace) };
        faults.iter().for_each(|fault| logs.warn(fault));
        Ok(logs)
    }

    /// The filter of the log, in the form of `RUST_LOG`.
    pub fn level(&self) -> String {
        self.filter.written()
    }

    /// Replaces the filter of the log. The log has a line about it, whatever the filters are; `by` says who has asked.
    ///
    /// # Errors
    /// If `wanted` is no filter, or the log belongs to the program. The filter then stays.
    pub fn set_level(&self, wanted: &str, by: &str) -> Result<LevelChange, LevelError> {
        let change = self.filter.replace(wanted)?;
        let mut line = String::new();
        let mut entry = LogEntry::begin(&mut line, self.form, "WARN", "witgate::log");
        entry.text("message", ["the log level was changed"], usize::MAX);
        entry.text("level", [change.level.as_str()], 1024);
        entry.text("before", [change.before.as_str()], 1024);
        entry.text("by", [by], 1024);
        entry.end();
        self.log.write(line.as_bytes());
        Ok(change)
    }

    fn warn(&self, message: &str) {
        let mut line = String::new();
        let mut entry = LogEntry::begin(&mut line, self.form, "WARN", "witgate::log");
        entry.text("message", [message], usize::MAX);
        entry.end();
        self.log.write(line.as_bytes());
    }

    /// The writer of audit lines, and their format.
    pub fn audit(&self) -> (Arc<LineWriter>, LogFormat) {
        (Arc::clone(&self.audit), self.form)
    }

    /// Registers the counters of lost lines with `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(|registry: &mut Registry| {
            let lost = self.audit.lost();
            registry.register("audit_lines_lost", "Lines of the audit that could not be written", lost);
            registry.register(
                "log_lines_lost",
                "Lines of the log that could not be written",
                self.log.lost(),
            );
        });
    }

    /// Waits until the audit and the log are written, each for at most `longest`.
    pub fn flush(&self, longest: Duration) {
        self.audit.flush(longest);
        self.log.flush(longest);
    }
}

/// Sends the events of the program to `to`. Returns a function that replaces the filter; it fails if the process has
/// another log.
fn subscribe(filter: EnvFilter, to: Arc<LineWriter>, form: LogFormat) -> ReplaceFilter {
    let writer = BoxMakeWriter::new(move || LogLines { to: Arc::clone(&to), form });
    let lines = tracing_subscriber::fmt().with_writer(writer).with_ansi(false);
    // A log that was set up before stays.
    match form {
        LogFormat::Json => {
            let lines = lines.json().with_env_filter(filter).with_filter_reloading();
            let handle = lines.reload_handle();
            drop(lines.try_init());
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
        LogFormat::Text => {
            let lines = lines.fmt_fields(FieldFormat).with_env_filter(filter).with_filter_reloading();
            let handle = lines.reload_handle();
            drop(lines.try_init());
            Box::new(move |filter| handle.reload(filter).is_ok())
        }
    }
}

/// The notice of lost lines.
fn notice(form: LogFormat, target: &'static str, lost: u64) -> Vec<u8> {
    let mut line = String::new();
    let mut entry = LogEntry::begin(&mut line, form, "WARN", target);
    entry.text("message", ["lines were lost, because their reader was too slow"], usize::MAX);
    entry.number("lost", lost);
    entry.end();
    line.into_bytes()
}

/// One whole line of the log, as `tracing` passes it on.
struct LogLines {
    to: Arc<LineWriter>,
    form: LogFormat,
}

impl io::Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = match self.form {
            // The strings of the JSON may contain any characters: `serde_json` escapes only those that JSON requires to
            // be escaped.
            LogFormat::Json => printable::json(&text),
            LogFormat::Text => printable::lines(&text),
        };
        self.to.write(shown.as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
