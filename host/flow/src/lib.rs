//! The life of a request: parse → credential → lockout → proof → authenticate → authorize → limit → upstream → audit.

#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod account;
pub mod answer_message;
pub mod audit;
pub mod authenticate;
pub mod authorize;
pub mod body;
pub mod connect;
mod credential_choice;
mod credential_search;
pub mod decision;
mod definition_check;
pub mod definition_log;
pub mod definitions;
pub mod disagreement_log;
pub mod dpop;
mod durations;
mod early_checks;
pub mod endpoint_flow;
pub mod event;
pub mod explanation;
pub mod guarded_stream;
pub mod in_flight;
mod json_answer;
pub mod known_sender;
pub mod limit;
pub mod limit_hit;
pub mod list_changes;
pub mod listing;
pub mod lockout;
pub mod parsing;
pub mod port;
mod receive;
pub mod reject;
pub mod request;
mod right;
mod session;
mod shadow;
pub mod siblings;
pub mod stage_result;
pub mod subject;
pub mod tasks;
pub mod token_issue;
pub mod traces;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use http::StatusCode;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use witgate_plugin::{Scheme, TargetKind};

use crate::event::Event;
use crate::port::{Answer, AnswerBody, LONGEST_CALL, SessionRequest, Upstream};
use account::Account;
use audit::{Audit, Outcomes, Record};
use authenticate::authenticate;
use authenticate::identity::Caller;
use authorize::{Permit, authorize};
use decision::DecisionId;
use definition_log::DefinitionLog;
use definitions::DefinitionWatch;
use disagreement_log::DisagreementLog;
use dpop::{Proofs, ProvenRequest};
use durations::{AnswerPeek, StreamedOperation};
use guarded_stream::GuardedStream;
use in_flight::InFlight;
use known_sender::KnownSender;
use limit::{CallPlaces, admit, take_places};
use list_changes::{DeclaredChanges, ListChanges};
use listing::{AnswerFilter, unread};
use lockout::LockoutTable;
pub use receive::Arrival;
use receive::{receive, receive_bodiless};
use reject::{RejectedMessage, Rejection, UpstreamFault};
use request::{Request, Route};
use right::Right;
use siblings::Siblings;
use stage_result::StageResult;
use tasks::Tasks;
use token_issue::FreshToken;
use traces::LiveTracer;
use witgate_base::party::Principal;
use witgate_credentials::caller_token::CallerToken;
use witgate_credentials::connect::ConnectDesk;
use witgate_credentials::upstream_credential::Delegation;
use witgate_message::call::{Access, Call, MessageKind};
use witgate_message::credential::Credentials;
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_message::headers::{LAST_EVENT_ID, media};
use witgate_policy::generation::{Generation, Generations};
use witgate_policy::upstream_lists::ListedNames;
use witgate_runtime::memory::AnswerMemory;
use witgate_runtime::metrics::Metrics;
use witgate_runtime::shares::{Capacity, Share, Shares};

/// The path of all messages to one upstream.
pub struct Flow<U> {
    route: Arc<Route>,
    upstream: U,
    generations: Arc<Generations>,
    tasks: Arc<Tasks>,
    outcomes: Arc<Outcomes>,
    proofs: Arc<Proofs>,
    lockout: Arc<LockoutTable>,
    tracer: Arc<LiveTracer>,
    streams: Arc<Shares>,
    answers: Arc<AnswerMemory>,
    declared: Arc<DeclaredChanges>,
    /// The names that the upstream has listed.
    listed: Arc<ListedNames>,
    definitions: Arc<DefinitionWatch>,
    /// The links for callers who connect an account. None: there are none.
    connect: Option<Arc<ConnectDesk>>,
    stop: CancellationToken,
}

/// Open streams: as many as there may be sessions over HTTP.
const STREAMS: Capacity = Capacity { most: 10_000, most_of_one: 1_000 };

/// Interval for checking that the messages of a retired upstream are done.
const RETIRING: Duration = Duration::from_millis(50);

/// The default memory for answers that wait to be read, in bytes.
const ANSWER_MEMORY: usize = 256 << 20;

/// The response to a message.
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The session that the message has opened.
    pub session: Option<Box<str>>,
    /// The nonce for the client's next proof of possession.
    pub nonce: Option<Box<str>>,
    /// The id of the message in the audit.
    pub decision: DecisionId,
    /// The body of the upstream's answer.
    pub body: AnswerBody,
}

