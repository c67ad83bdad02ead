//! The upstream: sends messages, and checks the answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::header::HOST;
use ::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, Uri};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use quick_cache::sync::Cache;
use secrecy::SecretString;
use tokio::time::{sleep, timeout};

use crate::bridge;
use crate::era::EraCache;
use crate::identity::RequestSender;
use crate::session::{Session, SessionError, SessionLimits, Sessions, StreamLease};
use crate::session_owner::SessionOwner;
use witgate_base::cause::with_sources;
use witgate_base::party::Principal;
use witgate_config::identity::IdentitySettings;
use witgate_config::secret_programs::SecretLifetime;
use witgate_config::{self as config, SessionBounds};
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::upstream_credential::{Delegation, UpstreamCredential};
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::body::{BodyError, BodyReadError, BoundedBody, Inflow, gather};
use witgate_flow::event::Event;
use witgate_flow::limit::{Admitted, UnansweredCall};
use witgate_flow::parsing;
use witgate_flow::port::{Answer, AnswerBody, LONGEST_CALL, SessionRequest, Upstream};
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_flow::request::Request;
use witgate_message::call::{Access, MessageKind};
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_message::headers::SESSION_ID;
use witgate_runtime::metrics::session_meter::SessionMeter;
use witgate_services::network::Ways;

use super::answer_stream;
use super::bound_session::BoundSession;
use super::composed_request::{ComposedRequest, SendFault, UpstreamReply};
use super::events;
use super::farewells::Farewells;
use super::fault::{bad_answer, fault};
use super::held_session;
use super::line::{EmbeddedService, UpstreamLine};
use super::live_request_settings::LiveRequestSettings;
use super::media::{Media, media};
use super::open_requests::OpenRequests;
use super::outgoing;
use super::refusal::{CHECKED_ANSWER, error_answer};
use super::request_settings::{RequestSettings, SetUpError, own_headers};
use super::response;
use super::session_keeping::SessionKeeping;
use super::streamed_answer::StreamedAnswer;

/// The default for the largest answer that is read as a whole, and for the largest event.
pub(super) const MAX_MESSAGE: usize = 16 << 20;

/// Interval for checking that the streams of a retired upstream have ended.
const STREAMING: Duration = Duration::from_millis(50);

type UpstreamSession = Session<ServerSession>;

/// A session with the upstream.
#[derive(Debug)]
pub(super) struct ServerSession {
    /// The session at the upstream.
    bound: BoundSession,
    /// The server's open requests.
    asked: Arc<OpenRequests>,
    /// True if the client opens URLs for servers.
    opens_urls: bool,
}

/// An upstream that speaks Streamable HTTP.
pub struct HttpUpstream {
    pub(super) line: UpstreamLine,
    pub(super) uri: Uri,
    /// The headers and settings of requests, which a reload can replace.
    pub(super) given: Arc<ArcSwap<RequestSettings>>,
    pub(super) timeout: Duration,
    pub(super) max_message: usize,
    pub(super) sessions: Sessions<ServerSession>,
    pub(super) eras: EraCache,
    /// True if the stateless era is known, so that the upstream need not be asked.
    pub(super) is_stateless: AtomicBool,
    /// The upstream's support of sessions, as far as it is known.
    pub(super) keeps: SessionKeeping,
    /// The sessions that Witgate has opened for the bridge.
    pub(super) held: Arc<Cache<Principal, Arc<held_session::HttpHeldSession>>>,
    /// The meter of these sessions.
    pub(super) bridged: OnceLock<SessionMeter>,
    /// The requests that tell the end of sessions.
    pub(super) farewells: Farewells,
}

impl HttpUpstream {
    /// An upstream at `url` with its own headers. It connects with the first call.
    ///
    /// # Errors
    /// If the URL or a header is invalid.
    pub fn new(
        ways: &Arc<Ways>,
        url: &url::Url,
        headers: &[(String, SecretString)],
        timeout: Duration,
    ) -> Result<Self, SetUpError> {
        let line = UpstreamLine::over_the_network(Arc::clone(ways));
        Ok(Self::new_on(line, url.as_str().parse()?, own_headers(headers)?, timeout))
    }

