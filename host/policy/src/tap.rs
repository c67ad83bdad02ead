//! The tap of a policy, which passes hooks to a recording. Without a recording, it costs a hook one relaxed load.

mod hook;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

pub use hook::RecordedHook;
pub use settings::RecordedSettings;

/// Maximum number of hooks that wait for the recording. Further hooks are dropped, so that no caller waits for a
/// recording.
const WAITING: usize = 256;

/// The reason why a recording cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// The policy is already being recorded.
    #[error("the policy is already being recorded; wait, or end that recording")]
    Already,
    /// The policy reads raw secrets.
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

/// The channel to the recording.
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

    /// The channel to the recording. None: there is no recording.
    pub fn line(&self) -> Option<TapLine> {
        self.is_on().then(|| self.line.lock().clone()).flatten()
    }

    /// Starts to pass on hooks.
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

    /// Ends the recording with this channel. A recording that has started since continues.
    pub fn close(&self, line: &TapLine) {
        let mut place = self.line.lock();
        if place.as_ref().is_some_and(|open| Arc::ptr_eq(&open.stop, &line.stop)) {
            self.is_on.store(false, Ordering::Relaxed);
            *place = None;
        }
    }
}

impl TapLine {
    /// Passes on a finished hook, or drops it.
    pub fn offer(&self, hook: RecordedHook) {
        if self.to.try_send(hook).is_err() {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
