//! The change of a principal's account: prepared, but not made yet, so that its record can be prepared first.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::invitee::Invitee;
use super::link_key::LinkKey;
use super::{ConnectDesk, ConnectOutcome, ConnectedAccount};
use crate::fault::OutboundProblem;

/// A change of a principal's account.
#[must_use = "nothing changes before `make`"]
pub struct AccountChange {
    invitee: Invitee,
    is_theirs: bool,
    work: BoxFuture<'static, Result<ConnectedAccount, OutboundProblem>>,
}

impl AccountChange {
    /// The change by `work` for `invitee`, whose browser it is if `is_theirs`.
    pub(super) fn new(
        invitee: Invitee,
        is_theirs: bool,
        work: impl Future<Output = Result<ConnectedAccount, OutboundProblem>> + Send + 'static,
    ) -> Self {
        Self { invitee, is_theirs, work: Box::pin(work) }
    }

    /// The place of the upstream in the configuration.
    pub fn upstream(&self) -> usize {
        self.invitee.upstream
    }

    /// Makes the change. Nothing may interrupt it, because a code and a new grant exist only once.
    pub async fn make(self) -> ConnectOutcome {
        ConnectOutcome::of(&self.invitee, self.is_theirs, self.work.await)
    }
}

/// A link whose code is being exchanged. Unless that ends with an account, the link ends, too.
pub(super) struct RedeemingLink {
    desk: Arc<ConnectDesk>,
    key: LinkKey,
}

impl RedeemingLink {
    pub(super) fn new(desk: &Arc<ConnectDesk>, key: LinkKey) -> Self {
        Self { desk: Arc::clone(desk), key }
    }

    pub(super) fn key(&self) -> &LinkKey {
        &self.key
    }
}

impl Drop for RedeemingLink {
    fn drop(&mut self) {
        self.desk.links.lock().remove_unless_connected(&self.key);
    }
}
