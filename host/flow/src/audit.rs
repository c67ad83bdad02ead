//! One audit record for each message, including refused ones. It contains no secret, because this module has no access
//! to credentials.

mod arguments;
mod destination;
mod entry;
mod facts;
mod feed;
mod stages;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;

use super::decision::{DecisionId, DecisionIds};
use super::dpop::ProofError;
use super::durations::{AnswerPeek, ErrorType, OperationClock, OperationTimes, StreamedOperation};
use super::reject::Rejection;
use super::request::{Request, Route};
use super::stage_result::FallbackUse;
use super::token_issue::IssueRecord;
use super::traces::{OperationFacts, Trace, TraceHeaders, Tracer};
use crate::authenticate::identity::Caller;
use crate::limit_hit::LimitHit;
use crate::siblings::Siblings;
use crate::subject::Allowance;
use arguments::ArgumentFacts;
use destination::RecordPlace;
use entry::UnsettledEntry;
use facts::AuditFacts;
use stages::StageClock;
use witgate_base::party::Principal;
use witgate_credentials::fault::OutboundProblem;
use witgate_credentials::upstream_credential::Delegation;
use witgate_message::call::{Access, Target};
use witgate_message::credential::Credentials;
use witgate_message::fault::MessageFault;
use witgate_message::method::NAMES;
use witgate_plugin::Scheme;
use witgate_policy::answer::Failed;
use witgate_runtime::metrics::Metrics;

pub use arguments::ShownArguments;
pub use destination::Audit;
pub use entry::EntryLog;
pub use feed::{DecisionFeed, DecisionFilter, WatchedDecisions};

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// The message was forwarded and answered.
    Allowed,
    /// The message was invalid.
    Malformed,
    /// The message had no credential.
    NoCredential,
    /// The credential was invalid.
    Refused,
    /// The caller may not do this.
    Denied,
    /// A policy could not decide.
    Failed,
    /// The sender has failed to authenticate too often.
    LockedOut,
    /// The caller called too often.
    RateLimited,
    /// The message was allowed, and the upstream failed.
    UpstreamFailed,
    /// The caller disconnected.
    Cancelled,
    /// The caller's right ended after the message was allowed.
    Ended,
}

impl AuditOutcome {
    const ALL: [Self; 11] = [
        Self::Allowed,
        Self::Malformed,
        Self::NoCredential,
        Self::Refused,
        Self::Denied,
        Self::Failed,
        Self::LockedOut,
        Self::RateLimited,
        Self::UpstreamFailed,
        Self::Cancelled,
        Self::Ended,
    ];

    /// The names of all outcomes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }

    /// The name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Malformed => "malformed",
            Self::NoCredential => "no-credential",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::LockedOut => "locked-out",
            Self::RateLimited => "rate-limited",
            Self::UpstreamFailed => "upstream-failed",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended",
        }
    }

    /// The outcome of a message that is refused.
    pub fn of(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Malformed(_) | Rejection::BodyTimeout | Rejection::SessionRequired => Self::Malformed,
            Rejection::NoCredential => Self::NoCredential,
            Rejection::Refused { .. } | Rejection::Proof(ProofError::Bad { .. }) => Self::Refused,
            Rejection::LockedOut { .. } => Self::LockedOut,
            Rejection::Denied { .. }
            | Rejection::DeniedPeer
            | Rejection::TaskNotFound
            | Rejection::SessionNotFound
            | Rejection::UnsendableIdentity(_) => Self::Denied,
            Rejection::Outbound(fault) => match fault.problem {
                OutboundProblem::Missing(_)
                | OutboundProblem::NoCallerToken
                | OutboundProblem::Ended
                | OutboundProblem::NotConnected
                | OutboundProblem::NoPrincipal
                | OutboundProblem::ConnectDenied { .. }
                | OutboundProblem::StateMismatch => Self::Denied,
                OutboundProblem::Rejected
                | OutboundProblem::Refused { .. }
                | OutboundProblem::Unreachable { .. } => Self::UpstreamFailed,
            },
            Rejection::Failed(_) | Rejection::Unrecorded => Self::Failed,
            Rejection::RateLimited { .. }
            | Rejection::LimitReached(_)
            | Rejection::Proof(ProofError::Full { .. })
            | Rejection::Full { .. }
            | Rejection::TooManyBodies
            | Rejection::TooManyAnswers
            | Rejection::TooManyConnections => Self::RateLimited,
            Rejection::Upstream { .. } => Self::UpstreamFailed,
        }
    }
}

