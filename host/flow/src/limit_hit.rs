//! A call that a limit refuses: which limit, and when a retry makes sense.

use std::sync::Arc;
use std::time::Duration;

/// A limit that refuses a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitHit {
    /// The limit's name.
    pub limit: Arc<str>,
    /// The exhausted bound.
    pub bound: ExhaustedBound,
    /// Seconds until a retry makes sense, at least one.
    pub retry_after: u32,
}

/// The bound of a limit that is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExhaustedBound {
    /// So many calls in this time.
    Rate {
        /// The number of calls.
        count: u32,
        /// The time.
        period: Duration,
    },
    /// So many calls at the same time.
    Concurrent(u32),
    /// The caller keeps too many buckets of the limit busy.
    Buckets,
}

/// The name of the JSON-RPC member and of the log field with the limit's name.
pub const LIMIT: &str = "limit";

impl LimitHit {
    /// A hit with a wait in nanoseconds.
    pub fn new(limit: &Arc<str>, bound: ExhaustedBound, wait: u64) -> Self {
        let retry_after = u32::try_from(wait.div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1);
        Self { limit: Arc::clone(limit), bound, retry_after }
    }

    /// The values of `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn fields(&self) -> [String; 2] {
        let Self { limit, bound, retry_after } = self;
        let policy = match bound {
            ExhaustedBound::Rate { count, period } => format!("\"{limit}\";q={count};w={}", period.as_secs()),
            ExhaustedBound::Concurrent(most) => format!("\"{limit}\";q={most};qu=\"concurrent-requests\""),
            ExhaustedBound::Buckets => format!("\"{limit}\";q=0"),
        };
        [policy, format!("\"{limit}\";r=0;t={retry_after}")]
    }
}
