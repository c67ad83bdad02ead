//! New settings for the processes of an upstream. Processes with the former settings finish their calls, and end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::pipes::Launch;
use super::supervise::Slot;
use super::{ChildState, ChildUpstream};
use witgate_flow::port::LONGEST_CALL;

/// Interval for checking that the calls are finished.
const LOOK: Duration = Duration::from_millis(50);

/// The launcher of an upstream's processes, which can be replaced.
pub(crate) struct LaunchSettings(Weak<ChildState>);

impl ChildUpstream {
    /// The launcher of the processes.
    pub(crate) fn launching(&self) -> LaunchSettings {
        LaunchSettings(Arc::downgrade(&self.inner))
    }
}

impl LaunchSettings {
    /// Replaces the launcher. Sessions on running processes end as soon as their calls are finished. Must be called
    /// within a Tokio runtime.
    pub(crate) fn replace(&self, launcher: Arc<dyn Launch>) {
        let Some(inner) = self.0.upgrade() else { return };
        *inner.start.launcher.lock() = launcher;
        inner.outdate();
    }
}

impl ChildState {
    /// Ends all processes and their sessions as soon as their calls are finished. Further calls get new processes. Must be
    /// called within a Tokio runtime.
    pub(super) fn outdate(self: &Arc<Self>) {
        let outdated = self.rooms.lock().outdate();
        for slot in outdated {
            tokio::spawn(end_when_done(Arc::clone(self), slot));
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