/// The schemes of credentials, with their names in metrics.
const SCHEMES: [(Scheme, &str); 6] = [
    (Scheme::Bearer, "bearer"),
    (Scheme::Header, "header"),
    (Scheme::Basic, "basic"),
    (Scheme::Dpop, "dpop"),
    (Scheme::Certificate, "certificate"),
    (Scheme::Argument, "argument"),
];

/// The counters and durations of one upstream, and the destination of its records.
#[derive(Debug)]
pub struct Outcomes {
    counters: Vec<(AuditOutcome, Counter)>,
    /// Known callers by the scheme of their credential.
    schemes: Vec<(Scheme, Counter)>,
    times: Arc<OperationTimes>,
    audit: Audit,
    ids: DecisionIds,
}

impl Outcomes {
    /// Counters for `upstream`, and its records in the log of the program.
    pub fn new(metrics: &Metrics, upstream: &str) -> Self {
        let counter = |outcome: AuditOutcome| (outcome, metrics.messages(upstream, outcome.name()));
        let counters = AuditOutcome::ALL.into_iter().map(counter).collect();
        let schemes =
            SCHEMES.into_iter().map(|(scheme, name)| (scheme, metrics.authentications(upstream, name)));
        let times = Arc::new(OperationTimes::new(metrics, upstream));
        Self {
            counters,
            schemes: schemes.collect(),
            times,
            audit: Audit::default(),
            ids: DecisionIds::default(),
        }
    }

    /// The same, with the records in `audit`.
    pub(super) fn recorded_in(&self, audit: Audit) -> Self {
        let (counters, schemes, times) =
            (self.counters.clone(), self.schemes.clone(), Arc::clone(&self.times));
        Self { counters, schemes, times, audit, ids: DecisionIds::default() }
    }

    /// Counts a message whose caller is known.
    pub(super) fn count_authentication(&self, caller: &Caller) {
        let counter = self.schemes.iter().find(|(scheme, _)| Some(*scheme) == caller.scheme());
        if let Some((_, counter)) = counter {
            counter.inc();
        }
    }

    fn count(&self, outcome: AuditOutcome) {
        if let Some((_, counter)) = self.counters.iter().find(|(counted, _)| *counted == outcome) {
            counter.inc();
        }
    }
}

/// The audit record of a message while it is handled. If it is dropped before `close`, it says that the caller
/// disconnected. It then does not name a fallback of an unfinished stage.
#[derive(Debug)]
pub struct Record<'a> {
    outcomes: &'a Outcomes,
    route: &'a Route,
    started: Instant,
    closed: bool,
    /// True if an operator watched when the record began.
    is_watched: bool,
    place: RecordPlace,
    /// The arguments, if there is an audit log.
    arguments: Option<Box<ArgumentFacts>>,
    /// The times of the stages, if there is an audit log, or an operator watches.
    stages: Option<StageClock>,
    /// The status of the upstream's answer.
    status: Option<StatusCode>,
    /// The entry that has to be durable before the answer.
    unsettled: Option<UnsettledEntry>,
    /// The times of the operation. None: the record continues that of an operation, or its answer is a stream, which
    /// has the clock now.
    pub(super) clock: Option<OperationClock>,
    /// The trace of the operation. None: nobody will see it, or its answer is a stream, which has the trace now.
    pub(super) trace: Option<Box<Trace>>,
    /// The id of the message in the audit.
    pub decision: DecisionId,
    /// The generation that decides about it.
    pub generation: u64,
    /// The sender, if the transport knows their address.
    pub peer: Option<IpAddr>,
    /// The message, after it has been parsed.
    pub request: Option<Arc<Request>>,
    /// True if the message has been searched, and what the record shows of it contains no credential. Otherwise the
    /// record leaves out the targets, and a method that the protocol does not have.
    pub is_clean: bool,
    /// The caller, after authentication.
    pub caller: Option<Arc<Caller>>,
    /// The principal, if there is no caller.
    pub principal: Option<Principal>,
    /// The policy that has allowed the message, after authorization.
    pub(super) allowance: Option<Allowance>,
    /// The credential with which the message goes to the upstream, after authorization.
    pub delegation: Option<Delegation>,
    /// The token that the caller has asked for and gets.
    pub issued: Option<Arc<IssueRecord>>,
    /// The first fallback of the finished stages.
    pub fallback: FallbackUse,
    /// The other messages that the client's message has become. None: it is one message.
    pub(super) siblings: Option<Arc<Siblings>>,
}

