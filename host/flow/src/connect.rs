//! Callers who connect an account of their own for the upstream: their invitation, the check of who opens the page, and
//! the records of both.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use witgate_plugin::Transport;

use crate::Flow;
use crate::authenticate::identity::Caller;
use crate::decision::DecisionId;
use crate::port::Upstream;
use crate::receive::{Arrival, receive_bodiless};
use crate::reject::{RejectedMessage, Rejection};
use crate::request::Request;
use witgate_base::party::Principal;
use witgate_credentials::connect::{ConnectDesk, ConnectOutcome, Invitee};
use witgate_credentials::fault::{Invitation, InvitationForm, OutboundFault, OutboundProblem};
use witgate_message::call::Call;
use witgate_message::era::Era;

/// The method in records about an account that somebody connects.
pub const CONNECT: &str = "connect";

/// The method in records about an account that is disconnected.
pub const DISCONNECT: &str = "disconnect";

impl<U: Upstream> Flow<U> {
    /// The same, whose callers get links of `desk` if they have to connect an account. None: there are no pages.
    pub fn with_connect(self, desk: Option<Arc<ConnectDesk>>) -> Self {
        Self { connect: desk, ..self }
    }

    /// The invitation of a principal. None: callers connect no accounts for this upstream.
    pub fn invitee(&self, principal: Principal) -> Option<Invitee> {
        let credential = self.upstream.credential_of_principals()?;
        let (upstream, resource) = (self.route.pipeline, Arc::clone(&self.route.resource));
        Some(Invitee { credential, principal, upstream, resource })
    }

    /// Adds a link to the refusal of a caller who has to connect an account.
    pub(crate) fn inviting(&self, rejection: Rejection, caller: Option<&Caller>) -> Rejection {
        let Rejection::Outbound(fault) = rejection else { return rejection };
        let needs_account = matches!(fault.problem, OutboundProblem::NotConnected | OutboundProblem::Ended);
        let (Some(desk), Some(caller), true) = (&self.connect, caller, needs_account) else {
            return Rejection::Outbound(fault);
        };
        let invitee = self.invitee(caller.principal());
        let invitee = invitee.filter(|invitee| invitee.credential.settings().name == fault.credential);
        let Some(invitee) = invitee else { return Rejection::Outbound(fault) };
        match desk.invite(&invitee) {
            Ok(link) => {
                let invitation = Invitation { url: link.url, code: link.code, form: InvitationForm::Text };
                Rejection::Outbound(Box::new(fault.with(invitation)))
            }
            Err(problem) => {
                tracing::error!(credential = &*fault.credential, %problem, "nobody can connect an account");
                Rejection::Outbound(fault)
            }
        }
    }

    /// Establishes who shows the credentials of `arrival` to the page where accounts are connected, as for a call. `act`
    /// gets the principal, and may refuse. Nothing is sent to the upstream.
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub async fn identify<T>(
        &self,
        arrival: Arrival,
        act: impl FnOnce(Invitee) -> Result<T, OutboundProblem>,
    ) -> Result<T, RejectedMessage> {
        let generation = self.generations.live();
        let mut record = self.record(&generation, arrival.peer);
        let received = receive_bodiless(CONNECT, arrival, record.decision, &generation, &self.route);
        let stages = async {
            let (request, shown, _) = received?;
            record.request = Some(Arc::clone(&request));
            // There is no message.
            record.is_clean = true;
            record.reserve()?;
            let established = self.establish(&generation, &request, &shown).await;
            let (_, caller) = record.fallback.note(established)?;
            let principal = caller.principal();
            record.caller = Some(caller);
            let invitee = self.invitee(principal).ok_or_else(no_such_credential)?;
            record.delegation = Some(invitee.credential.delegation(&invitee.principal));
            let name = Arc::clone(&invitee.credential.settings().name);
            let refused = |problem| Rejection::from(OutboundFault::new(&name, problem));
            if invitee.principal.is_nameless() {
                return Err(refused(OutboundProblem::NoPrincipal));
            }
            act(invitee).map_err(refused)
        };
        let result = stages.await;
        let mut record = record.close(&result);
        let decision = Some(record.decision);
        let result = record.settle(result).await;
        result.map_err(|rejection| RejectedMessage { decision, ..rejection.into() })
    }

    /// Records the end of a login, or of a connection.
    pub async fn record_connection(
        &self,
        method: &'static str,
        (transport, peer): (Transport, Option<IpAddr>),
        outcome: &ConnectOutcome,
    ) -> DecisionId {
        let generation = self.generations.live();
        let mut record = self.record(&generation, peer);
        // Nothing can be refused any more. If there is no room for the record, that is counted.
        drop(record.reserve());
        record.request = Some(Arc::new(self.about(method, transport, peer, record.decision)));
        record.is_clean = true;
        record.principal = outcome.principal.clone();
        let fault = |problem: &OutboundProblem| {
            Rejection::from(OutboundFault::new(&outcome.credential.settings().name, problem.clone()))
        };
        let result = outcome.result.as_ref().map_err(fault);
        if let Some(principal) = &outcome.principal {
            let mut delegation = outcome.credential.delegation(principal);
            let account = result.as_ref().ok().and_then(|connected| connected.account.as_deref());
            delegation.account = account.map(Arc::from).or(delegation.account);
            record.delegation = Some(delegation);
        }
        let result = result.map(drop);
        let mut record = record.close(&result);
        let decision = record.decision;
        drop(record.settle(result).await);
        decision
    }

    /// A request without a message.
    fn about(
        &self,
        method: &'static str,
        transport: Transport,
        peer: Option<IpAddr>,
        decision: DecisionId,
    ) -> Request {
        Request {
            call: Call::bodiless(method),
            decision,
            era: Era::Stateful,
            headers: HeaderMap::new(),
            peer,
            transport,
            route: Arc::clone(&self.route),
            certificate: None,
            hooks: OnceLock::new(),
        }
    }
}

/// A reload has taken the credential away.
fn no_such_credential() -> Rejection {
    OutboundFault::new(&"none".into(), OutboundProblem::NotConnected).into()
}