    /// An upstream that is a service of this program, and gets requests to `uri`.
    pub fn of_service<S, B>(service: S, uri: Uri, timeout: Duration) -> Self
    where
        S: EmbeddedService<B>,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        let host = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let own = host.into_iter().map(|host| (HOST, host)).collect();
        Self::new_on(UpstreamLine::to_service(service), uri, own, timeout)
    }

    /// The same, with the configured bounds of sessions.
    pub fn with_sessions(self, SessionBounds { most, most_of_one }: SessionBounds) -> Self {
        let defaults = SessionLimits::default();
        let limits = SessionLimits { bounds: defaults.bounds.set(most, most_of_one), ..defaults };
        Self { sessions: Sessions::new(limits), ..self }
    }

    /// Counts the sessions of its clients, and those for the bridge, in these meters.
    pub(crate) fn count_in(&self, sessions: SessionMeter, bridged: SessionMeter) {
        self.sessions.count_in(sessions);
        // The meter of an upstream is set once.
        let _ = self.bridged.set(bridged);
    }

    /// The same, with this limit for messages that are read as a whole.
    pub fn with_messages(self, max_message: usize) -> Self {
        Self { max_message, ..self }
    }

    /// The same, with the caller's identity in requests.
    pub fn with_identity(self, identity: IdentitySettings) -> Self {
        let RequestSettings { own, lifetimes, credential, .. } = &**self.given.load();
        let (own, lifetimes, credential) = (own.clone(), lifetimes.clone(), credential.clone());
        self.given.store(Arc::new(RequestSettings { own, lifetimes, identity, credential }));
        self
    }

    /// The same, with the lifetimes of the secrets in its headers.
    pub fn with_lifetimes(self, lifetimes: &[SecretLifetime]) -> Self {
        let RequestSettings { own, identity, credential, .. } = &**self.given.load();
        let (own, identity, credential) = (own.clone(), identity.clone(), credential.clone());
        let lifetimes = lifetimes.to_vec();
        self.given.store(Arc::new(RequestSettings { own, lifetimes, identity, credential }));
        self
    }

    /// The same, with a credential in requests.
    pub fn with_credential(self, credential: Option<Arc<UpstreamCredential>>) -> Self {
        let RequestSettings { own, lifetimes, identity, .. } = &**self.given.load();
        let (own, lifetimes, identity) = (own.clone(), lifetimes.clone(), identity.clone());
        self.given.store(Arc::new(RequestSettings { own, lifetimes, identity, credential }));
        self
    }

    /// The credential in requests for `caller`.
    ///
    /// # Errors
    /// If a secret of it is missing.
    pub(crate) fn delegation(&self, caller: &Caller) -> Result<Option<Delegation>, OutboundFault> {
        let given = self.given.load();
        let Some(credential) = &given.credential else { return Ok(None) };
        credential.check()?;
        Ok(Some(credential.delegation(&caller.principal())))
    }

    /// The eras, as far as they are known.
    pub(crate) fn eras(&self) -> &EraCache {
        &self.eras
    }

    /// The same, with the eras of the configuration if it names them.
    pub fn with_eras(self, eras: Option<config::Eras>) -> Self {
        Self { eras: eras.map(EraCache::configured).unwrap_or_default(), ..self }
    }

    /// A handle that replaces the headers and settings of requests.
    pub(crate) fn giving(&self) -> LiveRequestSettings {
        let (given, held, farewells) =
            (Arc::clone(&self.given), Arc::clone(&self.held), self.farewells.clone());
        LiveRequestSettings { given, held, farewells }
    }

    fn new_on(line: UpstreamLine, uri: Uri, own: HeaderMap, timeout: Duration) -> Self {
        let farewells = Farewells::new(line.clone(), uri.clone());
        Self {
            line,
            uri,
            given: Arc::new(ArcSwap::from_pointee(RequestSettings { own, ..RequestSettings::default() })),
            timeout,
            max_message: MAX_MESSAGE,
            sessions: Sessions::new(SessionLimits::default()),
            eras: EraCache::default(),
            is_stateless: AtomicBool::new(false),
            keeps: SessionKeeping::default(),
            held: Arc::new(Cache::new(held_session::MAX_HELD)),
            bridged: OnceLock::new(),
            farewells,
        }
    }

    /// The caller's session, for a message of the era with sessions. `initialize` opens a session, so it needs none.
    fn session_of(&self, admitted: &Admitted) -> Result<Option<Arc<UpstreamSession>>, Rejection> {
        let request = admitted.request();
        match admitted.session() {
            Some(id) if request.era == Era::Stateful && request.call.method() != "initialize" => {
                let principal = admitted.permit().caller().principal();
                self.sessions.find(id, &principal).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn needs_bridge(&self, request: &Request) -> bool {
        request.era == Era::Stateless
            && !self.is_stateless.load(Ordering::Relaxed)
            && Box::pin(self.is_older()).await
    }

    /// The credential in requests.
    fn credential(&self) -> Option<Arc<UpstreamCredential>> {
        self.given.load().credential.clone()
    }

    /// True if the credential is made from the tokens of callers.
    pub(crate) fn exchanges_tokens(&self) -> bool {
        self.given.load().credential.as_ref().is_some_and(|credential| credential.is_exchanged())
    }

    /// The credential, if each principal has a grant of their own for it.
    pub(crate) fn credential_of_principals(&self) -> Option<Arc<UpstreamCredential>> {
        self.credential().filter(|credential| credential.is_of_principals())
    }

    /// True if the client of a session opens URLs for servers.
    pub(crate) fn opens_urls(&self, session: &str, principal: &Principal) -> bool {
        self.sessions.find(session, principal).is_ok_and(|session| session.upstream.opens_urls)
    }

    /// The URL without its query, which may contain a secret.
    pub(super) fn name_in_log(&self) -> String {
        without_query(&self.uri)
    }

    pub(super) async fn send(&self, request: ComposedRequest<'_>) -> Result<UpstreamReply, Rejection> {
        self.in_time(self.answered(request)).await
    }

    async fn answered(&self, request: ComposedRequest<'_>) -> Result<UpstreamReply, Rejection> {
        self.request(request).await.map_err(|fault| match fault {
            SendFault::Line(error) => self.unreachable(&*error),
            SendFault::OtherLogin => Rejection::SessionNotFound,
        })
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Rejection {
        tracing::warn!(upstream = self.name_in_log(), error = with_sources(error), "no answer");
        fault(UpstreamFault::Unreachable, "The MCP server cannot be reached")
    }

    /// Not an `async fn`, which would contain `work` twice.
    fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Rejection>>,
    ) -> impl Future<Output = Result<T, Rejection>> {
        let late = |_| Err(fault(UpstreamFault::Timeout, "The MCP server did not answer in time"));
        tokio::time::timeout(self.timeout, work).map(move |ended| ended.unwrap_or_else(late))
    }

    /// Opens a session for the caller if `initialize` has opened one at the upstream.
    fn opened(&self, admitted: &Admitted, reply: &UpstreamReply) -> Result<Option<Box<str>>, Rejection> {
        let request = admitted.request();
        if request.era == Era::Stateless || request.call.method() != "initialize" {
            return Ok(None);
        }
        let keeps = reply.response.headers().contains_key(SESSION_ID);
        self.keeps.note(keeps);
        if !keeps {
            return Ok(None);
        }
        let caller = admitted.permit().caller();
        let has_arguments = admitted.permit().has_credential_arguments();
        let owner = SessionOwner::new(caller.principal(), has_arguments);
        let party = caller.party(request.peer);
        let opens_urls = request.call.declares_url_elicitation();
        let theirs = ServerSession { bound: reply.session(), asked: Arc::default(), opens_urls };
        let (id, evicted) = self.sessions.open(owner, party, theirs).map_err(|error| {
            self.farewells.say(&reply.session(), Some(&caller.principal()));
            not_opened(&error)
        })?;
        for session in evicted {
            self.farewells.say(&session.upstream.bound, Some(session.opened_by()));
        }
        Ok(Some(id))
    }

    /// Turns the upstream's response into the gateway's answer. An event stream takes `unanswered` until its answer.
    async fn answer(
        &self,
        admitted: &Admitted,
        session: Option<&ServerSession>,
        response: Response<Inflow>,
        unanswered: &mut Option<UnansweredCall>,
    ) -> Result<AnswerBody, Rejection> {
        let (request, has_session) = (admitted.request(), session.is_some());
        let (head, body) = response.into_parts();
        match (head.status, request.call.kind()) {
            (status, MessageKind::Notification | MessageKind::Response { .. }) if status.is_success() => {
                Ok(AnswerBody::Accepted)
            }
            (StatusCode::OK, _) => match media(&head.headers) {
                Media::Json => self.json(admitted, body).await,
                Media::Events => {
                    let session = session.map(|theirs| (Arc::clone(&theirs.asked), theirs.bound.ended()));
                    Ok(AnswerBody::Events(answer_stream::of(
                        Arc::clone(request),
                        (body, self.max_message, admitted.account().clone()),
                        (session, unanswered.take()),
                    )))
                }
                Media::Other => Err(bad_answer("The MCP server answered neither JSON nor events")),
            },
            (status, _) => {
                let account = admitted.account();
                if let Some(fault) = self.rejected(status, &head.extensions) {
                    return Err(fault);
                }
                Box::pin(error_answer(request, has_session, status, &head.headers, body, account)).await
            }
        }
    }

    /// The rejection if the server does not accept the credential of the configuration, and there is no other one for the
    /// reason in `extensions`.
    pub(super) fn rejected(&self, status: StatusCode, extensions: &Extensions) -> Option<Rejection> {
        let given = self.given.load();
        let credential = given.credential.as_ref().filter(|_| status == StatusCode::UNAUTHORIZED)?;
        let fault = extensions.get::<OutboundFault>().cloned();
        Some(fault.unwrap_or_else(|| credential.rejected()).into())
    }

    /// A JSON answer: as a whole if it is small or needs a filter, otherwise passed on as it comes.
    async fn json(&self, admitted: &Admitted, body: Inflow) -> Result<AnswerBody, Rejection> {
        let leave = admitted.unfiltered();
        let limit = if admitted.unfiltered().is_some() { CHECKED_ANSWER } else { self.max_message };
        let gathered = gather(body, limit, admitted.account()).await.map_err(not_gathered)?;
        match (gathered, leave) {
            (BoundedBody::Whole(message, hold), _) => {
                let (request, size) = (Arc::clone(admitted.request()), message.len());
                let checked = parsing::answer(request.peer, size, move || response::read(&request, message));
                let unread = || Err(bad_answer("The MCP server's answer cannot be read"));
                Ok(AnswerBody::held(checked.await.unwrap_or_else(unread)?, hold))
            }
            (BoundedBody::Part(body), Some(leave)) => {
                let mut passing = StreamedAnswer::to(admitted.request().call.id().unwrap_or("null"));
                let checked = body.checked_by(move |bytes| passing.see(bytes));
                let body = checked.map_err(|wrong| bad_answer(&format!("The MCP server: {wrong}")))?;
                Ok(AnswerBody::Raw { leave, body })
            }
            (BoundedBody::Part(_), None) => {
                Err(fault(UpstreamFault::Flood, "The MCP server's answer is too large to be checked"))
            }
        }
    }

    /// Removes a session that has ended, so that it uses no share.
    fn lose<T>(
        &self,
        result: &Result<T, Rejection>,
        session: Option<&str>,
        principal: impl FnOnce() -> Principal,
    ) {
        if let (Err(Rejection::SessionNotFound), Some(session)) = (result, session) {
            drop(self.sessions.close(session, &principal()));
        }
    }

    /// The caller's session, for a GET or DELETE.
    fn listeners_session(&self, listener: &SessionRequest) -> Result<Arc<UpstreamSession>, Rejection> {
        self.sessions.find(&listener.session, &listener.caller.principal())
    }
}

impl Upstream for HttpUpstream {
    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        let request = admitted.request();
        if is_without_effect(request) {
            return Ok(Answer { session: None, body: AnswerBody::Accepted });
        }
        if self.needs_bridge(request).await {
            let sender = caller(&admitted);
            let body = Box::pin(self.bridged(&admitted, sender)).await?;
            return Ok(Answer { session: None, body });
        }
        let session = self.session_of(&admitted)?;
        if !belongs(request, session.as_ref().map(|session| &session.upstream))? {
            return Ok(Answer { session: None, body: AnswerBody::Accepted });
        }
        let answered = self.forward_within(&admitted, session).await;
        self.lose(&answered, admitted.session(), || admitted.permit().caller().principal());
        answered
    }

    async fn listen(&self, listener: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        let session = self.listeners_session(&listener)?;
        let events = self.listen_within(&listener, &session).await;
        self.lose(&events, Some(&listener.session), || listener.caller.principal());
        events
    }

    async fn keeps_sessions(&self) -> bool {
        self.finds_sessions().await
    }

    async fn close(&self, listener: SessionRequest) -> Result<(), Rejection> {
        let principal = listener.caller.principal();
        let session = self.sessions.close(&listener.session, &principal)?;
        let (bound, callers) = (&session.upstream.bound, &listener.request.headers);
        bound.end();
        let farewell =
            self.farewells.compose(RequestSender::from(&listener), bound, Some(&principal), callers);
        let Some(farewell) = farewell else { return Ok(()) };
        let told = async { self.line.request(farewell).await.map_err(|error| self.unreachable(&*error)) };
        // The session has ended for the caller, whatever the upstream answers.
        self.in_time(told).await.map(drop).or(Ok(()))
    }

    async fn shut_down(&self) {
        self.end_sessions(self.sessions.drain());
        self.farewells.settle().await;
    }

    async fn retire(&self, done: impl Future<Output = ()> + Send) {
        done.await;
        // No client finds a session any more, but its answers may still stream.
        let sessions = self.sessions.drain();
        let streaming = async {
            while sessions.iter().any(|session| Arc::strong_count(session) > 1) {
                sleep(STREAMING).await;
            }
        };
        let _ = timeout(LONGEST_CALL, streaming).await;
        self.end_sessions(sessions);
        self.farewells.settle().await;
    }
}

impl HttpUpstream {
    /// Ends sessions, and tells the server.
    fn end_sessions(&self, sessions: Vec<Arc<UpstreamSession>>) {
        for session in sessions {
            session.upstream.bound.end();
            self.farewells.say(&session.upstream.bound, Some(session.opened_by()));
        }
    }

    /// Forwards a message in its session, if it has one.
    async fn forward_within(
        &self,
        admitted: &Admitted,
        session: Option<Arc<UpstreamSession>>,
    ) -> Result<Answer, Rejection> {
        let (request, sender, trace) = (admitted.request(), caller(admitted), admitted.trace());
        let theirs = session.as_ref().map(|session| &session.upstream);
        let bound = theirs.map(|theirs| &theirs.bound);
        let upstream_id = bound.and_then(BoundSession::id);
        let draft = |uri: &Uri, own: &HeaderMap| outgoing::post(uri, own, request, upstream_id).traced(trace);
        let composed = match request.call.access() {
            Access::Open => self.compose_open(sender, bound, draft).await?,
            Access::Target(_) | Access::Targets(_) => self.compose(sender, bound, draft).await?,
        };
        let may_start_task = request.call.may_start_task();
        let mut unanswered =
            may_start_task.then(|| UnansweredCall::new(admitted.places().clone(), self.timeout));
        // One time limit for the head of the answer and for the part of its body that is read here, because each timer
        // costs.
        let answer = async {
            let reply = self.answered(composed).await?;
            let status = reply.response.status();
            if let Some(bound) = bound
                && Box::pin(self.has_lost(bound, status, sender)).await
            {
                bound.end();
                return Err(Rejection::SessionNotFound);
            }
            let opened = match status {
                StatusCode::OK => self.opened(admitted, &reply)?,
                _ => None,
            };
            Ok((opened, self.answer(admitted, theirs, reply.response, &mut unanswered).await?))
        };
        let answered = self.in_time(answer).await;
        unanswered.into_iter().for_each(UnansweredCall::ends);
        let (opened, body) = answered?;
        Ok(Answer { session: opened, body: held(body, session) })
    }

    /// The server's own messages in a session.
    async fn listen_within(
        &self,
        listener: &SessionRequest,
        session: &Arc<UpstreamSession>,
    ) -> Result<BoxStream<'static, Event>, Rejection> {
        let (sender, bound) = (RequestSender::from(listener), &session.upstream.bound);
        let Some(id) = bound.id() else { return Err(Rejection::SessionNotFound) };
        let draft = |uri: &Uri, own: &HeaderMap| outgoing::get(uri, own, listener, id);
        let composed = self.compose_open(sender, Some(bound), draft).await?;
        let response = self.send(composed).await?.response;
        if self.has_lost(bound, response.status(), sender).await {
            bound.end();
            return Err(Rejection::SessionNotFound);
        }
        match (response.status(), media(response.headers())) {
            (StatusCode::OK, Media::Events) => {
                let held = session.hold();
                let events = events::read(response.into_body(), self.max_message, listener.account.clone());
                let asked = Arc::clone(&session.upstream.asked);
                let noted = events.inspect(move |event| asked.note(&event.data));
                let until_the_end = noted.take_until(bound.ended());
                Ok(until_the_end.inspect(move |_| _ = &held).boxed())
            }
            (StatusCode::METHOD_NOT_ALLOWED, _) => Err(MessageFault::MethodNotAllowed.into()),
            (StatusCode::CONFLICT, _) => {
                Err(MessageFault::InvalidRequest("this session has an open stream already".to_owned()).into())
            }
            _ => Err(bad_answer("The MCP server does not open an event stream")),
        }
    }
}