impl<U: Upstream> Flow<U> {
    /// The flow for `upstream`. Cancelling `stop` ends the streams that do not end by themselves.
    pub fn new(
        route: Arc<Route>,
        upstream: U,
        generations: Arc<Generations>,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> Self {
        let outcomes = Arc::new(Outcomes::new(metrics, &route.upstream));
        let (tasks, proofs, lockout, declared) = Default::default();
        let (streams, answers) = (Arc::new(Shares::new(STREAMS)), AnswerMemory::new(ANSWER_MEMORY));
        let (tracer, connect) = (Arc::default(), None);
        let listed = generations.lists().of(route.pipeline);
        let definitions = Arc::new(DefinitionWatch::new(&route.upstream, metrics));
        Self {
            route,
            upstream,
            generations,
            tasks,
            outcomes,
            proofs,
            lockout,
            tracer,
            streams,
            answers,
            declared,
            listed,
            definitions,
            connect,
            stop,
        }
    }

    /// The same beside `other`, a flow to the same server: what a caller sees and opens there counts here, too.
    pub fn beside<V>(self, other: &Flow<V>) -> Self {
        let (streams, definitions) = (Arc::clone(&other.streams), Arc::clone(&other.definitions));
        Self { streams, definitions, ..self }
    }

    /// The same with `proofs`, which remembers the used proofs of possession of all flows.
    pub fn with_proofs(self, proofs: Arc<Proofs>) -> Self {
        Self { proofs, ..self }
    }

    /// The same with `lockout`, which knows the failed authentications of all flows.
    pub fn with_lockout(self, lockout: Arc<LockoutTable>) -> Self {
        Self { lockout, ..self }
    }

    /// The same with `answers`, the memory for answers, which it shares with other flows.
    pub fn with_answers(self, answers: Arc<AnswerMemory>) -> Self {
        Self { answers, ..self }
    }

    /// The same, with traces of operations.
    pub fn with_tracer(self, tracer: Arc<LiveTracer>) -> Self {
        Self { tracer, ..self }
    }

    /// The same, with the records in `audit`.
    pub fn with_audit(self, audit: Audit) -> Self {
        let disagreements = audit.log().map(|log| Arc::new(log.clone()) as Arc<dyn DisagreementLog>);
        let route = Arc::new(Route { disagreements, ..Route::clone(&self.route) });
        let log = audit.log().map(|log| Arc::new(log.clone()) as Arc<dyn DefinitionLog>);
        log.into_iter().for_each(|log| self.definitions.record_in(log));
        Self { outcomes: Arc::new(self.outcomes.recorded_in(audit)), route, ..self }
    }

    /// True if a policy accepts tokens with a proof of possession, so that challenges offer it.
    pub fn takes_proofs(&self) -> bool {
        self.takes(Scheme::Dpop)
    }

    /// True if a policy judges credentials of this scheme.
    pub fn takes(&self, scheme: Scheme) -> bool {
        self.generations.live().pipeline(self.route.pipeline).judges(scheme)
    }

    /// The upstream behind this flow.
    pub fn upstream(&self) -> &U {
        &self.upstream
    }

    /// The knowledge about the definitions of the upstream.
    pub fn definitions(&self) -> &Arc<DefinitionWatch> {
        &self.definitions
    }

    /// The place of the upstream, which determines the pipeline.
    pub fn place(&self) -> usize {
        self.route.pipeline
    }

    /// The live generation, if the upstream is served in it.
    pub fn serving(&self) -> Option<Arc<Generation>> {
        Some(self.generations.live()).filter(|live| !live.pipeline(self.route.pipeline).is_retired())
    }

    /// Ends the streams that do not end by themselves, lets running calls finish, and shuts down the upstream. To be
    /// called when the upstream is no longer served, so that no message comes any more.
    pub async fn retire(self: Arc<Self>) {
        self.stop.cancel();
        let quiet = async {
            // Whoever handles a message holds the flow. The end of a message notifies nobody.
            while Arc::strong_count(&self) > 1 {
                sleep(RETIRING).await;
            }
        };
        let done = async {
            let _ = timeout(LONGEST_CALL, quiet).await;
        };
        self.upstream.retire(done).await;
    }

    /// Handles one message.
    ///
    /// # Errors
    /// With the rejection, and the id for the answer.
    pub fn handle(
        &self,
        arrival: Arrival,
    ) -> impl Future<Output = Result<Reply, RejectedMessage>> + use<'_, U> {
        self.handle_under(self.generations.live(), arrival)
    }

