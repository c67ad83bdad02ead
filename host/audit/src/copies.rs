//! The places elsewhere that get checkpoints. Each has a thread of its own, because the other disk, or the network, may
//! hang.

mod pace;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::checkpoint_file::append_to;
use crate::checkpoint_place::{CheckpointNetwork, CheckpointPlace, CheckpointText};
use crate::witness::WitnessConversation;

/// The number of checkpoints that may wait. If the disk hangs for longer, the next ones are left out: a later
/// checkpoint proves all that an earlier one does.
const WAITING: usize = 64;

/// The time that the last checkpoints may take at the end.
const LAST: Duration = Duration::from_secs(3);

/// The time between two checkpoints in the log of Witgate.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Sends checkpoints to a place elsewhere. If it is dropped, waiting checkpoints are still written.
#[derive(Debug)]
pub(crate) struct CheckpointCopies {
    sender: Option<SyncSender<CheckpointText>>,
    thread: JoinHandle<()>,
    state: Arc<CopyState>,
    /// The time until which a drop waits for the thread, after the last checkpoint.
    end: Option<Instant>,
}

/// The state of a place elsewhere.
#[derive(Debug)]
pub(crate) struct CopyState {
    place: CheckpointPlace,
    /// The reason why it does not take checkpoints.
    fault: Mutex<Option<String>>,
    is_full: AtomicBool,
}

impl CopyState {
    /// The place.
    pub(crate) fn place(&self) -> &CheckpointPlace {
        &self.place
    }

    /// The reason why it does not take checkpoints at the moment.
    pub(crate) fn fault(&self) -> Option<String> {
        let hangs = || self.is_full.load(Ordering::Relaxed).then(|| "it does not answer".to_owned());
        self.fault.lock().clone().or_else(hangs)
    }

    /// Notes the result of an attempt, and reports changes.
    fn note<E: fmt::Display>(&self, result: &Result<(), E>) {
        let fault = result.as_ref().err().map(ToString::to_string);
        let before = std::mem::replace(&mut *self.fault.lock(), fault.clone());
        let place = &self.place;
        match (fault, before) {
            (Some(fault), before) if before.as_ref() != Some(&fault) => tracing::error!(
                "{place} does not take checkpoints of the audit; the next one is tried again: {fault}"
            ),
            (None, Some(_)) => tracing::warn!("{place} takes checkpoints of the audit again"),
            _ => {}
        }
    }
}

impl CheckpointCopies {
    /// Starts the thread for a place. `directory` is that of the log.
    pub(crate) fn start(
        place: CheckpointPlace,
        directory: &Path,
        network: Option<&Arc<dyn CheckpointNetwork>>,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<CheckpointText>(WAITING);
        let state = Arc::new(CopyState { place, fault: Mutex::default(), is_full: AtomicBool::default() });
        let (own, directory, network) = (Arc::clone(&state), directory.to_owned(), network.cloned());
        let work = move || own.copy(&receiver, directory, network);
        let thread = thread::Builder::new().name("audit-checkpoint".to_owned()).spawn(work)?;
        Ok(Self { sender: Some(sender), thread, state, end: None })
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

impl CheckpointCopies {
    /// Lets the thread end after what waits. All places have the same time, if each is told before one is dropped.
    pub(crate) fn end(&mut self) {
        drop(self.sender.take());
        self.end.get_or_insert_with(|| Instant::now() + LAST);
    }
}

impl Drop for CheckpointCopies {
    fn drop(&mut self) {
        self.end();
        let end = self.end.unwrap_or_else(Instant::now);
        while !self.thread.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl CopyState {
    /// The work of the thread, until there are no more checkpoints.
    fn copy(
        &self,
        checkpoints: &Receiver<CheckpointText>,
        directory: PathBuf,
        network: Option<Arc<dyn CheckpointNetwork>>,
    ) {
        match (&self.place, network) {
            (CheckpointPlace::File(path), _) => {
                checkpoints.iter().for_each(|checkpoint| self.note(&append_to(path, &checkpoint.text)));
            }
            (CheckpointPlace::Log, _) => {
                let mut last = None;
                checkpoints.iter().for_each(|checkpoint| log(&checkpoint, &mut last));
            }
            (CheckpointPlace::Witness(witness), Some(network)) => {
                let mut conversation = WitnessConversation::begin(witness.clone(), network, directory);
                pace::for_each_due(checkpoints, |checkpoint| {
                    let result = conversation.submit(checkpoint);
                    self.note(&result);
                    result.is_ok()
                });
            }
            (CheckpointPlace::Collector(url), Some(network)) => {
                pace::for_each_due(checkpoints, |checkpoint| {
                    let result = network.tell_collector(url, checkpoint.text.trim_end());
                    self.note(&result);
                    result.is_ok()
                });
            }
            (CheckpointPlace::Witness(_) | CheckpointPlace::Collector(_), None) => {
                self.note(&Err("there is no network"));
            }
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
