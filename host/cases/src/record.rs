//! Recordings: the questions to a live policy and its answers, as cases that can be run against another policy.
//! Without a recording, a hook costs one relaxed load more.

mod case;
mod certificate;
mod http;
mod result;
mod settings;
mod stand_in;

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use case::Cases;
use witgate_policy::Policy;
use witgate_policy::tap::{RecordedHook, TapLine};

pub use result::{RecordedCase, RecordingResult};
pub use witgate_policy::tap::TapError;

/// Interval for checking that the policy is still live.
const GLANCE: Duration = Duration::from_millis(200);

/// The bounds of a recording.
#[derive(Clone, Copy, Debug)]
pub struct RecordingBounds {
    /// Maximum number of calls.
    pub calls: u64,
    /// Maximum duration.
    pub time: Duration,
    /// True if claims are written unchanged.
    pub claims: bool,
}

/// A recording of a policy. It ends when this is dropped.
#[derive(Debug)]
pub struct Recording<'p> {
    policy: &'p Policy,
    from: mpsc::Receiver<RecordedHook>,
    line: TapLine,
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.policy.recorder().close(&self.line);
    }
}

impl<'p> Recording<'p> {
    /// Starts to record the questions to `policy`.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn start(policy: &'p Policy) -> Result<Self, TapError> {
        if policy.recorded_settings().reads_secrets {
            return Err(TapError::ReadsSecrets);
        }
        let (line, from) = policy.recorder().open()?;
        Ok(Self { policy, from, line })
    }

    /// Records hooks until `bounds` are reached, [`Policy::stop_recording`] is called, or `is_live` is no longer true.
    pub async fn run(mut self, bounds: RecordingBounds, is_live: impl Fn() -> bool) -> RecordingResult {
        let mut cases = Cases::new(self.policy, bounds.claims);
        let ended = take(&mut self.from, &self.line.stop, &mut cases, bounds, is_live).await;
        self.policy.recorder().close(&self.line);
        // The hooks that were running at the end.
        while cases.calls() < bounds.calls
            && let Ok(hook) = self.from.try_recv()
        {
            cases.add(&hook);
        }
        cases.recorded(self.line.shed.load(Ordering::Relaxed), ended)
    }
}

/// Records hooks until the recording ends, and returns the reason.
async fn take(
    from: &mut mpsc::Receiver<RecordedHook>,
    stop: &Notify,
    cases: &mut Cases<'_>,
    bounds: RecordingBounds,
    is_live: impl Fn() -> bool,
) -> &'static str {
    let end = Instant::now() + bounds.time;
    let mut glance = tokio::time::interval(GLANCE);
    loop {
        tokio::select! {
            Some(hook) = from.recv() => cases.add(&hook),
            () = stop.notified() => return "stopped",
            () = sleep_until(end) => return "time",
            _ = glance.tick() => if !is_live() { return "reload" },
        }
        if cases.calls() >= bounds.calls {
            return "calls";
        }
        if cases.are_full() {
            return "full";
        }
    }
}
