//! The sessions that Witgate holds towards an upstream of the older era.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::http::HeaderValue;

use crate::bridge::InitializeAnswer;

/// Maximum number of principals for whom a session is held; the least used one is dropped.
pub(super) const MAX_HELD: usize = 1_000;

/// A session that Witgate holds towards the upstream.
pub(super) struct HttpHeldSession {
    pub(super) opened: Arc<InitializeAnswer>,
    /// None: the upstream keeps no sessions.
    pub(super) session: Option<HeaderValue>,
    /// Numbers for ids: clients that share the session count each from the start.
    pub(super) next: AtomicU64,
}
