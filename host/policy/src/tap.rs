//! The tap of a policy: it hands hooks to a recording. While nobody records, a hook pays one relaxed load for it.

mod hook;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

pub use hook::RecordedHook;
pub use settings::RecordedSettings;

/// Hooks that wait to be written down. More are shed: a caller waits for no recording.
const WAITING: usize = 256;

/// The reason why there is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// Somebody records it already.
    #[error("the policy is already being recorded; wait, or end that recording")]
    Already,
    /// It reads secrets.
    #[error(
        "the policy reads raw secrets (`grants.secrets`), and a recording would contain them; record another policy"
    )]
    ReadsSecrets,
}

/// The tap of one policy.
#[derive(Debug, Default)]
pub struct Recorder {
    is_on: AtomicBool,
    line: Mutex<Option<TapLine>>,
}

/// The way to who writes down.
#[derive(Clone, Debug)]
pub struct TapLine {
    to: mpsc::Sender<RecordedHook>,
    /// The number of hooks that were dropped.
    pub shed: Arc<AtomicU64>,
    /// Ends the recording.
    pub stop: Arc<Notify>,
}

impl Recorder {
    /// True if a recording is running.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// The way to the recording. None: nobody records.
    pub fn line(&self) -> Option<TapLine> {
        self.is_on().then(|| self.line.lock().clone()).flatten()
    }

    /// Begins to take hooks.
    ///
    /// # Errors
    /// `Already`.
    pub fn open(&self) -> Result<(TapLine, mpsc::Receiver<RecordedHook>), TapError> {
        let mut place = self.line.lock();
        if place.is_some() {
            return Err(TapError::Already);
        }
        let (to, from) = mpsc::channel(WAITING);
        let line = TapLine { to, shed: Arc::default(), stop: Arc::default() };
        *place = Some(line.clone());
        self.is_on.store(true, Ordering::Relaxed);
        Ok((line, from))
    }

    /// Asks the recording to end. False: there is none.
    pub fn stop(&self) -> bool {
        let line = self.line.lock().clone();
        line.is_some_and(|line| {
            line.stop.notify_one();
            true
        })
    }

    /// Ends the recording whose line this is; one that has begun since goes on.
    pub fn close(&self, line: &TapLine) {
        let mut place = self.line.lock();
        if place.as_ref().is_some_and(|open| Arc::ptr_eq(&open.stop, &line.stop)) {
            self.is_on.store(false, Ordering::Relaxed);
            *place = None;
        }
    }
}

impl TapLine {
    /// Hands on a hook that is done, or drops it.
    pub fn offer(&self, hook: RecordedHook) {
        if self.to.try_send(hook).is_err() {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
