//! An upstream with newline-delimited JSON-RPC over pipes: a child process, or a small server in this process.
//!
//! A client of the stateful era has a session, and each session has a child. Clients of 2026-07-28 share one child per
//! principal. With `shared`, one child of each era serves all callers. Messages of callers are passed on byte for
//! byte, except ids and progress tokens.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use witgate_plugin::Transport;

use super::bridge::{self, HeldSession, InitializeAnswer, MODERN};
use super::era::{EraCache, EraVerdict, PATIENCE, Probe, ProbeResult, discover_request, refuses_legacy};
use crate::session_owner::SessionOwner;
use answer::{ChildAnswer, ChildOutcome, answer};
use audience::Member;
use connection::{ChildConnection, ChildExchange, ConversationTerms};
use conversation::fault;
use outgoing_message::OutgoingMessage;
use pending_requests::{Asker, ChildReply, Owner};
use pipes::Launch;
use process::ENDING;
use rooms::{ChildOwner, ChildSession, RoomMeters, Rooms};
use supervise::{Handshake, HandshakeResult, Slot, Start, drain};
use wire::{Incoming, result_response};
use witgate_base::party::{Party, Principal};
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, LONGEST_CALL, SessionRequest, Upstream};
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_message::call::{Call, MessageKind};
use witgate_message::fault::MessageFault;
use witgate_message::json::{span_in, splice};
use witgate_runtime::metrics::session_meter::SessionMeter;
use witgate_runtime::shares::{Capacity, Shares};
use witgate_runtime::workers;

mod answer;
mod argument_headers;
mod audience;
mod capacity;
mod connection;
mod conversation;
mod in_session;
mod outgoing_message;
mod pending_requests;
pub mod pipes;
pub mod process;
pub mod program;
mod reader;
pub(super) mod renewal;
mod rooms;
mod settings;
mod supervise;
#[cfg(test)]
mod tests;
mod tools;
pub mod trial;
pub mod wire;

pub use program::{Program, check};
pub use settings::ChildSettings;

/// Resources to which sessions have subscribed. At some 200 bytes each that is 13 MB.
const SUBSCRIPTIONS: Capacity = Capacity { most: 1 << 16, most_of_one: 1 << 12 };
/// Children that start at the same time. A start may take long, and those of one caller must not delay all others.
const STARTING: Capacity = Capacity { most: 4, most_of_one: 2 };
/// Time in which the messages reach their children that came just before the upstream was retired.
const ARRIVING: Duration = Duration::from_secs(2);
/// Interval of the search for idle children.
const REAPING: Duration = Duration::from_secs(15);
/// The capabilities in the handshake with a shared child. The capabilities of each session are kept as well.
const ALL_CAPABILITIES: &str =
    r#"{"roots":{"listChanged":true},"sampling":{},"elicitation":{"form":{},"url":{}}}"#;

/// A child upstream.
pub struct ChildUpstream {
    inner: Arc<ChildState>,
}

struct ChildState {
    settings: ChildSettings,
    start: Arc<Start>,
    eras: EraCache,
    rooms: Mutex<Rooms>,
    subscriptions: Shares,
    stopping: CancellationToken,
}

impl ChildUpstream {
    /// For servers that `launcher` starts, each when it is needed first. Must be called within a Tokio runtime.
    pub fn new(settings: ChildSettings, launcher: Arc<dyn Launch>, eras: EraCache) -> Self {
        let start = Start {
            name: Arc::from(settings.name.as_str()),
            launcher: Mutex::new(launcher),
            timeout: settings.timeout,
            max_message: settings.max_message,
            starting: Shares::new(STARTING),
            seats: Shares::lasting(settings.children),
        };
        let inner = Arc::new(ChildState {
            settings,
            start: Arc::new(start),
            eras,
            rooms: Mutex::default(),
            subscriptions: Shares::new(SUBSCRIPTIONS),
            stopping: CancellationToken::new(),
        });
        tokio::spawn(reap(Arc::downgrade(&inner)));
        Self { inner }
    }

    /// The eras, as far as they are known.
    pub(crate) fn eras(&self) -> &EraCache {
        &self.inner.eras
    }

