//! The renewals and logins whose tokens are not written yet. Before a process ends, it waits for them.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// The renewals and logins from their request to their write.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenRenewals(Arc<RwLock<()>>);

/// One of them, until it is dropped.
pub(crate) struct OpenRenewal(#[expect(dead_code, reason = "it is held only")] OwnedRwLockReadGuard<()>);

impl OpenRenewals {
    /// Begins a renewal.
    pub(crate) async fn begin(&self) -> OpenRenewal {
        OpenRenewal(Arc::clone(&self.0).read_owned().await)
    }

    /// Waits until all that have begun are done.
    pub(crate) async fn settle(&self) {
        drop(self.0.write().await);
    }
}
