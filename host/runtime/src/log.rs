//! The log of `witgate serve`: where its lines go, which of them are wanted, and how they look.
//!
//! The audit is not a part of it: it has a [`LineWriter`] of its own, whatever `RUST_LOG` says. Both go to standard
//! error.

pub mod entry;
mod fields;
mod filter;
pub mod throttle;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::lines::{LineWriter, SharedOutput};
use crate::metrics::Metrics;
use entry::{LogEntry, LogFormat};
use fields::FieldFormat;
use witgate_base::printable;

/// Lines of the audit that wait to be written: each has at most 4 KiB, and mostly a tenth of that.
const AUDIT_LINES: usize = 8192;

/// Lines of the log that wait to be written.
const LOG_LINES: usize = 1024;

/// The log of `serve` on standard error.
#[derive(Debug)]
pub struct Logs {
    form: LogFormat,
    log: Arc<LineWriter>,
    audit: Arc<LineWriter>,
}

impl Logs {
    /// Begins to log to standard error what `wanted` (`RUST_LOG`) says, for programs to read or for people. What is
    /// wrong with it is the first line. Where this process logs already, it goes on as it did.
    ///
    /// # Errors
    /// When the system gives no descriptor or thread.
    pub fn start(wanted: Option<&str>, is_json: bool) -> io::Result<Self> {
        let form = if is_json { LogFormat::Json } else { LogFormat::Text };
        let output = Arc::new(SharedOutput::stderr()?);
        let start = |name, target, most| {
            let notice = move |lost| notice(form, target, lost);
            LineWriter::start(name, Arc::clone(&output), most, notice).map(Arc::new)
        };
        let log = start("witgate-log", "witgate::log", LOG_LINES)?;
        let audit = start("witgate-audit", "witgate::audit", AUDIT_LINES)?;
        let logs = Self { form, log, audit };
        let (filter, faults) = filter::read(wanted);
        logs.subscribe(filter);
        faults.iter().for_each(|fault| logs.warn(fault));
        Ok(logs)
    }

    fn subscribe(&self, filter: tracing_subscriber::EnvFilter) {
        let (to, form) = (Arc::clone(&self.log), self.form);
        let writer = BoxMakeWriter::new(move || LogLines { to: Arc::clone(&to), form });
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
        // Whoever has set up a log already keeps it.
        drop(match self.form {
            LogFormat::Json => lines.json().try_init(),
            LogFormat::Text => lines.fmt_fields(FieldFormat).try_init(),
        });
    }

    fn warn(&self, message: &str) {
        let mut line = String::new();
        let mut entry = LogEntry::begin(&mut line, self.form, "WARN", "witgate::log");
        entry.text("message", [message], usize::MAX);
        entry.end();
        self.log.write(line.as_bytes());
    }

    /// The writer of the audit's lines, and their form.
    pub fn audit(&self) -> (Arc<LineWriter>, LogFormat) {
        (Arc::clone(&self.audit), self.form)
    }

    /// Adds the counts of what was lost.
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

    /// Waits until everything is written, each of both for at most `longest`.
    pub fn flush(&self, longest: Duration) {
        self.audit.flush(longest);
        self.log.flush(longest);
    }
}

/// The line that says how many others were lost.
fn notice(form: LogFormat, target: &'static str, lost: u64) -> Vec<u8> {
    let mut line = String::new();
    let mut entry = LogEntry::begin(&mut line, form, "WARN", target);
    entry.text("message", ["lines were lost, because their reader was too slow"], usize::MAX);
    entry.number("lost", lost);
    entry.end();
    line.into_bytes()
}

/// One line of the log, as `tracing` hands it over: whole.
struct LogLines {
    to: Arc<LineWriter>,
    form: LogFormat,
}

impl io::Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = match self.form {
            // Its strings may hold anything: `serde_json` escapes what JSON has to have escaped, and no more.
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