    /// Counts children and sessions in these meters.
    pub(crate) fn count_in(&self, children: SessionMeter, sessions: SessionMeter) {
        self.inner.rooms.lock().count_in(RoomMeters { children, sessions });
    }
}

impl Upstream for ChildUpstream {
    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        let request = Arc::clone(admitted.request());
        let sent = OutgoingMessage {
            call: &request.call,
            arguments: admitted.permit().request().call.arguments(),
            principal: admitted.permit().caller().principal(),
            party: admitted.permit().caller().party(request.peer),
            account: admitted.account(),
            places: admitted.places(),
            session: admitted.session(),
            has_arguments: admitted.permit().has_credential_arguments(),
            headers: (request.transport == Transport::Http).then_some(&request.headers),
        };
        let back = self.inner.send(sent).await?;
        let body = answer(back.outcome, self.inner.settings.timeout, admitted.account()).await?;
        Ok(Answer { session: back.session, body })
    }

    async fn listen(&self, listener: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        let session = self.inner.session(&listener.session, &listener.caller.principal())?;
        session.is_current()?;
        session.touch();
        Ok(audience::open(Arc::clone(&session.member)))
    }

    async fn keeps_sessions(&self) -> bool {
        self.inner.eras.remembered().is_none_or(|verdict| verdict.speaks.legacy != Some(false))
    }

    async fn close(&self, listener: SessionRequest) -> Result<(), Rejection> {
        let session = self.inner.session(&listener.session, &listener.caller.principal())?;
        self.inner.rooms.lock().end(&session.member.session);
        Ok(())
    }

    async fn retire(&self, done: impl Future<Output = ()> + Send) {
        let mut done = pin!(done);
        // The last messages first reach their processes, which would otherwise look idle.
        if timeout(ARRIVING, &mut done).await.is_err() {
            self.inner.outdate();
            done.await;
        }
        self.inner.outdate();
        let _ = timeout(LONGEST_CALL, self.inner.start.seats.all_free()).await;
        self.shut_down().await;
    }

    async fn shut_down(&self) {
        self.inner.stopping.cancel();
        let slots = self.inner.rooms.lock().slots();
        let running: Vec<ChildConnection> = slots.iter().filter_map(|slot| slot.running()).collect();
        drain(&running, self.inner.settings.grace).await;
        self.inner.rooms.lock().close();
        // All processes count, because those of removed places may still run.
        let _ = timeout(ENDING, self.inner.start.seats.all_free()).await;
    }
}

impl ChildState {
    async fn send(self: &Arc<Self>, sent: OutgoingMessage<'_>) -> Result<ChildAnswer, Rejection> {
        if self.stopping.is_cancelled() {
            return Err(fault(UpstreamFault::Unreachable, "the server is shutting down"));
        }
        match (sent.call.kind(), sent.call.meta_version(), sent.session) {
            (MessageKind::Request { .. }, Some(_), _) => self.stateless(&sent).await,
            // A client that has lost its session opens a new one, and may still name the old one.
            (MessageKind::Request { .. }, None, Some(session))
                if sent.call.method() == "initialize" && self.session(session, &sent.principal).is_err() =>
            {
                self.initialize(&sent).await
            }
            (MessageKind::Request { .. }, None, None) => self.sessionless(&sent).await,
            (_, _, Some(session)) => self.in_session(&sent, session).await,
            // 2026-07-28 has only the notification `cancelled`, and only over stdio. That transport drops the request
            // instead, as HTTP does by closing the stream. In the stateful era the flow requires a session for
            // everything except the end of a handshake.
            (MessageKind::Notification, _, None) => Ok(ChildAnswer::plain(ChildOutcome::Taken)),
            (MessageKind::Response { .. }, _, None) => Err(Rejection::SessionRequired),
        }
    }

