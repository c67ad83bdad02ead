//! The places of a call among the running calls of its limits.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

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
pub struct CallPlaces(Option<Arc<Mutex<RunningCall<BucketKey>>>>);

impl From<RunningCall<BucketKey>> for CallPlaces {
    fn from(running: RunningCall<BucketKey>) -> Self {
        Self((!running.is_empty()).then(|| Arc::new(Mutex::new(running))))
    }
}

impl CallPlaces {
    /// True if there are none, because no limit counts running calls.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Ends the call after `longest`, even if there are copies. Copies are no more than the limits admit calls.
    pub fn end_within(&self, longest: Duration) {
        let Some(places) = &self.0 else { return };
        let places = Arc::downgrade(places);
        workers::background().spawn(async move {
            tokio::time::sleep(longest).await;
            if let Some(places) = places.upgrade() {
                drop(std::mem::take(&mut *places.lock()));
            }
        });
    }
}