impl<'a> Record<'a> {
    /// Starts a record.
    pub fn begin(outcomes: &'a Outcomes, route: &'a Route, generation: u64) -> Self {
        let started = Instant::now();
        Self {
            outcomes,
            route,
            started,
            closed: false,
            is_watched: outcomes.audit.is_watched(),
            place: RecordPlace::default(),
            arguments: None,
            stages: None,
            status: None,
            unsettled: None,
            clock: Some(OperationClock::start(started)),
            trace: None,
            decision: outcomes.ids.next(),
            generation,
            peer: None,
            request: None,
            is_clean: false,
            caller: None,
            principal: None,
            allowance: None,
            delegation: None,
            issued: None,
            fallback: FallbackUse::default(),
            siblings: None,
        }
    }

    /// Ensures that the record can be written when it is closed, if the configuration requires a record of every call.
    ///
    /// # Errors
    /// `Unrecorded`.
    pub fn reserve(&mut self) -> Result<(), Rejection> {
        self.place = self.outcomes.audit.reserve()?;
        let is_read = self.is_watched || self.outcomes.audit.log().is_some();
        self.stages = is_read.then(StageClock::start);
        Ok(())
    }

    /// Begins the trace of the request, if somebody will see it.
    pub(super) fn trace(&mut self, tracer: Option<&Arc<Tracer>>, request: &Request) {
        self.trace = tracer.and_then(|tracer| tracer.begin(request, self.generation, self.started));
        if self.trace.is_some() || self.is_watched {
            request.hooks.get_or_init(Arc::default);
        }
    }

    /// Notes that a stage has ended now.
    pub(super) fn mark(&mut self, stage: &'static str) {
        if let Some(trace) = &mut self.trace {
            trace.mark(stage);
        }
        if let Some(stages) = &mut self.stages {
            stages.mark(stage);
        }
    }

    /// The trace context for the upstream.
    pub(super) fn trace_headers(&self) -> Option<TraceHeaders> {
        self.trace.as_ref()?.headers(self.is_known())
    }

