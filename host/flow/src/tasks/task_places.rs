//! The places of running tasks among the running calls of limits.

use std::collections::HashMap;

use witgate_base::party::Principal;

use crate::limit::{CallPlaces, TASK};

/// A task of a principal.
pub(super) type TaskKey = (Principal, Box<str>);

/// The number of tasks from which on those that have ended are removed.
const FEW: usize = 64;

/// The places of tasks whose end is not known. A task that is forgotten keeps them, because it may still run.
#[derive(Debug, Default)]
pub(super) struct TaskPlaces {
    /// Several for an id that an upstream repeats.
    places: HashMap<TaskKey, Vec<CallPlaces>>,
    /// The number of tasks at which those that have ended are removed next.
    cleared_at: usize,
}

impl TaskPlaces {
    /// Keeps the places of a call until its task ends, at most for a while.
    pub(super) fn keep(&mut self, key: TaskKey, places: &CallPlaces) {
        if places.is_empty() {
            return;
        }
        places.end_within(TASK);
        self.clear();
        let same = self.places.entry(key).or_default();
        same.retain(|other| !other.has_ended());
        same.push(places.clone());
    }

    /// Ends the places of a task. If the id stands for several tasks, it is not known which one has ended, so that all
    /// keep their places for a while.
    pub(super) fn end(&mut self, key: &TaskKey) {
        if self.places.get(key).is_some_and(|same| same.len() == 1) {
            self.places.remove(key);
        }
    }

    /// Removes what has ended, from time to time.
    fn clear(&mut self) {
        if self.places.len() < self.cleared_at {
            return;
        }
        self.places.retain(|_, same| {
            same.retain(|places| !places.has_ended());
            !same.is_empty()
        });
        self.cleared_at = (2 * self.places.len()).max(FEW);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use witgate_policy::limits::{BucketKey, CallBucket};
    use witgate_runtime::buckets::{Bounds, BucketTables, NeededBucket, take_all};

    use super::*;

    /// A limit for one running call.
    struct OneCall(std::sync::Arc<witgate_runtime::buckets::BucketTable<BucketKey>>);

    impl OneCall {
        fn new() -> Self {
            Self(BucketTables::default().table(&"one".into()))
        }

        /// The places of a new call. None: the one of before has not ended.
        fn begin(&self) -> Option<CallPlaces> {
            let bounds = Bounds { rate: None, concurrent: Some(1) };
            let needed = [NeededBucket { table: &self.0, bounds, name: CallBucket::default() }];
            let party = || Principal::new("keys".into(), None, "ann").party(None);
            take_all(&needed, party, 0).ok().map(CallPlaces::from)
        }
    }

    fn key(task: &str) -> TaskKey {
        (Principal::new("keys".into(), None, "ann"), task.into())
    }

    #[tokio::test]
    async fn a_task_keeps_its_places_until_it_ends() {
        let (limit, mut running) = (OneCall::new(), TaskPlaces::default());
        running.keep(key("1"), &limit.begin().unwrap());
        running.end(&key("2"));
        assert!(limit.begin().is_none());
        running.end(&key("1"));
        assert!(limit.begin().is_some());
    }

    #[tokio::test]
    async fn a_repeated_id_ends_the_places_of_no_other_task() {
        let (first, second) = (OneCall::new(), OneCall::new());
        let mut running = TaskPlaces::default();
        running.keep(key("1"), &first.begin().unwrap());
        running.keep(key("1"), &second.begin().unwrap());
        assert!(first.begin().is_none(), "the second task is not the first one");
        running.end(&key("1"));
        assert!(first.begin().is_none() && second.begin().is_none(), "nobody knows which one has ended");
    }

    #[tokio::test]
    async fn tasks_that_have_ended_are_removed() {
        let mut running = TaskPlaces::default();
        for number in 0..10 * FEW {
            let places = OneCall::new().begin().unwrap();
            running.keep(key(&number.to_string()), &places);
            places.end_within(Duration::ZERO);
            while !places.has_ended() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert!(running.places.len() <= FEW, "{}", running.places.len());
    }
}