/// The sender of an admitted call.
fn caller(admitted: &Admitted) -> RequestSender<'_> {
    let permit = admitted.permit();
    RequestSender::Caller(permit.caller(), permit.request().decision, admitted.caller_token())
}

fn not_opened(error: &SessionError) -> Rejection {
    match error {
        SessionError::Full => Rejection::Full { what: "sessions", retry_after: 30 },
        SessionError::Random(_) => {
            tracing::error!(%error, "no session is opened");
            fault(UpstreamFault::Unreachable, "No session can be opened now: try again later")
        }
    }
}

/// The session counts as used while the answer of its call streams.
fn held(body: AnswerBody, session: Option<Arc<UpstreamSession>>) -> AnswerBody {
    match (body, session) {
        (AnswerBody::Events(events), Some(session)) => {
            let held: StreamLease<ServerSession> = session.hold();
            AnswerBody::Events(events.inspect(move |_| _ = &held).boxed())
        }
        (body, _) => body,
    }
}

/// The stateless era cancels by closing the stream. A `cancelled` with a guessed id must not end another caller's
/// call, and the era has no other notifications.
fn is_without_effect(request: &Request) -> bool {
    request.era == Era::Stateless
        && *request.call.kind() == MessageKind::Notification
        && witgate_message::method::find(request.call.method()).is_some()
}