    /// True if the caller has shown a valid credential.
    fn is_known(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| !caller.is_anonymous())
    }

    /// Notes that the message goes to the upstream now.
    pub(super) fn send(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.send();
        }
    }

    /// Notes that the upstream's answer begins now, or that there is none.
    pub(super) fn answered<T>(&mut self, answer: &Result<T, Rejection>) {
        if let Some(clock) = &mut self.clock {
            clock.answered(answer, self.outcomes.times.health());
            if let (Some(stages), (Some(sent), Some(answered))) = (&mut self.stages, clock.upstream_times()) {
                stages.upstream(sent, answered);
            }
        }
        if let Some(trace) = &mut self.trace {
            trace.resume();
        }
    }

    /// Notes the status of the upstream's answer, and whether the answer is an error.
    pub(super) fn note_answer(&mut self, status: StatusCode, answer: &AnswerPeek) {
        self.status = Some(status);
        if let Some(clock) = &mut self.clock {
            clock.note(answer.error());
        }
    }

    /// The operation, which goes on with the stream of its answer.
    pub(super) fn stream(&mut self) -> Option<StreamedOperation> {
        let (clock, request) = (self.clock.take()?, self.request.as_ref()?);
        let trace = self.trace.take().map(|trace| (trace, self.is_known()));
        Some(StreamedOperation::begin(&self.outcomes.times, clock, request, trace))
    }

    /// Notes the arguments of `request`, if there is an audit log. `credentials` are those of a caller, which the record
    /// must not show. None: the sender is not authenticated, and no value of theirs is looked at.
    pub async fn note_arguments(&mut self, request: &Arc<Request>, credentials: Option<&Credentials>) {
        if let Some(log) = self.outcomes.audit.log() {
            self.arguments = log.arguments(request, credentials).await;
        }
    }

    /// Writes the record.
    pub fn close<T>(mut self, result: &Result<T, Rejection>) -> Self {
        match result {
            Ok(_) => self.write(AuditOutcome::Allowed, &OutcomeCause::default(), None),
            Err(rejection) => self.write_rejection(rejection),
        }
        if matches!(result, Err(Rejection::Unrecorded)) {
            // Nothing was done, and the answer says that it may not be recorded.
            self.unsettled = None;
        }
        self
    }

    /// Waits until the record is durable, if the configuration requires that before the answer.
    ///
    /// # Errors
    /// `Unrecorded` in place of the answer if that takes too long.
    pub async fn settle<T>(&mut self, result: Result<T, Rejection>) -> Result<T, Rejection> {
        match self.unsettled.take() {
            // In a box, because most calls do not wait.
            Some(entry) => Box::pin(entry.settle()).await.and(result),
            None => result,
        }
    }

    /// Writes the record of a message that was refused before any decision.
    pub fn refuse(mut self, rejection: &Rejection) {
        self.write_rejection(rejection);
    }

    /// Writes nothing: the parts of the message have records of their own.
    pub(super) fn leave_to_parts(mut self) {
        self.closed = true;
    }

    /// Writes the end of a message that was recorded as allowed.
    pub fn end(mut self, rejection: &Rejection) {
        self.write(AuditOutcome::Ended, &OutcomeCause::of(rejection), None);
    }

    fn write_rejection(&mut self, rejection: &Rejection) {
        let error = ErrorType::of(rejection);
        self.write(AuditOutcome::of(rejection), &OutcomeCause::of(rejection), Some(error));
    }

    fn write(&mut self, outcome: AuditOutcome, cause: &OutcomeCause<'_>, error: Option<ErrorType>) {
        self.closed = true;
        let (ended, is_known) = (Instant::now(), self.is_known());
        self.outcomes.count(outcome);
        let request = self.request.as_deref();
        let caller = self.caller.as_deref();
        let principal = self.principal.as_ref();
        let facts = AuditFacts {
            outcome: outcome.name(),
            decision: self.decision,
            upstream: &self.route.upstream,
            generation: self.generation,
            method: request.map(|request| request.call.method()).filter(|method| self.may_show(method)),
            targets: request.filter(|_| self.is_clean).map_or(&[], |request| targets(request.call.access())),
            subject: caller
                .map(|caller| caller.identity().subject.as_str())
                .or(principal.map(Principal::subject)),
            issuer: match caller {
                Some(caller) => caller.identity().issuer.as_deref(),
                None => principal.and_then(Principal::issuer),
            },
            proven_by: caller.map(|caller| &**caller.proven_by()).or(principal.map(Principal::proven_by)),
            policy: cause.policy,
            allowance: self.allowance.as_ref().filter(|_| outcome == AuditOutcome::Allowed),
            delegation: self.delegation.as_ref().or(cause.delegation.as_ref()),
            issued: self.issued.as_deref(),
            limit: cause.limit,
            fallback: self.fallback.policy(),
            reason: cause.reason,
            detail: cause.detail,
            era: request.map(|request| request.era),
            transport: request.map(|request| request.transport),
            arguments: self.arguments.as_deref(),
            upstream_status: self.status.map(|status| status.as_u16()),
            upstream_error: self.clock.as_ref().and_then(OperationClock::error).map(ErrorType::name),
            stages: self.stages.as_ref().and_then(StageClock::times),
            peer: self.peer.or(request.and_then(|request| request.peer)),
            micros: u64::try_from((ended - self.started).as_micros()).unwrap_or(u64::MAX),
        };
        if self.is_watched {
            self.outcomes.audit.show(&facts, request);
        }
        self.unsettled = self.outcomes.audit.write(&facts, std::mem::take(&mut self.place));
        if let Some(clock) = self.clock.take() {
            self.outcomes.times.observe(clock, request, self.decision, ended, error);
            if let (Some(trace), Some(request)) = (self.trace.take(), request) {
                let (sent, answered) = clock.upstream_times();
                trace.end(&OperationFacts {
                    request,
                    is_clean: self.is_clean,
                    is_known,
                    started: clock.started(),
                    sent,
                    answered,
                    ended,
                    outcome: outcome.name(),
                    reason: cause.reason,
                    policy: cause.policy,
                    error: error.or(clock.error()).map(ErrorType::name),
                    upstream_error: clock.error().map(ErrorType::name),
                });
            }
        }
    }
}

impl Record<'_> {
    /// True if `method` contains no credential.
    fn may_show(&self, method: &str) -> bool {
        self.is_clean || NAMES.contains(&method)
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.closed {
            self.write(AuditOutcome::Cancelled, &OutcomeCause::default(), Some(ErrorType::CANCELLED));
        }
    }
}

