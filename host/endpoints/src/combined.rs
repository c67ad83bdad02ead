//! The flow of an endpoint: it sends each message to the upstreams that it is for, and makes one answer of theirs.

mod joint_answer;
mod member_calls;
mod session_opener;
mod subscribing;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use witgate_base::party::Principal;
use witgate_config::CombinedEndpoint;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::event::Event;
use witgate_flow::parsing;
use witgate_flow::port::{AnswerBody, Upstream};
use witgate_flow::reject::{RejectedMessage, Rejection, UpstreamFault};
use witgate_flow::tasks::EXTENSION;
use witgate_flow::{Arrival, Flow, Reply};
use witgate_message::call::{Call, MessageKind};
use witgate_message::era::Era;
use witgate_message::fault::{MessageFault, ParseError};
use witgate_message::headers::agree;
use witgate_plugin::Transport;
use witgate_policy::generation::Generation;

use crate::event_ids::EventPositions;
use crate::events::{MemberStream, RequestIds};
use crate::joint_session::{JointSession, JointSessions};
use crate::message::ClientMessage;
use crate::names::NamePlan;
use crate::routing::{MessageDestination, RoutedMessage};

/// An upstream at an endpoint.
pub struct EndpointMember<U> {
    /// Its flow at this endpoint.
    pub flow: Flow<U>,
    /// Maximum time until it has answered a message that all upstreams get.
    pub timeout: Duration,
}

/// The flow of an endpoint.
pub struct CombinedFlow<U> {
    /// The name of the endpoint.
    name: String,
    plan: Arc<NamePlan>,
    /// None: the configuration of this upstream has a fault, so that it is not served.
    members: Vec<Option<EndpointMember<U>>>,
    sessions: JointSessions,
    /// For each upstream, true if the log has told that it does not answer.
    told: Vec<AtomicBool>,
    /// Ends its streams, and its service of new messages.
    stop: CancellationToken,
}

/// A message with what has been read of it.
struct ReadMessage {
    message: ClientMessage,
    call: Call,
    era: Era,
    /// The session that the client names.
    session: Option<Arc<JointSession>>,
}

/// A message as it is parsed, and where it goes.
type RoutedCall = Result<(Call, MessageDestination), ParseError>;