    /// Handles one message under `generation`.
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub fn handle_under(
        &self,
        generation: Arc<Generation>,
        arrival: Arrival,
    ) -> impl Future<Output = Result<Reply, RejectedMessage>> + use<'_, U> {
        self.handle_message(None, generation, arrival)
    }

    /// Handles one of several messages that a message of a client has become.
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub fn handle_among(
        &self,
        siblings: Option<Arc<Siblings>>,
        arrival: Arrival,
    ) -> impl Future<Output = Result<Reply, RejectedMessage>> + use<'_, U> {
        self.handle_message(siblings, self.generations.live(), arrival)
    }

    async fn handle_message(
        &self,
        siblings: Option<Arc<Siblings>>,
        generation: Arc<Generation>,
        arrival: Arrival,
    ) -> Result<Reply, RejectedMessage> {
        let mut record = self.record(&generation, arrival.peer);
        record.siblings = siblings;
        let (known, under_way) = (arrival.known.clone(), arrival.under_way.clone());
        let is_paused = self.lockout.pauses(generation.lockout(), arrival.peer);
        let before = is_paused.then_some(&*self.lockout);
        let received = receive(arrival, record.decision, (&generation, before), &self.route).await;
        let (request, shown, session) = match received {
            Ok(received) => received,
            Err(rejected) => return Err(refuse(record, rejected).await),
        };
        record.request = Some(Arc::clone(&request));
        record.trace(self.tracer.current().as_ref(), &request);
        let inviting = self.connect.is_some() && self.upstream.credential_of_principals().is_some();
        let of_session = if inviting { session.clone() } else { None };
        let result = self.run(generation, request, (shown, session), under_way, &mut record).await;
        let result = result.map_err(|rejection| {
            let from = (record.request.as_deref(), record.caller.as_deref());
            self.inviting(rejection, from, of_session.as_deref())
        });
        let mut record = record.close(&result);
        note(&known, record.caller.as_deref());
        let result = record.settle(result).await;
        result.map_err(|rejection| rejected_message(&record, rejection))
    }

    /// The order of the stages. The result of each stage is required by the next one.
    async fn run(
        &self,
        generation: Arc<Generation>,
        request: Arc<Request>,
        (shown, session): (Credentials, Option<Box<str>>),
        under_way: InFlight,
        record: &mut Record<'_>,
    ) -> Result<Reply, Rejection> {
        record.reserve()?;
        let siblings = record.siblings.as_deref();
        let established = self.establish(&generation, &request, &shown, siblings).await;
        let is_known = established.result.is_ok();
        let has_credential = is_known && credential_search::finds_one(&generation, &request, &shown).await;
        record.is_clean = !has_credential
            && (is_known || !credential_search::shows_one(&generation, &request, &shown).await);
        let credentials = (is_known && !has_credential).then_some(&shown);
        record.note_arguments(&request, credentials).await;
        record.mark("authenticate");
        let (proven, caller) = record.fallback.note(established)?;
        record.caller = Some(Arc::clone(&caller));
        if has_credential {
            return Err(MessageFault::CredentialInArguments.into());
        }
        self.follow_definitions(&generation, &request, &caller, session.as_deref());
        record.siblings.as_ref().map_or(Ok(()), |siblings| siblings.authenticated(&caller))?;
        let traces =
            credential_choice::traces(&shown, generation.pipeline(self.route.pipeline).is_recorded());
        let authorized = authorize(generation, &proven, caller, traces).await;
        record.mark("authorize");
        let mut permit = Arc::new(record.fallback.note(authorized)?);
        record.allowance = permit.allowance().cloned();
        record.fallback.note(self.tasks.check(&permit).await)?;
        session::check(permit.request(), session.as_deref())?;
        let listens = permit.request().call.method() == "subscriptions/listen";
        if listens {
            media::accepts_events(&permit.request().headers)?;
        }
        let share = if listens { Some(self.stream_of(&permit)?) } else { None };
        let (mut admitted, places) = admit(Arc::clone(&permit), session, &self.answers)?;
        if request.round.is_some() {
            // Clients and proxies do not wait as long as a person needs.
            under_way.begins(&request.call);
            // Boxed because it is rare, so that it does not enlarge the future of every call.
            permit = Box::pin(self.resume(permit, &shown, record)).await?;
            admitted = admitted.renewed(Arc::clone(&permit));
        }
        record.delegation = self.upstream.delegation(permit.request(), permit.caller())?;
        if permit.generation().pipeline(self.route.pipeline).holds_definitions() {
            // Boxed because it is rare, so that it does not enlarge the future of every call.
            Box::pin(self.check_definitions(&permit, admitted.session(), &shown)).await?;
        }
        let admitted = admitted.traced(record.trace_headers()).exchanging(self.caller_token(&shown, &permit));
        let admitted = admitted.completed()?.with_token(self.token_for(&permit, record).await?);
        let mut right = self.right(&permit, shown);
        under_way.begins(&permit.request().call);
        record.send();
        let answer = {
            // Pinned here, because passing it by value would double its memory.
            let answer = pin!(async {
                json_answer::taken_by(permit.request(), self.upstream.forward(admitted).await?).await
            });
            let answered = right.for_as_long(answer).await;
            record.answered(&answered.result);
            if answered.result.is_ok() {
                self.note_account(&permit, record);
            }
            record.fallback.note(answered)?
        };
        self.look_at(answer, permit, right, (share, places), record).await
    }

    /// Lockout → proof of possession → authenticate. During a pause, no policy is asked.
    async fn establish(
        &self,
        generation: &Arc<Generation>,
        request: &Arc<Request>,
        shown: &Credentials,
        siblings: Option<&Siblings>,
    ) -> StageResult<(ProvenRequest, Arc<Caller>)> {
        let sender = (request.transport, request.peer);
        let suspect = match self.lockout.check(generation, &self.route, sender, shown) {
            Ok(suspect) => suspect,
            Err(locked_out) => return Err(locked_out).into(),
        };
        let check = self.lockout.checking(generation.lockout(), suspect);
        let established = self.prove_and_authenticate(generation, request, shown, siblings).await;
        let result = established.result.as_ref().map(|(_, caller)| &**caller);
        result.iter().for_each(|caller| self.outcomes.count_authentication(caller));
        let judges = generation.pipeline(self.route.pipeline).enforcing_authenticators();
        check.note(result, judges);
        established
    }

    /// Proof of possession → authenticate. Only an authenticated caller can use a proof, and only once.
    async fn prove_and_authenticate(
        &self,
        generation: &Arc<Generation>,
        request: &Arc<Request>,
        shown: &Credentials,
        siblings: Option<&Siblings>,
    ) -> StageResult<(ProvenRequest, Arc<Caller>)> {
        let method = siblings.and_then(Siblings::method);
        let proven = match self.proofs.prove_for(method, generation, request, shown) {
            Ok(proven) => proven,
            Err(error) => return Err(error.into()).into(),
        };
        authenticate(generation, &proven, shown).await.map(|caller| {
            let caller = caller?;
            match siblings {
                None => self.proofs.spend(&proven, &caller)?,
                Some(siblings) => siblings.spend(&self.proofs, &proven, &caller)?,
            }
            Ok((proven, caller))
        })
    }

    /// True if this principal has started a remembered task of this upstream with this id.
    pub fn knows_task(&self, principal: &Principal, task: &str) -> bool {
        self.tasks.knows(principal, task)
    }

    /// Opens the stream of the server's own messages (GET, in the stateful era).
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub async fn listen(&self, arrival: Arrival) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        self.listen_under(self.generations.live(), arrival).await
    }

    /// As [`Flow::listen`], under `generation`.
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub async fn listen_under(
        &self,
        generation: Arc<Generation>,
        arrival: Arrival,
    ) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        self.listen_to((None, generation), arrival).await
    }

    /// Opens one of several streams that a client has asked for as one.
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub async fn listen_among(
        &self,
        siblings: Option<Arc<Siblings>>,
        arrival: Arrival,
    ) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        self.listen_to((siblings, self.generations.live()), arrival).await
    }

    async fn listen_to(
        &self,
        among: (Option<Arc<Siblings>>, Arc<Generation>),
        arrival: Arrival,
    ) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        self.on_session("GET", (among, arrival), async |listener, permit, shown| {
            let places = take_places(&permit)?;
            let share = self.stream_of(&permit)?;
            let events = self.upstream.listen(listener).await?;
            let events = self.announcing(events, permit.caller());
            let right = self.right(&permit, shown);
            Ok(self.standing(permit, right, (Some(share), places)).guard(events))
        })
        .await
    }

    /// Ends a session (DELETE, in the stateful era), under `generation`.
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub async fn close_under(
        &self,
        generation: Arc<Generation>,
        arrival: Arrival,
    ) -> Result<(), RejectedMessage> {
        self.close_session((None, generation), arrival).await
    }

    /// Ends one of several sessions that are one for the client.
    ///
    /// # Errors
    /// As [`Flow::handle`].
    pub async fn close_among(
        &self,
        siblings: Option<Arc<Siblings>>,
        arrival: Arrival,
    ) -> Result<(), RejectedMessage> {
        self.close_session((siblings, self.generations.live()), arrival).await
    }

    async fn close_session(
        &self,
        among: (Option<Arc<Siblings>>, Arc<Generation>),
        arrival: Arrival,
    ) -> Result<(), RejectedMessage> {
        self.on_session("DELETE", (among, arrival), async |listener, permit, _| {
            let _places = take_places(&permit)?;
            self.upstream.close(listener).await
        })
        .await
    }

    /// Counts and records a refusal of the transport before there is a message from `peer`.
    pub fn refuse_unread(&self, rejection: Rejection, peer: Option<IpAddr>) -> RejectedMessage {
        let record = self.record(&self.generations.live(), peer);
        let decision = Some(record.decision);
        record.refuse(&rejection);
        RejectedMessage { decision, ..rejection.into() }
    }

    /// Handles a request on a session without a message. It passes the same stages; the upstream, which keeps the
    /// session, checks the right to it.
    async fn on_session<T>(
        &self,
        method: &'static str,
        ((siblings, generation), arrival): ((Option<Arc<Siblings>>, Arc<Generation>), Arrival),
        act: impl AsyncFnOnce(SessionRequest, Arc<Permit>, Credentials) -> Result<T, Rejection>,
    ) -> Result<T, RejectedMessage> {
        let mut record = self.record(&generation, arrival.peer);
        let known = arrival.known.clone();
        let (request, shown, session) =
            match receive_bodiless(method, arrival, record.decision, &generation, &self.route) {
                Ok(received) => received,
                Err(rejection) => return Err(refuse(record, rejection.into()).await),
            };
        record.request = Some(Arc::clone(&request));
        // There is no message.
        record.is_clean = true;
        let stages = async {
            record.reserve()?;
            let established = self.establish(&generation, &request, &shown, siblings.as_deref()).await;
            let (proven, caller) = record.fallback.note(established)?;
            record.caller = Some(Arc::clone(&caller));
            siblings.as_ref().map_or(Ok(()), |siblings| siblings.authenticated(&caller))?;
            let session = match session {
                Some(session) => session,
                None => return Err(self.without_session().await),
            };
            self.follow_definitions(&generation, &request, &caller, Some(&session));
            let traces =
                credential_choice::traces(&shown, generation.pipeline(self.route.pipeline).is_recorded());
            let authorized = authorize(generation, &proven, caller, traces).await;
            let permit = Arc::new(record.fallback.note(authorized)?);
            record.delegation = self.upstream.delegation(&request, permit.caller())?;
            let last_event_id = text_of(&request.headers, &LAST_EVENT_ID);
            let (caller, caller_token) = (Arc::clone(permit.caller()), self.caller_token(&shown, &permit));
            let account = Account::new(&self.answers, &permit);
            let listener = SessionRequest { caller, session, request, last_event_id, account, caller_token };
            act(listener, permit, shown).await
        };
        let result = stages.await;
        let result = result.map_err(|rejection| {
            self.inviting(rejection, (record.request.as_deref(), record.caller.as_deref()), None)
        });
        let mut record = record.close(&result);
        note(&known, record.caller.as_deref());
        let result = record.settle(result).await;
        result.map_err(|rejection| rejected_message(&record, rejection))
    }

    /// The rejection of a GET or DELETE without a session (MCP 2025-11-25, "Listening for Messages from the
    /// Server").
    async fn without_session(&self) -> Rejection {
        if self.upstream.keeps_sessions().await {
            Rejection::SessionRequired
        } else {
            MessageFault::MethodNotAllowed.into()
        }
    }

    /// Filters an answer if that is needed, and sets its status.
    async fn look_at(
        &self,
        answer: Answer,
        permit: Arc<Permit>,
        right: Right,
        (share, places): (Option<Share>, CallPlaces),
        record: &mut Record<'_>,
    ) -> Result<Reply, Rejection> {
        let Answer { session, body } = answer;
        let nonce = self.proofs.next_nonce(permit.proven());
        let request = Arc::clone(permit.request());
        let call = &request.call;
        let (status, body) = match body {
            AnswerBody::Accepted => (StatusCode::ACCEPTED, AnswerBody::Accepted),
            AnswerBody::Message { status, message, hold } => {
                // An answer that looks like a list is filtered, with any status.
                let (message, peek) = if call.needs_filtering() {
                    let look = self.look(permit).in_places(places);
                    let filtered = Box::pin(look.message(message)).await;
                    record.mark("filter");
                    let filtered = record.fallback.note(filtered)?;
                    (filtered.message, filtered.peek)
                } else {
                    let message = message.into_text();
                    let peek = peek(call, &message)?;
                    if call.method() == "tasks/result" && peek.error().is_none() {
                        self.tasks.note_end(&permit);
                    }
                    (message, peek)
                };
                record.note_answer(status, &peek);
                let status = status_of(request.era, status, &peek);
                (status, AnswerBody::Message { status, message: message.into(), hold })
            }
            AnswerBody::Events(events) if call.method() == "subscriptions/listen" => (
                StatusCode::OK,
                AnswerBody::Events(self.standing(permit, right, (share, places)).guard(events)),
            ),
            AnswerBody::Events(events) => {
                let look = self.look(permit).in_places(places.clone());
                let look = if call.needs_filtering() { look } else { look.at_news() };
                let operation = record.stream();
                (
                    StatusCode::OK,
                    AnswerBody::Events(under_way(right, look, (operation, places)).guard(events)),
                )
            }
            // The permit is for another call.
            AnswerBody::Raw { .. } if call.needs_filtering() => return Err(unread()),
            AnswerBody::Raw { leave, body } => {
                (StatusCode::OK, AnswerBody::Raw { leave, body: body.in_places(places) })
            }
        };
        Ok(Reply { status, session, nonce, decision: request.decision, body })
    }

    fn look(&self, permit: Arc<Permit>) -> AnswerFilter {
        AnswerFilter::new(permit, Arc::clone(&self.tasks), Arc::clone(&self.declared))
            .noting(Arc::clone(&self.listed))
    }

    fn right(&self, permit: &Arc<Permit>, shown: Credentials) -> Right {
        Right::of_call(&self.generations, &self.outcomes, Arc::clone(permit), shown)
    }

    /// The caller's token, if the upstream's credential is made from it.
    fn caller_token(&self, shown: &Credentials, permit: &Permit) -> Option<Arc<CallerToken>> {
        if !self.upstream.exchanges_tokens() {
            return None;
        }
        credential_choice::caller_token(shown, permit.generation(), permit.caller())
    }

    /// Notes the account of the call, which is known only once its token is in memory.
    fn note_account(&self, permit: &Permit, record: &mut Record<'_>) {
        let lacks_account = |known: &Delegation| known.account.is_none() && known.issuer.is_some();
        if record.delegation.as_ref().is_some_and(lacks_account)
            && let Ok(Some(known)) = self.upstream.delegation(permit.request(), permit.caller())
        {
            record.delegation = Some(known);
        }
    }

    /// The caller's share of the open streams.
    fn stream_of(&self, permit: &Permit) -> Result<Share, Rejection> {
        let party = permit.caller().party(permit.request().peer);
        self.streams.take(&party).ok_or(Rejection::Full { what: "open streams", retry_after: 1 })
    }

    fn standing(
        &self,
        permit: Arc<Permit>,
        right: Right,
        (share, places): (Option<Share>, CallPlaces),
    ) -> GuardedStream {
        let changes = Some(ListChanges::new(&permit, &self.declared));
        let (look, stop) = (self.look(permit), Some(self.stop.clone()));
        let right = right.standing();
        GuardedStream { right, look, changes, stop, operation: None, _share: share, _places: places }
    }

    /// The token that the call asks for. None: it asks for none.
    async fn token_for(
        &self,
        permit: &Permit,
        record: &mut Record<'_>,
    ) -> Result<Option<FreshToken>, Rejection> {
        // The settings may be newer than the tool, which needs a restart.
        let asked = token_issue::asked(permit).filter(|_| self.upstream.issues_tokens());
        let Some(settings) = asked else { return Ok(None) };
        // Boxed because it is rare, so that it does not enlarge the future of every call.
        let token = Box::pin(token_issue::issue(permit, settings)).await?;
        record.issued = Some(Arc::clone(&token.record));
        Ok(Some(token))
    }

    /// The record of a message from `peer`.
    fn record(&self, generation: &Generation, peer: Option<IpAddr>) -> Record<'_> {
        let mut record = Record::begin(&self.outcomes, &self.route, generation.number());
        record.peer = peer;
        record
    }
}