    /// A request of 2026-07-28.
    async fn stateless(self: &Arc<Self>, sent: &OutgoingMessage<'_>) -> Result<ChildAnswer, Rejection> {
        let asked = self.verdict().await;
        // The eras of an upstream that cannot be started are unknown. The call itself will return the reason.
        let verdict = asked.unwrap_or_else(|| EraVerdict::known(true, false));
        if !verdict.speaks.modern {
            return self.bridged(sent).await;
        }
        let key = ChildOwner::stateless(&sent.principal, self.settings.shared);
        let slot = self.room(key, sent, || Handshake::Stateless)?;
        if let (Some(result), "server/discover", None) =
            (&verdict.discovered, sent.call.method(), slot.running())
        {
            let response =
                result_response(sent.call.id().unwrap_or("null"), &String::from_utf8_lossy(result));
            return Ok(ChildAnswer::plain(ChildOutcome::Response(response)));
        }
        argument_headers::check(&slot, sent, true).await?;
        let exchange = self.request(&slot, sent, None).await?;
        Ok(ChildAnswer::plain(ChildOutcome::Running(exchange, None)))
    }

    /// A request of 2026-07-28 for a child of the stateful era.
    async fn bridged(&self, sent: &OutgoingMessage<'_>) -> Result<ChildAnswer, Rejection> {
        bridge::bridgeable(sent.call)?;
        let slot = if self.settings.shared {
            self.room(ChildOwner::Shared, sent, || handshake(ALL_CAPABILITIES))?
        } else {
            self.room(ChildOwner::Held(sent.principal.clone()), sent, || handshake("{}"))?
        };
        argument_headers::check(&slot, sent, false).await?;
        let (exchange, uplift) = bridge::carry(&BridgedSession { slot: &slot, sent }, sent.call).await?;
        Ok(ChildAnswer::plain(ChildOutcome::Running(exchange, Some(uplift))))
    }

    /// A request of the stateful era without a session.
    async fn sessionless(&self, sent: &OutgoingMessage<'_>) -> Result<ChildAnswer, Rejection> {
        match sent.call.method() {
            "initialize" => self.initialize(sent).await,
            "ping" => {
                let pong = result_response(sent.call.id().unwrap_or("null"), "{}");
                Ok(ChildAnswer::plain(ChildOutcome::Response(pong)))
            }
            // Over stdio a client may ask without `_meta` whether the server supports 2026-07-28.
            "server/discover" => Err(MessageFault::UnknownMethod("server/discover".to_owned()).into()),
            _ => Err(Rejection::SessionRequired),
        }
    }

    /// Opens a session.
    async fn initialize(&self, sent: &OutgoingMessage<'_>) -> Result<ChildAnswer, Rejection> {
        let wanted = InitializeRequest::read(sent.call);
        if self.eras.remembered().is_some_and(|verdict| verdict.speaks.legacy == Some(false)) {
            let supported = vec![MODERN.to_owned()];
            return Err(MessageFault::UnsupportedVersion { requested: wanted.version, supported }.into());
        }
        let id = sent.call.id().unwrap_or("null");
        let name = session_name()?;
        let slot = self.session_slot(sent, &name)?;
        let unopened = ChildOpening { rooms: &self.rooms, name: Some(&name) };
        if let HandshakeResult::Refused(refusal) = slot.greeted().await? {
            self.eras.note_legacy(!refuses_legacy(&refusal));
            return Ok(ChildAnswer::plain(ChildOutcome::Response(under_id(&refusal, id))));
        }
        self.eras.note_legacy(true);
        let opened = slot.opened().unwrap_or_default();
        let member = Arc::new(Member {
            session: Arc::clone(&name),
            owner: SessionOwner::new(sent.principal.clone(), sent.has_arguments),
            inbox: audience::Inbox::default(),
            capabilities: wanted.capabilities,
            subscriptions: Mutex::default(),
        });
        let session = ChildSession::new(member, slot, sent.party.clone());
        self.rooms.lock().seat(session, self.settings.session_bounds())?;
        unopened.disarm();
        let result =
            if self.settings.shared { welcome(&opened, &wanted.version) } else { opened.result.to_string() };
        Ok(ChildAnswer {
            session: Some((*name).into()),
            outcome: ChildOutcome::Response(result_response(id, &result)),
        })
    }

    fn session_slot(&self, sent: &OutgoingMessage<'_>, name: &Arc<str>) -> Result<Arc<Slot>, Rejection> {
        if self.settings.shared {
            return self.room(ChildOwner::Shared, sent, || handshake(ALL_CAPABILITIES));
        }
        let key = ChildOwner::Session(Arc::clone(name));
        let body = sent.call.body();
        let MessageKind::Request { id } = sent.call.kind() else { return Err(Rejection::SessionRequired) };
        let opening = || Handshake::Handshake {
            request: body.clone(),
            id: id.clone(),
            complete: AtomicBool::new(false),
        };
        self.room(key, sent, opening)
    }

