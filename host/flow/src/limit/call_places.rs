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

/// The places of a call that may start a task, until its answer. If its caller goes away before, nobody learns whether
/// the task runs, so that the call keeps its places until its time ends.
#[derive(Debug)]
pub struct UnansweredCall {
    places: CallPlaces,
    end: Instant,
}

impl UnansweredCall {
    /// A call with these places, whose answer may take `longest`.
    pub fn new(places: CallPlaces, longest: Duration) -> Self {
        Self { places, end: Instant::now() + longest }
    }

    /// Notes that nothing is to be learned any more: there is an answer, or the call has failed.
    pub fn ends(mut self) {
        self.places = CallPlaces::default();
    }
}

impl Drop for UnansweredCall {
    fn drop(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let (places, longest) = (self.places.clone(), self.end.saturating_duration_since(Instant::now()));
        workers::background().spawn(async move {
            tokio::time::sleep(longest).await;
            drop(places);
        });
    }
}

impl Drop for HeldPlaces {
    fn drop(&mut self) {
        if let Some((_, timer)) = self.timer.get_mut() {
            timer.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use witgate_base::party::Principal;
    use witgate_policy::limits::CallBucket;
    use witgate_runtime::buckets::{Bounds, BucketTable, BucketTables, NeededBucket, take_all};

    use super::*;

    fn begin(limit: &Arc<BucketTable<BucketKey>>) -> Option<CallPlaces> {
        let bounds = Bounds { rate: None, concurrent: Some(1) };
        let needed = [NeededBucket { table: limit, bounds, name: CallBucket::default() }];
        let party = || Principal::new("keys".into(), None, "ann").party(None);
        take_all(&needed, party, 0).ok().map(CallPlaces::from)
    }

    #[tokio::test]
    async fn a_call_without_an_answer_keeps_its_places_until_its_time_ends() {
        let limit = BucketTables::default().table(&"one".into());
        let answered = begin(&limit).unwrap();
        UnansweredCall::new(answered, Duration::from_secs(60)).ends();
        let left = begin(&limit).expect("an answered call has ended");
        let end = Instant::now() + Duration::from_millis(200);
        drop(UnansweredCall::new(left, Duration::from_millis(200)));
        assert!(begin(&limit).is_none());
        while begin(&limit).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(Instant::now() >= end);
    }
}