/// Checks that an answer, or progress, is for a request of the server to this session. False: there is no such
/// request.
fn belongs(request: &Request, session: Option<&ServerSession>) -> Result<bool, Rejection> {
    let call = &request.call;
    // The flow requires a session for both.
    let Some(ServerSession { asked, .. }) = session else { return Ok(true) };
    match call.kind() {
        MessageKind::Response { .. } if !call.id().is_some_and(|id| asked.take(id)) => {
            Err(MessageFault::InvalidRequest("it answers no open request".to_owned()).into())
        }
        MessageKind::Notification if call.method() == "notifications/progress" => {
            let params = bridge::params(call).unwrap_or_default();
            Ok(params.get("progressToken").is_some_and(|token| asked.waits_for(token)))
        }
        _ => Ok(true),
    }
}

fn not_gathered(reason: BodyReadError) -> Rejection {
    match reason {
        BodyReadError::Broken(_) => fault(UpstreamFault::Unreachable, "The MCP server broke off its answer"),
        BodyReadError::NoRoom(exhausted) => exhausted.into(),
    }
}

fn without_query(uri: &Uri) -> String {
    let scheme = uri.scheme_str().map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let server = uri.authority().map(|server| server.as_str()).unwrap_or_default();
    format!("{scheme}{server}{}", uri.path())
}
