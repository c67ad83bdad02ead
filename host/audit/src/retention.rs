//! Old segments: their removal and compression, in a thread of their own, because the disk may hang.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;

use crate::queue::EntryQueue;
use crate::segment::{self, Segment, SegmentHeader};

/// The time that the thread gets to end.
const LAST: Duration = Duration::from_secs(1);

/// The number of bytes that are compressed between two looks at whether the log ends.
const BLOCK: usize = 256 << 10;

/// The time for one step of the thread after which the disk counts as hung. A block takes milliseconds.
const STEP_DEADLINE: Duration = Duration::from_secs(60);

/// The time after which the compression makes a pause, so that segments that have become too old meanwhile are removed.
const LONGEST_COMPRESSION: Duration = Duration::from_secs(600);

/// The rules for segments that are complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpkeepRules {
    /// The time for which they are kept. None: for ever.
    pub(crate) keep: Option<Duration>,
    /// True if they are compressed.
    pub(crate) compress: bool,
    /// The number of the first line of the segment that is written.
    pub(crate) current: u64,
}

/// The upkeep of the old segments of a directory.
#[derive(Debug)]
pub(crate) struct Upkeep {
    directory: PathBuf,
    /// The state that the thread sees.
    progress: Arc<UpkeepProgress>,
    run: Option<UpkeepRun>,
    /// True if it is told that the thread hangs.
    is_told: bool,
}

/// The progress of the thread.
#[derive(Debug)]
pub(crate) struct UpkeepProgress {
    is_ended: AtomicBool,
    /// True while the thread works.
    is_running: AtomicBool,
    /// The beginning of the current step.
    step: Mutex<Instant>,
    /// The reason why the last work has failed.
    failure: Mutex<Option<String>>,
}

impl Default for UpkeepProgress {
    fn default() -> Self {
        Self {
            is_ended: AtomicBool::default(),
            is_running: AtomicBool::default(),
            step: Mutex::new(Instant::now()),
            failure: Mutex::default(),
        }
    }
}

impl UpkeepProgress {
    /// The reason why old segments are neither removed nor compressed. None: they are.
    pub(crate) fn fault(&self, now: Instant) -> Option<String> {
        let hung =
            self.hung_for(now).map(|time| format!("the disk has not answered for {} s", time.as_secs()));
        hung.or_else(|| self.failure.lock().clone())
    }

    /// The time for which the disk has not answered, if that is too long.
    fn hung_for(&self, now: Instant) -> Option<Duration> {
        let step = now.saturating_duration_since(*self.step.lock());
        (self.is_running.load(Ordering::Acquire) && step > STEP_DEADLINE).then_some(step)
    }

    /// Notes that the thread begins.
    fn begin(&self) {
        self.note_step();
        self.is_running.store(true, Ordering::Release);
    }

    /// Notes that the thread has ended, and reports its failure.
    fn end(&self, result: io::Result<()>) {
        // Work that was broken off because the log ends has not failed.
        if !self.is_ended.load(Ordering::Relaxed) {
            let failure = result.err().map(|error| error.to_string());
            let before = std::mem::replace(&mut *self.failure.lock(), failure.clone());
            if let Some(error) = failure.filter(|failure| before.as_ref() != Some(failure)) {
                tracing::error!("old segments of the audit cannot be removed or compressed: {error}");
            }
        }
        self.is_running.store(false, Ordering::Release);
    }

    /// Notes that a step begins.
    fn note_step(&self) {
        *self.step.lock() = Instant::now();
    }

    /// The same, for a step that is left out if the log ends.
    ///
    /// # Errors
    /// If the log ends.
    fn begin_step(&self) -> io::Result<()> {
        self.note_step();
        match self.is_ended.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the log ends")),
            false => Ok(()),
        }
    }
}

/// A thread that looks for old segments, removes them after an approval, and compresses the others.
#[derive(Debug)]
struct UpkeepRun {
    thread: JoinHandle<()>,
    found: Receiver<u64>,
    approval: SyncSender<bool>,
}

