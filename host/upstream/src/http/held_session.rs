//! The sessions that Witgate holds with an upstream of the stateful era.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::http::HeaderValue;

use crate::bridge::InitializeAnswer;

/// Maximum number of principals with a held session. The least used session is dropped.
pub(super) const MAX_HELD: usize = 1_000;

/// A session that Witgate holds towards the upstream.
pub(super) struct HttpHeldSession {
    pub(super) opened: Arc<InitializeAnswer>,
    /// The session id. None: the upstream has no sessions.
    pub(super) session: Option<HeaderValue>,
    /// The next id of a request. The clients that share the session all count from the start, so their ids are
    /// replaced.
    pub(super) next: AtomicU64,
}
