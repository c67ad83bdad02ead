//! The state of the limits: the remaining and the running calls of their buckets.

use std::time::Duration;

use super::{BucketKey, CallBucket, LimitRule};
use witgate_runtime::buckets::{BucketStatus, Moment};

/// The state of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketState {
    /// The number of calls that may come at once now. None: the limit has no rate.
    pub remaining: Option<u64>,
    /// The number of running calls. None: the limit does not count them.
    pub running: Option<u32>,
    /// The time until the bucket is full, if no further call comes.
    pub full_in: Duration,
}

impl LimitRule {
    /// The buckets that are not full or have running calls: their number, and the `most` of them that take the longest
    /// to be full.
    pub fn busy(&self, now: Moment, most: usize) -> (usize, Vec<(BucketKey, BucketState)>) {
        let (number, busiest) = self.table.busiest(now, most);
        let state =
            |bucket: BucketStatus<BucketKey>| (bucket.key, self.state(bucket.full_at, bucket.running, now));
        (number, busiest.into_iter().map(state).collect())
    }

    /// The state of one bucket.
    pub fn look(&self, bucket: &CallBucket<'_>, now: Moment) -> BucketState {
        let (full_at, running) = self.table.look(bucket);
        self.state(full_at, running, now)
    }

    fn state(&self, full_at: Moment, running: u32, now: Moment) -> BucketState {
        BucketState {
            remaining: self.bounds.rate.map(|rate| rate.remaining(full_at, now)),
            running: self.bounds.concurrent.map(|_| running),
            full_in: Duration::from_nanos(full_at.saturating_sub(now)),
        }
    }
}