impl Upkeep {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, progress: Arc::default(), run: None, is_told: false }
    }

    /// The state that the thread sees.
    pub(crate) fn progress(&self) -> Arc<UpkeepProgress> {
        Arc::clone(&self.progress)
    }

    /// Tells that the thread hangs, and that it goes on. True: it hangs.
    pub(crate) fn tell_if_hung(&mut self, now: Instant) -> bool {
        let hung = self.progress.hung_for(now);
        match (hung, std::mem::replace(&mut self.is_told, hung.is_some())) {
            (Some(step), false) => tracing::error!(
                "old segments of the audit are neither removed nor compressed: the disk has not answered for {} s",
                step.as_secs()
            ),
            (None, true) => tracing::warn!("the disk answers again to the upkeep of the audit"),
            _ => {}
        }
        hung.is_some()
    }

    /// Starts the work in a thread, which wakes the writer if it needs an approval. False: the last work is not done.
    pub(crate) fn start(&mut self, rules: UpkeepRules, queue: Arc<EntryQueue>) -> bool {
        if self.run.as_ref().is_some_and(|run| !run.thread.is_finished()) {
            return false;
        }
        let (finder, found) = sync_channel(1);
        let (approval, approved) = sync_channel(1);
        let (directory, progress) = (self.directory.clone(), Arc::clone(&self.progress));
        progress.begin();
        let work = move || {
            yield_to_others();
            let approve = |below| {
                let asked = finder.send(below).is_ok();
                queue.want_checkpoint();
                asked && approved.recv() == Ok(true)
            };
            progress.end(work(&directory, rules, approve, &progress));
        };
        match thread::Builder::new().name("audit-upkeep".to_owned()).spawn(work) {
            Ok(thread) => self.run = Some(UpkeepRun { thread, found, approval }),
            Err(error) => {
                self.run = None;
                self.progress.end(Err(error));
            }
        }
        self.run.is_some()
    }

    /// The number below which all lines are too old, if the thread waits for an approval of their removal.
    pub(crate) fn found(&self) -> Option<u64> {
        self.run.as_ref()?.found.try_recv().ok()
    }

    /// Lets what was found be removed.
    pub(crate) fn approve(&self) {
        self.answer(true);
    }

    /// Lets what was found stay.
    pub(crate) fn refuse(&self) {
        self.answer(false);
    }

    fn answer(&self, is_approved: bool) {
        if let Some(run) = &self.run {
            // The thread may have ended.
            let _ = run.approval.try_send(is_approved);
        }
    }

    /// Waits for the thread, unless the disk hangs.
    pub(crate) fn end(&mut self) {
        self.progress.is_ended.store(true, Ordering::Relaxed);
        let Some(UpkeepRun { thread, approval, .. }) = self.run.take() else { return };
        drop(approval);
        let end = Instant::now() + LAST;
        while !thread.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Leaves the processor to others: entries of some busy seconds take a second to compress. Not the class for idle
/// threads: a thread that never gets the processor could hold up the file system, and with it the writer.
fn yield_to_others() {
    // On Linux, it applies to the calling thread alone. Without it, the work is done all the same.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(19);
}

fn work(
    directory: &Path,
    rules: UpkeepRules,
    approve: impl FnOnce(u64) -> bool,
    progress: &UpkeepProgress,
) -> io::Result<()> {
    let segments = segment::list(directory)?;
    progress.begin_step()?;
    let complete = segments.partition_point(|segment| segment.first < rules.current);
    let (old, kept) = segments.split_at(rules.keep.map_or(0, |keep| old(&segments, complete, keep)));
    let below = kept.first().map(|segment| segment.first).filter(|_| !old.is_empty());
    let mut removed = Ok(());
    if below.is_some_and(approve) {
        let files = old.iter().flat_map(|segment| [segment.path.clone(), segment.checkpoints()]);
        for file in files.chain(cosigned(directory, old)) {
            progress.note_step();
            // One that stays keeps no other.
            removed = removed.and(remove(&file));
        }
    }
    if rules.compress {
        compress_all(directory, rules.current, progress)?;
    }
    removed
}

/// The files with the checkpoints of segments that witnesses have cosigned.
fn cosigned(directory: &Path, segments: &[Segment]) -> Vec<PathBuf> {
    let mut files = segment::cosigned_files(directory).unwrap_or_default();
    let last = segments.last().map(|segment| segment::cosigned_name(segment.first.saturating_add(1), ""));
    files.retain(|path| path.file_name().zip(last.as_ref()).is_some_and(|(name, last)| name < last.as_str()));
    files
}

/// The number of segments, from the oldest one without a gap, whose last line is older than `keep`. The log itself has
/// the time: the next segment began when the segment ended. The times of files change with every copy.
fn old(segments: &[Segment], complete: usize, keep: Duration) -> usize {
    let next = segments.iter().skip(1).take(complete);
    next.take_while(|next| SegmentHeader::age(next).is_some_and(|age| age >= keep)).count()
}

fn remove(file: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let file = file.display();
            return Err(io::Error::new(
                error.kind(),
                format!("{file} is too old, but cannot be removed: {error}"),
            ));
        }
        _ => tracing::info!("removed {}", file.display()),
    }
    Ok(())
}

/// Compresses all segments that begin before the line `current`.
pub(crate) fn compress_all(directory: &Path, current: u64, progress: &UpkeepProgress) -> io::Result<()> {
    let segments = segment::list(directory)?;
    let complete = segments.iter().filter(|segment| segment.first < current && !segment.is_compressed);
    let end = Instant::now() + LONGEST_COMPRESSION;
    complete.take_while(|_| Instant::now() < end).try_for_each(|segment| compress(segment, progress))
}

/// Replaces a segment by its compressed form.
fn compress(segment: &Segment, progress: &UpkeepProgress) -> io::Result<()> {
    progress.begin_step()?;
    let mut plain = File::open(&segment.path)?;
    let complete = segment.path.with_extension("jsonl.gz");
    // The name is fixed, so that the next attempt replaces what a kill has left.
    let incomplete = segment.path.with_extension("jsonl.gz.new");
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&incomplete)?;
    let mut encoder = GzEncoder::new(file, Compression::fast());
    let mut block = vec![0; BLOCK];
    loop {
        progress.begin_step()?;
        match plain.read(&mut block)? {
            0 => break,
            read => encoder.write_all(block.get(..read).unwrap_or_default())?,
        }
    }
    progress.begin_step()?;
    encoder.finish()?.sync_all()?;
    std::fs::rename(&incomplete, &complete)?;
    witgate_base::whole_file::sync_folder(&segment.path)?;
    std::fs::remove_file(&segment.path)
}
