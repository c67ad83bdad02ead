//! Other settings for the processes of an upstream. Those that run with the former ones answer what they were asked, and
//! end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::pipes::Launch;
use super::supervise::Slot;
use super::{ChildState, ChildUpstream};

/// A call that takes longer is cut: a process with a credential that was replaced must not stay for ever.
const LONGEST_CALL: Duration = Duration::from_secs(10 * 60);

/// Interval at which it is checked that the calls are done.
const LOOK: Duration = Duration::from_millis(50);

/// The way an upstream's processes are started, to be replaced while it runs.
pub(crate) struct LaunchSettings(Weak<ChildState>);

impl ChildUpstream {
    /// The way its processes are started.
    pub(crate) fn launching(&self) -> LaunchSettings {
        LaunchSettings(Arc::downgrade(&self.inner))
    }
}

impl LaunchSettings {
    /// Has `launcher` start every process from now on. Sessions on those that run are over as soon as their calls are
    /// done. Must be called within a Tokio runtime.
    pub(crate) fn replace(&self, launcher: Arc<dyn Launch>) {
        let Some(inner) = self.0.upgrade() else { return };
        *inner.start.launcher.lock() = launcher;
        let outdated = inner.rooms.lock().outdate();
        for slot in outdated {
            tokio::spawn(end_when_done(Arc::clone(&inner), slot));
        }
    }
}

async fn end_when_done(inner: Arc<ChildState>, slot: Arc<Slot>) {
    let done = async {
        while slot.is_at_work() {
            sleep(LOOK).await;
        }
    };
    let _ = timeout(LONGEST_CALL, done).await;
    inner.rooms.lock().end_slot(&slot);
}
