//! Callers who connect an account of their own for the upstream: their invitation, the check of who opens the page, and
//! the records of both.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, unfold};
use http::HeaderMap;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use witgate_plugin::{Digest, Transport};

use crate::Flow;
use crate::audit::{Record, targets};
use crate::authenticate::identity::Caller;
use crate::authorize::Permit;
use crate::decision::DecisionId;
use crate::event::Event;
use crate::port::Upstream;
use crate::receive::{Arrival, receive_bodiless};
use crate::reject::{RejectedMessage, Rejection};
use crate::request::Request;
use witgate_base::digest::sha256;
use witgate_base::party::Principal;
use witgate_credentials::connect::{AccountChange, ConnectDesk, ConnectOutcome, Invitee, IssuedLink};
use witgate_credentials::fault::{Invitation, InvitationForm, OutboundFault, OutboundProblem};
use witgate_message::call::{Call, MessageKind};
use witgate_message::credential::Credentials;
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_message::input_round::{InputRound, STATE_PREFIX};

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

    /// Adds a link to the refusal of a caller who has to connect an account, in the form that their client understands.
    /// `session` is that of the message.
    pub(crate) fn inviting(
        &self,
        rejection: Rejection,
        (request, caller): (Option<&Request>, Option<&Caller>),
        session: Option<&str>,
    ) -> Rejection {
        let Rejection::Outbound(fault) = rejection else { return rejection };
        let needs_account = matches!(fault.problem, OutboundProblem::NotConnected | OutboundProblem::Ended);
        let (Some(desk), Some(request), Some(caller), true) = (&self.connect, request, caller, needs_account)
        else {
            return Rejection::Outbound(fault);
        };
        let invitee = self.invitee(caller.principal());
        let invitee = invitee.filter(|invitee| invitee.credential.settings().name == fault.credential);
        let Some(invitee) = invitee else { return Rejection::Outbound(fault) };
        match desk.invite(&invitee) {
            Ok(link) => {
                let form = self.form(desk, (request, session), &invitee, &link);
                let invitation = Invitation { url: link.url, code: link.code, form };
                Rejection::Outbound(Box::new(fault.with(invitation)))
            }
            Err(problem) => {
                tracing::error!(credential = &*fault.credential, %problem, "nobody can connect an account");
                Rejection::Outbound(fault)
            }
        }
    }

    /// The form in which the client gets a link. Those who do not say that they open URLs get it in the text.
    fn form(
        &self,
        desk: &ConnectDesk,
        (request, session): (&Request, Option<&str>),
        invitee: &Invitee,
        link: &IssuedLink,
    ) -> InvitationForm {
        let call = &request.call;
        if !matches!(call.kind(), MessageKind::Request { .. }) {
            return InvitationForm::Text;
        }
        match request.era {
            Era::Stateful => {
                let opens_urls = |session| self.upstream.opens_urls(session, &invitee.principal);
                match session.is_some_and(opens_urls) {
                    true => InvitationForm::Elicitation { id: link.id.clone() },
                    false => InvitationForm::Text,
                }
            }
            // The state of a server must come back with the call, and there is room for one.
            Era::Stateless if call.takes_input() && call.declares_url_elicitation() && !call.has_input() => {
                match desk.seal_round(invitee, &digest(call), &link.id) {
                    Some(state) => InvitationForm::Input { state: format!("{STATE_PREFIX}{state}").into() },
                    None => InvitationForm::Text,
                }
            }
            Era::Stateless => InvitationForm::Text,
        }
    }

    /// Notes that `peer` has shown a page a link that is unknown.
    ///
    /// # Errors
    /// `LockedOut` if their network has shown too many.
    pub fn note_unknown_link(&self, peer: Option<IpAddr>) -> Result<(), Rejection> {
        self.lockout.note_unknown_link(self.generations.live().lockout(), peer)
    }

    /// Takes up a call whose client was asked to open a link, and returns its latest permit: its right may end while it
    /// waits.
    ///
    /// # Errors
    /// As [`Self::wait_for_account`], or the reason why the right has ended.
    pub(crate) async fn resume(
        &self,
        permit: Arc<Permit>,
        shown: &Credentials,
        record: &mut Record<'_>,
    ) -> Result<Arc<Permit>, Rejection> {
        let Some(round) = &permit.request().round else { return Ok(permit) };
        // The live generation decides, as about an open stream: the call has not begun.
        let mut right = self.right(&permit, shown.copy()).standing();
        self.wait_for_account(round, (permit.request(), permit.caller())).await?;
        record.fallback.note(right.check().await)?;
        let latest = Arc::clone(right.permit());
        record.generation = latest.generation().number();
        record.caller = Some(Arc::clone(latest.caller()));
        Ok(latest)
    }

    /// Waits some time for the person. The call is admitted before, so that one that waits counts for its limits.
    ///
    /// # Errors
    /// If the state belongs to another call or caller, the person has declined, or too many calls of the caller wait.
    async fn wait_for_account(
        &self,
        round: &InputRound,
        (request, caller): (&Request, &Caller),
    ) -> Result<(), Rejection> {
        let invitee = self.invitee(caller.principal());
        let (Some(desk), Some(invitee)) = (&self.connect, invitee) else {
            let what = "the state of the request is unknown".to_owned();
            return Err(MessageFault::InvalidParams(what).into());
        };
        let fault = |problem| OutboundFault::new(&invitee.credential.settings().name, problem);
        let link = desk.open_round(&invitee, &digest(&request.call), &round.state);
        let link = link.ok_or_else(|| fault(OutboundProblem::StateMismatch))?;
        if round.is_declined {
            let why = "the person has declined in their client".into();
            return Err(fault(OutboundProblem::ConnectDenied { why }).into());
        }
        let settled = desk.settled(&link, &invitee.principal).await;
        settled.map_err(|_| Rejection::Full { what: "calls that wait for an account", retry_after: 1 })
    }

    /// Adds to the stream of a session that the caller has connected an account, for clients that wait for it.
    pub(crate) fn announcing(
        &self,
        events: BoxStream<'static, Event>,
        caller: &Caller,
    ) -> BoxStream<'static, Event> {
        let Some(desk) = &self.connect else { return events };
        if self.upstream.credential_of_principals().is_none() {
            return events;
        }
        let state = (events, desk.announcements(), caller.principal());
        unfold(state, |(mut events, mut announcements, principal)| async move {
            loop {
                let announced = tokio::select! {
                    event = events.next() => return event.map(|event| (event, (events, announcements, principal))),
                    announced = announcements.recv() => announced,
                };
                match announced {
                    Ok(announced) if announced.principal == principal => {
                        return Some((completed(&announced.id), (events, announcements, principal)));
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    // The process ends.
                    Err(RecvError::Closed) => {
                        let event = events.next().await?;
                        return Some((event, (events, announcements, principal)));
                    }
                }
            }
        })
        .boxed()
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
            let established = self.establish(&generation, &request, &shown, None).await;
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

    /// Makes the change of an account by `method`, and records it. Its record has a place before, without which nobody
    /// connects an account. A disconnection is made in any case. It has to run to its end, also if nobody waits for it.
    ///
    /// # Errors
    /// If it cannot be recorded. Then nothing has changed.
    pub async fn change_account(
        self: Arc<Self>,
        method: &'static str,
        (transport, peer): (Transport, Option<IpAddr>),
        change: AccountChange,
    ) -> Result<ConnectOutcome, Rejection> {
        let generation = self.generations.live();
        let mut record = self.record(&generation, peer);
        record.request = Some(Arc::new(self.about(method, transport, peer, record.decision)));
        record.is_clean = true;
        match record.reserve() {
            Err(rejection) if method == CONNECT => {
                let mut record = record.close(&Err::<(), _>(rejection.clone()));
                return Err(record
                    .settle(Err::<(), _>(rejection))
                    .await
                    .err()
                    .unwrap_or(Rejection::Unrecorded));
            }
            // If there is no room for the record, that is counted.
            Ok(()) | Err(_) => {}
        }
        let outcome = change.make().await;
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
        drop(record.settle(result).await);
        Ok(outcome)
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
            round: None,
            hooks: OnceLock::new(),
            definitions: OnceLock::new(),
        }
    }
}

/// The notification that an elicitation is complete (MCP 2025-11-25).
fn completed(id: &str) -> Event {
    let message = json!({
        "jsonrpc": "2.0",
        "method": "notifications/elicitation/complete",
        "params": { "elicitationId": id },
    });
    Event { data: message.to_string().into(), ..Event::default() }
}

/// The digest of what a call asks for. Its id and metadata differ when a client repeats it.
fn digest(call: &Call) -> Digest {
    let mut bytes = Vec::new();
    let names = targets(call.access()).iter().map(|target| &*target.name);
    for part in [call.method()].into_iter().chain(names).chain(call.arguments()) {
        bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    sha256(&bytes)
}

/// A reload has taken the credential away.
fn no_such_credential() -> Rejection {
    OutboundFault::new(&"none".into(), OutboundProblem::NotConnected).into()
}
