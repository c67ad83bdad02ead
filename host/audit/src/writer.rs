//! The thread that writes a log: entries in groups, checkpoints, new segments, and the removal of old ones.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::queue::EntryBatch;
use crate::retention::{Pruner, Retention};
use crate::schedule::Schedule;
use crate::store::LogFiles;
use crate::{LogState, SyncMode, time_text};

/// The pause between two groups, if no caller waits for them. A killed process loses what came in the meantime.
const GROUP_PAUSE: Duration = Duration::from_millis(10);

/// The first pause after a failure. Each further pause is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// The rules for segments.
#[derive(Clone, Copy, Debug)]
pub struct SegmentRules {
    /// The size of a segment after which the next one begins, in bytes.
    pub size: u64,
    /// The age of a segment after which the next one begins.
    pub age: Duration,
    /// The time for which complete segments are kept. None: for ever.
    pub keep: Option<Duration>,
    /// True if complete segments are compressed.
    pub compress: bool,
}

/// The state of the thread.
pub(crate) struct LogWriter {
    pub(crate) state: Arc<LogState>,
    pub(crate) store: LogFiles,
    pub(crate) sync: SyncMode,
    pub(crate) rules: SegmentRules,
    pub(crate) pruner: Pruner,
    /// The length and the reason of a failure that no entry tells yet.
    pub(crate) recovery: Option<(Duration, String)>,
}

/// Entries of the log about itself.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
enum LogEvent<'a> {
    /// Witgate has nothing else to record.
    Idle { time: String },
    /// Entries can be written again.
    Recovered { time: String, after_ms: u64, reason: &'a str, lost: u64 },
    /// Old segments are removed: all lines below a number.
    Retention { time: String, below: u64 },
}

impl LogWriter {
    /// The work of the thread: it ends after the queue has ended and everything is written.
    pub(crate) fn run(mut self) {
        let mut schedule = Schedule::begin(Instant::now());
        let mut batch = EntryBatch::default();
        loop {
            let requests = self.state.queue.take(&mut batch, schedule.next(self.store.is_unsigned()));
            let is_busy = !batch.is_empty();
            if is_busy {
                self.write(&mut batch);
                schedule.note_entries(Instant::now());
            }
            self.attend(&mut schedule, requests.checkpoint || requests.end);
            if requests.end {
                break;
            }
            if is_busy && self.sync == SyncMode::Batched {
                self.state.queue.pause(Instant::now() + GROUP_PAUSE);
            }
        }
    }

    /// Writes a group of entries, however long it takes.
    fn write(&mut self, batch: &mut EntryBatch) {
        let is_written = self.persist(|store| store.append(batch));
        self.state.queue.free(batch);
        self.report_recovery();
        if !is_written {
            self.state.queue.lose(u64::try_from(batch.entries().count()).unwrap_or(u64::MAX));
        }
        batch.settle(is_written);
    }

    /// Repeats `attempt` until it succeeds. False: the log ended before.
    fn persist(&mut self, attempt: impl Fn(&mut LogFiles) -> io::Result<()>) -> bool {
        let began = Instant::now();
        let mut pause = FIRST_RETRY;
        let mut failure: Option<String> = None;
        loop {
            self.state.begin_write();
            let result = attempt(&mut self.store);
            match result {
                Ok(()) => break,
                Err(error) => {
                    self.state.set_failing(true);
                    if failure.is_none() {
                        tracing::error!("the audit cannot be written; it is tried again: {error}");
                    }
                    failure.get_or_insert_with(|| error.to_string());
                    if self.state.queue.is_ended() && began.elapsed() > LONGEST_RETRY {
                        return false;
                    }
                    // After the end of the queue, nothing interrupts a pause.
                    if self.state.queue.is_ended() {
                        thread::sleep(FIRST_RETRY);
                    }
                    self.state.queue.pause(Instant::now() + pause);
                    pause = (2 * pause).min(LONGEST_RETRY);
                }
            }
        }
        self.state.end_write();
        if let Some(reason) = failure {
            self.state.set_failing(false);
            self.recovery = Some((began.elapsed(), reason));
        }
        true
    }

    /// Writes an entry about a recovery. It needs no place in the queue, which may be full after a failure.
    fn report_recovery(&mut self) {
        let Some((after, reason)) = self.recovery.take() else { return };
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!("the audit is written again after {after_ms} ms");
        let (time, lost) = (time_text(), self.state.take_unreported());
        let batch = EntryBatch::of(&LogEvent::Recovered { time, after_ms, reason: &reason, lost });
        if batch.is_ok_and(|batch| self.store.append(&batch).is_err()) {
            tracing::error!(
                "the audit has no entry about the recovery, before which {lost} entries were lost"
            );
        }
    }

    /// Adds an entry to the queue. If the queue is full, there is no lack of entries.
    fn push(&self, event: &LogEvent<'_>) {
        if let (Some(place), Ok(entry)) = (self.state.queue.place(), serde_json::to_vec(event)) {
            self.state.queue.push(&entry, place, None);
        }
    }

    /// Does the work that is due.
    fn attend(&mut self, schedule: &mut Schedule, checkpoint_now: bool) {
        let now = Instant::now();
        if self.store.is_full(self.rules.size, self.rules.age) && self.store.segment().is_some() {
            self.persist(LogFiles::rotate);
            self.report_recovery();
            schedule.note_rotation(now);
        }
        if schedule.take_checkpoint(now, self.store.is_unsigned(), checkpoint_now) {
            self.checkpoint();
        }
        if schedule.take_idle(now) {
            self.push(&LogEvent::Idle { time: time_text() });
        }
        if schedule.take_prune(now) {
            self.prune();
        }
    }

    fn checkpoint(&mut self) {
        self.state.begin_write();
        let result = self.store.checkpoint();
        self.state.end_write();
        let was_failing = self.state.is_checkpoint_failing(result.is_err());
        match result {
            Err(error) if !was_failing => {
                tracing::error!("a checkpoint of the audit cannot be written; it is tried again: {error}");
            }
            _ => {}
        }
    }

    /// Removes segments that are too old, and compresses the others. The entry about a removal is written and signed
    /// first.
    fn prune(&mut self) {
        let Some(current) = self.store.segment().map(|segment| segment.first) else { return };
        match self.pruner.look(self.rules.keep, current) {
            Ok(Some(Retention { below, files })) => {
                let event = LogEvent::Retention { time: time_text(), below };
                if let Ok(batch) = EntryBatch::of(&event)
                    && self.persist(|store| store.append(&batch))
                    && self.store.checkpoint().is_ok()
                {
                    remove(&files);
                }
                self.report_recovery();
            }
            Ok(None) => {}
            Err(error) => tracing::error!("the segments of the audit cannot be listed: {error}"),
        }
        if self.rules.compress {
            self.pruner.compress(current);
        }
    }
}

impl EntryBatch {
    /// A batch of one entry.
    fn of(event: &LogEvent<'_>) -> serde_json::Result<Self> {
        serde_json::to_vec(event).map(Self::single)
    }
}

fn remove(files: &[PathBuf]) {
    for file in files {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!("{} is too old, but cannot be removed: {error}", file.display());
            }
            _ => tracing::info!("removed {}", file.display()),
        }
    }
}