impl<U: Upstream + 'static> CombinedFlow<U> {
    /// The flow of `endpoint`, with a member for each of its upstreams, in the same order. None: the upstream is not
    /// served.
    ///
    /// It serves no new messages once `stop` is cancelled.
    pub fn new(
        endpoint: &CombinedEndpoint,
        members: Vec<Option<EndpointMember<U>>>,
        stop: CancellationToken,
    ) -> Self {
        let told = members.iter().map(|_| AtomicBool::new(false)).collect();
        let (name, plan) = (endpoint.name.clone(), Arc::new(NamePlan::new(endpoint)));
        Self { name, plan, members, sessions: JointSessions::default(), told, stop }
    }

    async fn answer(&self, arrival: Arrival) -> Result<Reply, RejectedMessage> {
        let message = ClientMessage::new("POST", arrival);
        if let Err(rejection) = self.first()?.check_pause(message.arrival()) {
            return self.refuse(&message, rejection).await;
        }
        let (call, destination) = match self.parse(&message).await {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse(&message, error.malformed.into()).await,
        };
        let era = match message.arrival().transport {
            Transport::Stdio => agree::check_without_headers(&call),
            Transport::Http => agree::check(&call, &message.arrival().headers),
        };
        let named = era.and_then(|era| Ok((era, message.session()?.map(Box::<str>::from))));
        let (era, named) = match named {
            Ok(named) => named,
            Err(fault) => return self.refuse(&message, fault.into()).await,
        };
        let opens = call.method() == "initialize";
        let id = named.filter(|_| era == Era::Stateful && !opens);
        let session = id.as_deref().and_then(|id| self.sessions.find(id));
        let is_unknown = id.is_some() && session.is_none();
        session.iter().for_each(|session| message.siblings.belong_to(session.owner().clone()));
        let read = ReadMessage { message, call, era, session };
        if is_unknown {
            return self.refuse(&read.message, Rejection::SessionNotFound).await;
        }
        // A client may read the session from any answer.
        match self.send(&read, destination).await {
            Ok(reply) => Ok(Reply { session: reply.session.or(id), ..reply }),
            Err(rejected) => Err(of_message(rejected, &read)),
        }
    }

    /// Parses a message, and finds its destination.
    async fn parse(&self, message: &ClientMessage) -> RoutedCall {
        let (plan, body) = (Arc::clone(&self.plan), message.arrival().body.clone());
        let read = move || {
            let call = Call::parse(body)?;
            let destination = MessageDestination::of(&plan, &call);
            Ok((call, destination))
        };
        let parsed = parsing::message(message.arrival().peer, message.arrival().body.len(), read).await;
        let unread =
            || ParseError { id: None, malformed: MessageFault::Parse("it cannot be read".to_owned()) };
        parsed.unwrap_or_else(|| Err(unread()))
    }

    async fn send(&self, read: &ReadMessage, to: MessageDestination) -> Result<Reply, RejectedMessage> {
        match to {
            MessageDestination::One(routed) => self.pass(read, routed).await,
            MessageDestination::OfTask(task) => self.pass_to_task(read, &task).await,
            MessageDestination::OfRequest(id) => self.pass_about(read, &id).await,
            MessageDestination::All if read.call.id().is_none() => self.tell_all(read).await,
            MessageDestination::All => self.ask_all_alike(read).await,
            MessageDestination::Any => self.ask_any(read).await,
            MessageDestination::Handshake => self.open(read).await,
            MessageDestination::List(kind, cursors) => self.list(read, kind, cursors).await,
            MessageDestination::Subscriptions => self.subscribe(read).await,
            MessageDestination::Nowhere(fault) => self.refuse(&read.message, fault.into()).await,
        }
    }

    /// Passes a message to one upstream.
    async fn pass(&self, read: &ReadMessage, routed: RoutedMessage) -> Result<Reply, RejectedMessage> {
        let RoutedMessage { place, body, name } = routed;
        if let Err(absent) = self.member(place) {
            return self.refuse(&read.message, absent).await;
        }
        let ids = RequestIds {
            id: read.call.id().map(str::to_owned),
            token: read.call.progress_token().map(str::to_owned),
        };
        if let (Some(session), MessageKind::Request { .. }) = (&read.session, read.call.kind()) {
            let (session, noted) = (Arc::clone(session), ids.clone());
            let note = move || session.note(place, noted.id.as_deref(), noted.token.as_deref());
            read.message.siblings.once_authenticated(note);
        }
        let reply = self.ask(read, place, body, name.as_deref()).await?;
        Ok(self.shown(read, place, ids, reply))
    }

    /// The reply of an upstream as the client gets it.
    fn shown(&self, read: &ReadMessage, place: usize, request: RequestIds, reply: Reply) -> Reply {
        let body = match reply.body {
            AnswerBody::Events(events) => {
                let stream = MemberStream {
                    plan: Arc::clone(&self.plan),
                    place,
                    session: read.session.clone(),
                    request: Some(request),
                    positions: Arc::new(EventPositions::new(vec![(place, None)])),
                };
                AnswerBody::Events(stream.shown(events, read.message.arrival().peer))
            }
            other => other,
        };
        Reply { body, session: None, ..reply }
    }

    /// Passes a message to the upstream that has this task of the caller.
    async fn pass_to_task(&self, read: &ReadMessage, task: &str) -> Result<Reply, RejectedMessage> {
        let caller = self.authenticated(read).await?;
        let Some(place) = self.place_of_task(&caller.principal(), task) else {
            let lacks_extension = read.era == Era::Stateless && !read.call.declares_tasks();
            let missing = || MessageFault::MissingExtension(EXTENSION).into();
            let rejection = if lacks_extension { missing() } else { Rejection::TaskNotFound };
            return self.refuse(&read.message, rejection).await;
        };
        self.pass(read, RoutedMessage { place, body: read.call.body().clone(), name: None }).await
    }

    /// Authenticates the caller of a message whose destination depends on them.
    async fn authenticated(&self, read: &ReadMessage) -> Result<Arc<Caller>, RejectedMessage> {
        let message = &read.message;
        self.first()?.authenticate_among(&message.siblings, message.unchanged()).await
    }

    /// The one upstream that has this task of a caller. None: there is none, or of two tasks with one id, nobody can say
    /// which one is meant.
    fn place_of_task(&self, principal: &Principal, task: &str) -> Option<usize> {
        let knows =
            |place: &usize| self.member(*place).is_ok_and(|member| member.flow.knows_task(principal, task));
        let mut knowing = self.plan.places().filter(knows);
        knowing.next().filter(|_| knowing.next().is_none())
    }

    /// Passes a notification about a request to the upstream that has got it.
    async fn pass_about(&self, read: &ReadMessage, id: &str) -> Result<Reply, RejectedMessage> {
        match read.session.as_ref().and_then(|session| session.upstream_of_request(id)) {
            Some(place) => {
                self.pass(read, RoutedMessage { place, body: read.call.body().clone(), name: None }).await
            }
            None => self.tell_all(read).await,
        }
    }

    /// Refuses a message that no upstream gets. The flow of the first one finds the same fault, or authenticates the sender
    /// before that.
    async fn refuse(&self, message: &ClientMessage, rejection: Rejection) -> Result<Reply, RejectedMessage> {
        let siblings = Arc::new(message.siblings.refused(rejection));
        self.first()?.handle_among(Some(siblings), message.unchanged()).await
    }

    /// The rejection for the sender of a message that no upstream gets, as [`Self::refuse`] makes it.
    async fn refusal(&self, message: &ClientMessage, rejection: Rejection) -> RejectedMessage {
        match self.refuse(message, rejection.clone()).await {
            Err(rejected) => rejected,
            Ok(_) => rejection.into(),
        }
    }

    /// The names at the endpoint.
    pub(crate) fn plan(&self) -> &Arc<NamePlan> {
        &self.plan
    }

    /// The flow of the upstream at `place`.
    pub(crate) fn flow(&self, place: usize) -> Result<&Flow<U>, Rejection> {
        Ok(&self.member(place)?.flow)
    }

    /// The session with this id.
    pub(crate) fn session_of(&self, id: &str) -> Option<Arc<JointSession>> {
        self.sessions.find(id)
    }

    /// Forgets a session.
    pub(crate) fn forget(&self, id: &str) {
        self.sessions.close(id);
    }

    fn member(&self, place: usize) -> Result<&EndpointMember<U>, Rejection> {
        self.members.get(place).and_then(Option::as_ref).ok_or_else(absent)
    }

    /// The first upstream that is served. It authenticates the senders of messages that no upstream gets.
    pub(crate) fn first(&self) -> Result<&Flow<U>, Rejection> {
        let first = self.members.iter().flatten().next();
        first.map(|member| &member.flow).ok_or_else(absent)
    }
}