    /// Sends a request unchanged, except its id and progress token.
    async fn request(
        &self,
        slot: &Arc<Slot>,
        sent: &OutgoingMessage<'_>,
        member: Option<&Member>,
    ) -> Result<ChildExchange, Rejection> {
        let connection = slot.connection().await?;
        let call = sent.call;
        connection.request(ask(sent, member), |number| with_number(call, number)).await
    }

    /// The session of this name, if it is the principal's.
    fn session(&self, name: &str, principal: &Principal) -> Result<Arc<ChildSession>, Rejection> {
        let session = self.rooms.lock().session(name);
        session.filter(|session| session.member.owner.is(principal)).ok_or(Rejection::SessionNotFound)
    }

    /// The place for the child of `key`, created if needed and possible.
    fn room(
        &self,
        key: ChildOwner,
        sent: &OutgoingMessage<'_>,
        opening: impl FnOnce() -> Handshake,
    ) -> Result<Arc<Slot>, Rejection> {
        let party = key.party(&sent.party);
        let principal = key.is_of_one().then(|| sent.principal.clone());
        let make = || Slot::new(Arc::clone(&self.start), opening(), party.clone(), principal);
        self.rooms.lock().take(key, &party, self.settings.children, make)
    }

    /// The eras of the upstream. A started question is completed, even if the caller disconnects.
    async fn verdict(self: &Arc<Self>) -> Option<EraVerdict> {
        if let Some(verdict) = self.eras.remembered() {
            return Some(verdict);
        }
        let turn = self.eras.turn().await;
        let inner = Arc::clone(self);
        let asking = async move { inner.eras.ask(turn, &*inner).await };
        workers::background().spawn(asking).await.ok().flatten()
    }
}

#[cfg(test)]
impl ChildState {
    fn rooms_in_use(&self) -> usize {
        self.rooms.lock().slots().len()
    }
}

/// A separate process is started to find out the era of a child.
impl Probe for ChildState {
    async fn discover(&self) -> ProbeResult {
        self.ask_throw_away(discover_request).await
    }

    /// `initialize` would need another process, and the next session shows the same.
    async fn initialize(&self) -> Option<ProbeResult> {
        None
    }
}

impl ChildState {
    async fn ask_throw_away(&self, compose: impl FnOnce(&str) -> Bytes) -> ProbeResult {
        let Ok(seat) = self.start.seat(&Party::Everybody).await else { return ProbeResult::Unknown };
        let _turn = self.start.starting.wait_for_one(&Party::Everybody).await;
        let Ok(pipes) = self.start.launcher().launch(seat, None).await else { return ProbeResult::Unknown };
        let name = Arc::clone(&self.start.name);
        let max_message = self.settings.max_message;
        let terms =
            ConversationTerms { name, audience: Arc::default(), modern: true, common: false, max_message };
        let connection = ChildConnection::begin(pipes, terms);
        let ask = Asker { id: "0".into(), ..Asker::default() };
        let asked = async {
            let mut exchange = connection.request(ask, compose).await.ok()?;
            loop {
                if let ChildReply::Last(response) = exchange.next(Some(PATIENCE)).await.ok()? {
                    return Some(response.line);
                }
            }
        };
        let said = self.stopping.run_until_cancelled(asked).await;
        connection.end();
        match said {
            Some(said) => said.map_or(ProbeResult::Nothing, ProbeResult::Said),
            None => ProbeResult::Unknown,
        }
    }
}

/// The session of the stateful era for the bridge.
struct BridgedSession<'a> {
    slot: &'a Arc<Slot>,
    sent: &'a OutgoingMessage<'a>,
}

impl HeldSession for BridgedSession<'_> {
    type Answer = ChildExchange;

    async fn opened(&self) -> Result<Arc<InitializeAnswer>, Rejection> {
        self.slot.connection().await?;
        Ok(self.slot.opened().unwrap_or_default())
    }

    async fn send(
        &self,
        compose: impl FnOnce(&str, Option<&str>) -> Bytes + Send,
    ) -> Result<ChildExchange, Rejection> {
        let connection = self.slot.connection().await?;
        let ask = ask(self.sent, None);
        let wants_progress = ask.token.is_some();
        connection.request(ask, |number| compose(number, wants_progress.then_some(number))).await
    }
}