/// Records a refusal before any decision.
async fn refuse(record: Record<'_>, rejected: RejectedMessage) -> RejectedMessage {
    let decision = Some(record.decision);
    let RejectedMessage { id, rejection, .. } = rejected;
    let refused = Err::<(), _>(rejection);
    let mut record = record.close(&refused);
    match record.settle(refused).await {
        Ok(()) => RejectedMessage { id, decision, ..Rejection::Unrecorded.into() },
        Err(rejection) => RejectedMessage { id, decision, ..rejection.into() },
    }
}

/// Records that a sender has shown a valid credential.
fn note(known: &KnownSender, caller: Option<&Caller>) {
    if caller.is_some_and(|caller| !caller.is_anonymous()) {
        known.note();
    }
}

/// The rejection for the caller, which may say less than the record. In the stateless era, an unknown method that no
/// rule allows gets "method not found", because clients negotiate by that answer.
fn rejected_message(record: &Record<'_>, rejection: Rejection) -> RejectedMessage {
    let request = record.request.as_deref();
    let id = request.filter(|request| matches!(request.call.kind(), MessageKind::Request { .. }));
    let id = id.and_then(|request| request.call.id()).map(Box::from);
    let rejection = match (rejection, request) {
        (Rejection::Denied { .. }, Some(request)) if is_unknown_method(request) => {
            MessageFault::UnknownMethod(request.call.method().to_owned()).into()
        }
        (rejection, _) => rejection,
    };
    let tool_call = request.filter(|request| request.call.method() == "tools/call");
    let tool_call = tool_call.map(|request| request.era);
    RejectedMessage { id, decision: Some(record.decision), tool_call, rejection }
}

