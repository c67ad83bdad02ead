//! The thread that writes a log: entries in groups, checkpoints, new segments, and the removal of old ones.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::queue::EntryBatch;
use crate::retention::{Upkeep, UpkeepRules};
use crate::schedule::Schedule;
use crate::store::LogFiles;
use crate::{LogState, SIGNATURE_DEADLINE, SyncMode, WRITE_DEADLINE, time_text};

/// The pause between two groups, if no caller waits for them. A killed process loses what came in the meantime.
const GROUP_PAUSE: Duration = Duration::from_millis(10);

/// The time between the begins of two groups for each entry of the first one, if callers wait for them. Each group costs
/// about as much, so many callers share one, and few do not wait.
const GROUP_TIME: Duration = Duration::from_micros(20);
/// The longest such time.
const LONGEST_GROUP_TIME: Duration = Duration::from_millis(1);

/// The first pause after a failure. Each further pause is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// The reason of a write that took too long, and succeeded.
const SLOW: &str = "the disk did not answer in time";

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
    pub(crate) upkeep: Upkeep,
    /// The length and the reason of a failure that no entry tells yet.
    pub(crate) recovery: Option<(Duration, String)>,
    /// The reason why the last checkpoint could not be written.
    pub(crate) unsigned: Option<String>,
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
    pub(crate) fn run(self) {
        self.run_by(Schedule::begin(Instant::now()));
    }

    /// The same, with other times for what does not depend on entries.
    pub(crate) fn run_by(mut self, mut schedule: Schedule) {
        let mut batch = EntryBatch::default();
        loop {
            let requests = self.state.queue.take(&mut batch, schedule.next(self.store.is_unsigned()));
            let (began, entries) = (Instant::now(), batch.len());
            if entries > 0 {
                self.write(&mut batch);
                schedule.note_entries(Instant::now());
            }
            self.attend(&mut schedule, requests.checkpoint || requests.end);
            if requests.end {
                self.state.note_complete();
                self.upkeep.end();
                break;
            }
            if entries > 0 {
                self.state.queue.pause(self.next_group(began, entries));
            }
        }
    }

    /// The earliest time of the next group, after one of so many `entries`.
    fn next_group(&self, began: Instant, entries: usize) -> Instant {
        match self.sync {
            SyncMode::Batched => Instant::now() + GROUP_PAUSE,
            SyncMode::BeforeAnswer => began + group_time(entries),
        }
    }

    /// Writes a group of entries, however long it takes.
    fn write(&mut self, batch: &mut EntryBatch) {
        let is_written = self.persist(|store| store.append(batch));
        self.state.note_unsigned();
        self.state.queue.free(batch);
        if !is_written {
            self.state.queue.lose(u64::try_from(batch.entries().count()).unwrap_or(u64::MAX));
        }
        batch.settle(is_written);
        self.report_recovery();
    }

    /// Repeats `attempt` until it succeeds. False: the log ended before.
    pub(crate) fn persist(&mut self, attempt: impl Fn(&mut LogFiles) -> io::Result<()>) -> bool {
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
        let took = self.state.end_write();
        self.state.set_failing(false);
        let failed = failure.map(|reason| (began.elapsed(), reason));
        if let Some(recovery) = failed.or_else(|| slow(took)) {
            self.recovery = Some(recovery);
        }
        true
    }

    /// Writes an entry about a recovery. It needs no place in the queue, which may be full after a failure.
    pub(crate) fn report_recovery(&mut self) {
        let Some((after, reason)) = self.recovery.take() else { return };
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!("the audit is written again after {after_ms} ms");
        let (time, lost) = (time_text(), self.state.take_unreported());
        let batch = EntryBatch::of(&LogEvent::Recovered { time, after_ms, reason: &reason, lost });
        self.state.begin_write();
        let written = batch.is_ok_and(|batch| self.store.append(&batch).is_ok());
        self.state.end_write();
        match written {
            true => self.state.note_unsigned(),
            false => {
                self.state.keep_unreported(lost);
                tracing::error!(
                    "the audit has no entry about the recovery, before which {lost} entries were lost"
                );
            }
        }
    }

    /// Adds an entry to the queue. If the queue is full, there is no lack of entries.
    fn push(&self, event: &LogEvent<'_>) {
        if let (Some(place), Ok(entry)) = (self.state.queue.place(), serde_json::to_vec(event)) {
            self.state.queue.push(&entry, place);
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
            self.checkpoint(checkpoint_now);
        }
        if schedule.take_idle(now) {
            self.push(&LogEvent::Idle { time: time_text() });
        }
        if let Some(below) = self.upkeep.found() {
            self.retain(below);
        }
        self.upkeep.tell_if_hung(now);
        if schedule.take_upkeep(now) && !self.start_upkeep() {
            schedule.retry_upkeep(now);
        }
    }

    fn checkpoint(&mut self, is_end: bool) -> bool {
        self.state.begin_write();
        let result = self.store.checkpoint(is_end);
        let took = self.state.end_write();
        match result {
            Ok(()) => {
                self.signed(took);
                true
            }
            Err(error) => {
                if self.unsigned.is_none() {
                    tracing::error!(
                        "a checkpoint of the audit cannot be written; it is tried again: {error}"
                    );
                }
                self.unsigned.get_or_insert_with(|| error.to_string());
                false
            }
        }
    }

    /// Notes that all lines are signed, and tells it if the log was unavailable because they were not.
    fn signed(&mut self, took: Duration) {
        let after = self.state.note_signed();
        let failure = self.unsigned.take();
        if failure.is_some() {
            tracing::warn!("checkpoints of the audit are written again after {} s", after.as_secs());
        }
        let late = failure.filter(|_| after > SIGNATURE_DEADLINE).map(|reason| (after, reason));
        if let Some(recovery) = late.or_else(|| slow(took)) {
            self.recovery = Some(recovery);
            self.report_recovery();
        }
    }

    /// Lets segments be removed that are too old. The entry about it is written and signed first.
    fn retain(&mut self, below: u64) {
        let event = LogEvent::Retention { time: time_text(), below };
        if let Ok(batch) = EntryBatch::of(&event)
            && self.persist(|store| store.append(&batch))
            && self.checkpoint(false)
        {
            self.upkeep.approve();
        } else {
            // Without an approval, the thread ends; the next one finds the same.
            self.upkeep.refuse();
        }
        self.report_recovery();
    }

    /// Starts the removal and the compression of old segments. False: there is no thread for it now.
    pub(crate) fn start_upkeep(&mut self) -> bool {
        let Some(current) = self.store.segment().map(|segment| segment.first) else { return true };
        let SegmentRules { keep, compress, .. } = self.rules;
        let rules = UpkeepRules { keep, compress, current };
        (keep.is_none() && !compress) || self.upkeep.start(rules, Arc::clone(&self.state.queue))
    }
}

/// The time between the begins of a group with so many entries and of the next one.
fn group_time(entries: usize) -> Duration {
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    GROUP_TIME.saturating_mul(entries).min(LONGEST_GROUP_TIME)
}

/// The recovery after a write that took so long that calls were denied. None: it did not.
fn slow(took: Duration) -> Option<(Duration, String)> {
    (took > WRITE_DEADLINE).then(|| (took, SLOW.to_owned()))
}

impl EntryBatch {
    /// A batch of one entry.
    fn of(event: &LogEvent<'_>) -> serde_json::Result<Self> {
        serde_json::to_vec(event).map(Self::single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_callers_share_a_group_the_longer_it_takes_within_bounds() {
        assert_eq!([0, 1].map(group_time), [Duration::ZERO, GROUP_TIME]);
        assert_eq!(group_time(16), 16 * GROUP_TIME);
        assert_eq!([5_000, usize::MAX].map(group_time), [LONGEST_GROUP_TIME; 2]);
    }
}
