//! The places elsewhere that get checkpoints. Each has a thread of its own, because the other disk may hang.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The number of checkpoints that may wait. If the disk hangs for longer, the next ones are left out: a later
/// checkpoint proves all that an earlier one does.
const WAITING: usize = 64;

/// The time that the last checkpoints may take at the end.
const LAST: Duration = Duration::from_secs(3);

/// The time between two checkpoints in the log of Witgate.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// A place elsewhere that gets checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointPlace {
    /// A file that gets every checkpoint.
    File(PathBuf),
    /// The log of Witgate: one each minute, and those that end something.
    Log,
}

impl fmt::Display for CheckpointPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Log => f.write_str("log"),
        }
    }
}

/// A checkpoint for the places elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct CheckpointText {
    pub(crate) text: Arc<str>,
    /// True at the end of a segment, at a reload and at a stop.
    pub(crate) is_end: bool,
}

/// Sends checkpoints to a place elsewhere. If it is dropped, waiting checkpoints are still written.
#[derive(Debug)]
pub(crate) struct CheckpointCopies {
    sender: Option<SyncSender<CheckpointText>>,
    thread: JoinHandle<()>,
    state: Arc<CopyState>,
}

/// The state of a place elsewhere.
#[derive(Debug)]
pub(crate) struct CopyState {
    place: CheckpointPlace,
    is_failing: AtomicBool,
    is_full: AtomicBool,
}

impl CopyState {
    /// The place.
    pub(crate) fn place(&self) -> &CheckpointPlace {
        &self.place
    }

    /// True if it does not take checkpoints at the moment.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed) || self.is_full.load(Ordering::Relaxed)
    }

    /// Notes the result of an attempt, and reports changes.
    fn note(&self, result: &io::Result<()>) {
        let is_failing = result.is_err();
        let place = &self.place;
        match (result, self.is_failing.swap(is_failing, Ordering::Relaxed)) {
            (Err(error), false) => tracing::error!(
                "{place} does not take checkpoints of the audit; the next one is tried again: {error}"
            ),
            (Ok(()), true) => tracing::warn!("{place} takes checkpoints of the audit again"),
            _ => {}
        }
    }
}

impl CheckpointCopies {
    /// Starts the thread for a place.
    pub(crate) fn start(place: CheckpointPlace) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<CheckpointText>(WAITING);
        let state =
            Arc::new(CopyState { place, is_failing: AtomicBool::default(), is_full: AtomicBool::default() });
        let own = Arc::clone(&state);
        let mut logged = None;
        let work = move || {
            receiver.iter().for_each(|checkpoint| match &own.place {
                CheckpointPlace::File(path) => own.note(&append_to(path, &checkpoint.text)),
                CheckpointPlace::Log => log(&checkpoint, &mut logged),
            });
        };
        let thread = thread::Builder::new().name("audit-checkpoint".to_owned()).spawn(work)?;
        Ok(Self { sender: Some(sender), thread, state })
    }

    /// The state of the place.
    pub(crate) fn state(&self) -> Arc<CopyState> {
        Arc::clone(&self.state)
    }

    /// Sends a checkpoint. It never blocks.
    pub(crate) fn send(&mut self, checkpoint: &CheckpointText) {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.try_send(checkpoint.clone()).is_ok());
        if !self.state.is_full.swap(!sent, Ordering::Relaxed) && !sent {
            tracing::error!(
                "{} does not take checkpoints of the audit: it does not answer",
                self.state.place()
            );
        }
    }
}

impl Drop for CheckpointCopies {
    fn drop(&mut self) {
        drop(self.sender.take());
        let end = Instant::now() + LAST;
        while !self.thread.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Writes a checkpoint to the log of Witgate, if the last one there is a minute old, or if something ends.
fn log(checkpoint: &CheckpointText, last: &mut Option<Instant>) {
    if checkpoint.is_end || last.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
        *last = Some(Instant::now());
        tracing::info!(target: "witgate::audit::checkpoint", checkpoint = &*checkpoint.text, "a checkpoint of the audit");
    }
}

/// Appends a checkpoint to a file, and makes it durable. After an error, nothing of it is left, if the file permits
/// that. What a kill has left before it is ended by an empty line.
pub(crate) fn append_to(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    let end = if is_complete(&file, length)? { "" } else { "\n\n" };
    let written = file.write_all(format!("{end}{text}").as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        drop(file.set_len(length));
    }
    written
}

/// True if a file is empty, or ends with an empty line. A pipe has no end.
fn is_complete(file: &File, length: u64) -> io::Result<bool> {
    let Some(at) = length.checked_sub(2) else { return Ok(length == 0) };
    let mut end = [0; 2];
    file.read_exact_at(&mut end, at)?;
    Ok(end == *b"\n\n")
}
