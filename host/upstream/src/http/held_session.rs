//! The sessions that Witgate holds with an upstream of the stateful era.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use ::http::HeaderValue;
use witgate_runtime::metrics::session_meter::SessionMeter;

use super::session_account::SessionAccount;
use crate::bridge::InitializeAnswer;

/// Maximum number of principals with a held session. The least used session is dropped.
pub(super) const MAX_HELD: usize = 1_000;

/// A session that Witgate holds towards the upstream, until it is dropped.
pub(super) struct HttpHeldSession {
    pub(super) opened: Arc<InitializeAnswer>,
    /// The session id. None: the upstream has no sessions.
    pub(super) session: Option<HeaderValue>,
    /// The account of the caller.
    pub(super) account: SessionAccount,
    /// The next id of a request. The clients that share the session all count from the start, so their ids are
    /// replaced.
    pub(super) next: AtomicU64,
    meter: SessionMeter,
    began: Instant,
}

impl HttpHeldSession {
    /// A session that begins now, and that `meter` counts.
    pub(super) fn begin(opened: InitializeAnswer, session: Option<HeaderValue>, meter: SessionMeter) -> Self {
        meter.begin();
        let (opened, next) = (Arc::new(opened), AtomicU64::new(1));
        Self { opened, session, account: SessionAccount::default(), next, meter, began: Instant::now() }
    }
}

impl Drop for HttpHeldSession {
    fn drop(&mut self) {
        self.meter.end(self.began);
    }
}