fn is_unknown_method(request: &Request) -> bool {
    request.era == Era::Stateless
        && matches!(request.call.access(), Access::Target(target) if target.kind == TargetKind::Method)
}

/// The stream of a call. A shutdown waits for its end.
fn under_way(
    right: Right,
    look: AnswerFilter,
    (operation, places): (Option<StreamedOperation>, CallPlaces),
) -> GuardedStream {
    GuardedStream { right, look, changes: None, stop: None, operation, _share: None, _places: places }
}

/// The parts of a JSON answer that Witgate acts on, for every kind of upstream.
fn peek(call: &Call, message: &[u8]) -> Result<AnswerPeek, Rejection> {
    AnswerPeek::of(message, call.method() == "tools/call").ok_or_else(|| Rejection::Upstream {
        fault: UpstreamFault::BadAnswer,
        message: "The MCP server's answer is not JSON-RPC".to_owned(),
    })
}

/// The HTTP status of a JSON answer. In the stateless era it follows from the code of the error (MCP 2026-07-28,
/// "Streamable HTTP"), for every kind of upstream. Otherwise it is `status`.
fn status_of(era: Era, status: StatusCode, answer: &AnswerPeek) -> StatusCode {
    match (era, answer.code) {
        (Era::Stateless, Some(-32601)) => StatusCode::NOT_FOUND,
        (Era::Stateless, Some(-32022..=-32020)) => StatusCode::BAD_REQUEST,
        _ => status,
    }
}

fn text_of(headers: &http::HeaderMap, name: &http::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
