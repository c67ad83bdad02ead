//! The places of a call among the running calls of its limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use witgate_policy::limits::BucketKey;
use witgate_runtime::buckets::RunningCall;
use witgate_runtime::workers;

/// The time for which a cancelled call keeps its places, if the upstream does not answer it: servers do not answer
/// cancelled calls (MCP 2025-11-25, "Cancellation"), and end them soon.
pub const CANCELLED: Duration = Duration::from_secs(10);

/// The longest time for which an abandoned call keeps its places, if the upstream does not say that it has ended.
pub const ABANDONED: Duration = Duration::from_secs(600);

/// The longest time for which a task keeps the places of its call, if nobody learns that it has ended.
pub(in super::super) const TASK: Duration = Duration::from_secs(3600);

/// The places of a call. Everybody who knows that the call runs has a copy; the call ends when the last copy is dropped.
#[derive(Clone, Debug, Default)]
pub struct CallPlaces(Option<Arc<HeldPlaces>>);

#[derive(Debug)]
struct HeldPlaces {
    running: Mutex<RunningCall<BucketKey>>,
    /// The timer that ends the call, and its time.
    timer: Mutex<Option<(Instant, AbortHandle)>>,
}

impl From<RunningCall<BucketKey>> for CallPlaces {
    fn from(running: RunningCall<BucketKey>) -> Self {
        let held = |running| HeldPlaces { running: Mutex::new(running), timer: Mutex::default() };
        Self((!running.is_empty()).then(|| Arc::new(held(running))))
    }
}

impl CallPlaces {
    /// True if there are none, because no limit counts running calls.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// True if the call has ended, or no limit counts it.
    pub fn has_ended(&self) -> bool {
        self.0.as_ref().is_none_or(|held| held.running.lock().is_empty())
    }

    /// Ends the call after `longest`, even if there are copies. The earliest of such times counts, so that a call has
    /// one timer, which ends with it.
    pub fn end_within(&self, longest: Duration) {
        let Some(held) = &self.0 else { return };
        let end = Instant::now() + longest;
        let mut timer = held.timer.lock();
        if timer.as_ref().is_some_and(|(earlier, _)| *earlier <= end) {
            return;
        }
        let held = Arc::downgrade(held);
        let task = workers::background().spawn(async move {
            tokio::time::sleep(longest).await;
            if let Some(held) = held.upgrade() {
                let running = std::mem::take(&mut *held.running.lock());
                drop(running);
            }
        });
        if let Some((_, former)) = timer.replace((end, task.abort_handle())) {
            former.abort();
        }
    }
}

impl Drop for HeldPlaces {
    fn drop(&mut self) {
        if let Some((_, timer)) = self.timer.get_mut() {
            timer.abort();
        }
    }
}
