//! The file elsewhere that gets every checkpoint. A thread of its own writes it, because the other disk may hang.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The number of checkpoints that may wait. If the disk hangs for longer, the next ones are left out: a later
/// checkpoint proves all that an earlier one does.
const WAITING: usize = 64;

/// The time that the last checkpoints may take at the end.
const LAST: Duration = Duration::from_millis(500);

/// Sends checkpoints to the file elsewhere. If it is dropped, waiting checkpoints are still written.
#[derive(Debug)]
pub(crate) struct CheckpointCopies {
    sender: Option<SyncSender<String>>,
    thread: JoinHandle<()>,
    path: PathBuf,
    is_full: bool,
}

impl CheckpointCopies {
    /// Starts the thread for the file at `path`.
    pub(crate) fn start(path: PathBuf) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let own = path.clone();
        let thread = thread::Builder::new().name("audit-checkpoint".to_owned());
        let thread = thread.spawn(move || write_all(&own, &receiver))?;
        Ok(Self { sender: Some(sender), thread, path, is_full: false })
    }

    /// Sends a checkpoint. It never blocks.
    pub(crate) fn send(&mut self, text: String) {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.try_send(text).is_ok());
        if !sent && !self.is_full {
            tracing::error!("{} does not take checkpoints of the audit", self.path.display());
        }
        self.is_full = !sent;
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

/// Appends each checkpoint, and reports the first of several failures.
fn write_all(path: &Path, texts: &Receiver<String>) {
    let mut is_failing = false;
    for text in texts {
        let written = append_to(path, &text);
        if let Err(error) = &written
            && !is_failing
        {
            tracing::error!(
                "{} does not take checkpoints of the audit; the next one is tried again: {error}",
                path.display()
            );
        }
        is_failing = written.is_err();
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