/// A session that is being opened. If that fails, its child is released.
struct ChildOpening<'a> {
    rooms: &'a Mutex<Rooms>,
    name: Option<&'a str>,
}

impl ChildOpening<'_> {
    fn disarm(mut self) {
        self.name = None;
    }
}

impl Drop for ChildOpening<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.rooms.lock().end(name);
        }
    }
}

/// The members of a client's `initialize` that Witgate reads.
struct InitializeRequest {
    version: String,
    capabilities: BTreeSet<String>,
}

impl InitializeRequest {
    fn read(call: &Call) -> Self {
        let params = bridge::params(call).unwrap_or_default();
        Self {
            version: params
                .get("protocolVersion")
                .and_then(witgate_message::json::unquote)
                .unwrap_or_default(),
            capabilities: params.get("capabilities").map(witgate_message::json::names).unwrap_or_default(),
        }
    }
}

/// The InitializeResult of a shared child for one of its clients, with the client's version if that is of the stateful
/// era. Those versions differ in features, not in form.
fn welcome(opened: &InitializeAnswer, version: &str) -> String {
    let mut result = witgate_message::json::Members::read(&opened.result).unwrap_or_default();
    if bridge::LEGACY.contains(&version) {
        result.set("protocolVersion", witgate_message::json::quote(version));
    }
    result.render()
}

fn handshake(capabilities: &str) -> Handshake {
    let (request, id) = bridge::initialize(capabilities);
    Handshake::Handshake { request, id, complete: AtomicBool::new(true) }
}

/// The properties of a request for the connection. Within a session, the request belongs to the principal that has
/// opened it, so that a notification about the request does as well, which has no arguments.
fn ask(sent: &OutgoingMessage<'_>, member: Option<&Member>) -> Asker {
    let call = sent.call;
    let session = member.map(|member| &member.session);
    let principal = member.map_or(&sent.principal, |member| member.owner.opened_by());
    let stateless = call.meta_version().is_some();
    let wants_logs = || call.meta().is_some_and(|meta| meta.contains("io.modelcontextprotocol/logLevel"));
    Asker {
        session: session.cloned(),
        owner: Some(Owner::new(principal, session)),
        party: sent.party.clone(),
        account: sent.account.clone(),
        places: sent.places.clone(),
        starts_task: call.may_start_task(),
        id: call.id().unwrap_or("null").into(),
        token: call.progress_token().map(Box::from),
        logs: !stateless || wants_logs(),
        listen: call.method() == "subscriptions/listen",
        cancel_on_drop: stateless,
    }
}

/// A request, with `number` as its id and its progress token if it has one.
fn with_number(call: &Call, number: &str) -> Bytes {
    let body = call.body();
    let mut edits = Vec::with_capacity(2);
    edits.extend(call.id().and_then(|id| span_in(body, id)).map(|span| (span, number)));
    edits.extend(call.progress_token().and_then(|token| span_in(body, token)).map(|span| (span, number)));
    splice(body, &mut edits)
}

/// A response with another id.
fn under_id(response: &Bytes, id: &str) -> Bytes {
    match Incoming::read(response) {
        Some(message) => message.with(&[(message.id().unwrap_or_default(), id)]),
        None => response.clone(),
    }
}

/// A session id: 192 random bits in URL-safe base64, which is visible ASCII.
fn session_name() -> Result<Arc<str>, Rejection> {
    use base64::Engine;
    let mut bits = [0_u8; 24];
    getrandom::fill(&mut bits)
        .map_err(|_| fault(UpstreamFault::Unreachable, "no random numbers are to be had"))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bits).into())
}

/// Ends idle children and sessions, while the upstream exists.
async fn reap(upstream: Weak<ChildState>) {
    let mut ticks = interval(REAPING);
    loop {
        ticks.tick().await;
        let Some(upstream) = upstream.upgrade() else { return };
        upstream.rooms.lock().end_idle(&upstream.settings);
    }
}