/// The targets of a call.
pub(super) fn targets(access: &Access) -> &[Target] {
    match access {
        Access::Open => &[],
        Access::Target(target) => std::slice::from_ref(target),
        Access::Targets(targets) => targets,
    }
}

/// The reason and details of an outcome, for the operator.
#[derive(Default)]
pub(crate) struct OutcomeCause<'a> {
    pub(crate) policy: Option<&'a str>,
    limit: Option<&'a LimitHit>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) detail: Option<&'a str>,
    /// The credential for the upstream that the message lacks.
    delegation: Option<Delegation>,
}

impl<'a> OutcomeCause<'a> {
    pub(crate) fn of(rejection: &'a Rejection) -> Self {
        let (policy, reason, detail) = match rejection {
            Rejection::Refused { policy, reason, detail } => {
                (policy.as_deref(), reason.as_str(), detail.as_deref())
            }
            Rejection::Proof(ProofError::Bad { fault, .. }) => (None, fault.reason(), Some(fault.detail())),
            Rejection::Proof(ProofError::Full { .. }) => (None, "rate-limited", None),
            Rejection::Denied { policy, denial } => {
                (policy.as_deref(), denial.reason.as_str(), denial.detail.as_deref())
            }
            Rejection::Failed(Failed { policy, failure, detail, .. }) => {
                (Some(&**policy), failure.reason(), Some(detail.as_str()))
            }
            Rejection::Upstream { fault, message } => (None, fault.reason(), Some(message.as_str())),
            Rejection::Malformed(malformed) => {
                let (reason, detail) = of_malformed(malformed);
                (None, reason, detail)
            }
            Rejection::BodyTimeout => (None, "body-timeout", None),
            Rejection::TooManyBodies => (None, "too-many-bodies", None),
            Rejection::TooManyAnswers => (None, "too-many-answers", None),
            Rejection::TooManyConnections => (None, "too-many-connections", None),
            Rejection::NoCredential => (None, "no-credential", None),
            Rejection::TaskNotFound => (None, "task-not-found", None),
            Rejection::SessionRequired => (None, "session-required", None),
            Rejection::SessionNotFound => (None, "session-not-found", None),
            Rejection::RateLimited { .. } | Rejection::LimitReached(_) => (None, "rate-limited", None),
            Rejection::LockedOut { .. } => (None, "locked-out", None),
            Rejection::DeniedPeer => (None, "denied-peer", None),
            Rejection::Unrecorded => (None, "audit-unavailable", None),
            Rejection::Full { what, .. } => (None, "rate-limited", Some(*what)),
            Rejection::UnsendableIdentity(why) => (None, "identity-untold", Some(*why)),
            Rejection::Outbound(fault) => (None, fault.reason(), fault.problem.detail()),
        };
        let limit = match rejection {
            Rejection::LimitReached(hit) => Some(hit),
            _ => None,
        };
        let delegation = match rejection {
            Rejection::Outbound(fault) => Some(Delegation::of(fault)),
            _ => None,
        };
        Self { policy, limit, reason: Some(reason), detail, delegation }
    }
}

/// The reason and the detail of a malformed message, for its record.
fn of_malformed(malformed: &MessageFault) -> (&'static str, Option<&str>) {
    match malformed {
        MessageFault::Parse(what)
        | MessageFault::InvalidRequest(what)
        | MessageFault::InvalidParams(what)
        | MessageFault::HeaderMismatch(what)
        | MessageFault::BadCredential(what) => ("malformed", Some(what)),
        MessageFault::UnsupportedVersion { .. } => ("unsupported-version", None),
        MessageFault::MissingExtension(_) => ("missing-extension", None),
        MessageFault::UnknownMethod(_) => ("unknown-method", None),
        MessageFault::TooLarge => ("too-large", None),
        MessageFault::UnsupportedMediaType => ("unsupported-media-type", None),
        MessageFault::NotAcceptable => ("not-acceptable", None),
        MessageFault::MethodNotAllowed => ("method-not-allowed", None),
        MessageFault::ForbiddenOrigin => ("forbidden-origin", None),
        MessageFault::ForbiddenHost => ("forbidden-host", None),
        MessageFault::CredentialInArguments => ("credential-in-arguments", None),
    }
}