fn absent() -> Rejection {
    Rejection::Upstream {
        fault: UpstreamFault::Unreachable,
        message: "An MCP server of this endpoint is not served now".to_owned(),
    }
}

/// The rejection of the client's message, which may be that of a handshake for its sake.
fn of_message(rejected: RejectedMessage, read: &ReadMessage) -> RejectedMessage {
    let is_request = matches!(read.call.kind(), MessageKind::Request { .. });
    let id = read.call.id().filter(|_| is_request).map(Box::from);
    let tool_call = (read.call.method() == "tools/call").then_some(read.era);
    RejectedMessage { id, tool_call, ..rejected }
}

impl<U: Upstream + 'static> EndpointFlow for CombinedFlow<U> {
    fn serving(&self) -> Option<Arc<Generation>> {
        let mut members = self.members.iter().flatten();
        let live = members.next()?.flow.serving()?;
        let are_served = members.all(|member| !live.pipeline(member.flow.place()).is_retired());
        (are_served && !self.stop.is_cancelled()).then_some(live)
    }

    fn handle(&self, arrival: Arrival) -> BoxFuture<'_, Result<Reply, RejectedMessage>> {
        Box::pin(self.answer(arrival))
    }

    fn listen(&self, arrival: Arrival) -> BoxFuture<'_, Result<BoxStream<'static, Event>, RejectedMessage>> {
        Box::pin(self.stand(ClientMessage::new("GET", arrival)))
    }

    fn close(&self, arrival: Arrival) -> BoxFuture<'_, Result<(), RejectedMessage>> {
        Box::pin(self.end(ClientMessage::new("DELETE", arrival)))
    }

    fn refuse_unread(&self, rejection: Rejection, peer: Option<IpAddr>) -> RejectedMessage {
        match self.first() {
            Ok(first) => first.refuse_unread(rejection, peer),
            Err(_) => rejection.into(),
        }
    }

    fn takes_proofs(&self) -> bool {
        self.first().is_ok_and(Flow::takes_proofs)
    }
}
