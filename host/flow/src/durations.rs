//! The durations of operations: for callers, at upstreams, and of Witgate's own part (OpenTelemetry, "Semantic
//! conventions for MCP"). The number of series does not depend on what callers send.

mod answer_error;
mod error_type;
mod streamed;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::decision::DecisionId;
use super::reject::Rejection;
use super::request::Request;
use witgate_message::call::{Call, MessageKind};
use witgate_message::method::NAMES;
use witgate_runtime::metrics::Metrics;
use witgate_runtime::metrics::histogram::{Exemplar, Histogram};
use witgate_runtime::metrics::histogram_family::HistogramFamily;
use witgate_runtime::metrics::upstream_health::UpstreamHealth;

pub(super) use answer_error::AnswerPeek;
pub(super) use error_type::ErrorType;
pub(super) use streamed::StreamedOperation;

/// The method of all messages whose method is unknown (OpenTelemetry's name for a value outside a list).
const OTHER: &str = "_OTHER";

/// Methods with a series of their own, and one for all others.
const METHODS: usize = NAMES.len() + 1;

/// The durations of the operations of one upstream.
#[derive(Debug)]
pub(crate) struct OperationTimes {
    server: MethodHistograms,
    client: MethodHistograms,
    overhead: Arc<Histogram>,
    health: Arc<UpstreamHealth>,
}

/// The histograms of one upstream, by method and error. Each exists from its first observation on.
#[derive(Debug)]
struct MethodHistograms {
    family: Arc<HistogramFamily>,
    upstream: Box<str>,
    all: Box<[OnceLock<Arc<Histogram>>]>,
}

/// The times of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct OperationClock {
    started: Instant,
    sent: Option<Instant>,
    answered: Option<Instant>,
    /// The error in the upstream's answer.
    error: Option<ErrorType>,
}

impl OperationClock {
    /// A clock that runs since `started`.
    pub(super) fn start(started: Instant) -> Self {
        Self { started, sent: None, answered: None, error: None }
    }

    /// Notes that the message goes to the upstream now.
    pub(super) fn send(&mut self) {
        self.sent = Some(Instant::now());
    }

    /// Notes that the upstream's answer begins now, or that there is none.
    pub(super) fn answered<T>(&mut self, answer: &Result<T, Rejection>, health: &UpstreamHealth) {
        self.answered = Some(Instant::now());
        match answer {
            Ok(_) => health.answered(),
            Err(rejection @ Rejection::Upstream { fault, .. }) => {
                self.error = Some(ErrorType::of(rejection));
                health.failed(fault.reason());
            }
            // The caller's right has ended, or the upstream refused the message as the caller's fault.
            Err(rejection) => self.error = Some(ErrorType::of(rejection)),
        }
    }

    /// The times at which the message went to the upstream, and at which its answer began.
    pub(super) fn upstream_times(&self) -> (Option<Instant>, Option<Instant>) {
        (self.sent, self.answered)
    }

    /// The time at which the message arrived.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The error of the upstream.
    pub(super) fn error(&self) -> Option<ErrorType> {
        self.error
    }

    /// Notes the error in an answer that was read.
    pub(super) fn note(&mut self, error: Option<ErrorType>) {
        self.error = error;
    }

    /// The time from the upstream's receipt of the message until its answer, which may end only at `ended`.
    fn at_upstream(&self, ended: Instant) -> Option<Duration> {
        Some(ended - self.sent?)
    }

    /// The time until `ended` in which Witgate did not wait for the upstream.
    fn own(&self, ended: Instant) -> Duration {
        match (self.sent, self.answered) {
            (None, _) => ended - self.started,
            (Some(sent), None) => sent - self.started,
            (Some(sent), Some(answered)) => (sent - self.started) + (ended - answered),
        }
    }
}

impl OperationTimes {
    /// The durations for `upstream`.
    pub(super) fn new(metrics: &Metrics, upstream: &str) -> Self {
        let durations = metrics.durations();
        Self {
            server: MethodHistograms::new(&durations.server, upstream),
            client: MethodHistograms::new(&durations.client, upstream),
            overhead: durations.overhead.with(&[("upstream", upstream)]),
            health: metrics.health(upstream),
        }
    }

    /// The health of the upstream.
    pub(super) fn health(&self) -> &UpstreamHealth {
        &self.health
    }

    /// Adds an operation that ended at `ended`. `error` is Witgate's own error, in place of the upstream's. Nothing is
    /// added for messages that are no operation.
    pub(super) fn observe(
        &self,
        clock: OperationClock,
        request: Option<&Request>,
        decision: DecisionId,
        ended: Instant,
        error: Option<ErrorType>,
    ) {
        let Some(method) = request.map_or(Some(NAMES.len()), |request| method(&request.call)) else { return };
        self.overhead.observe(clock.own(ended));
        let end = OperationEnd { method, decision, ended };
        if let Some(took) = clock.at_upstream(clock.answered.unwrap_or(ended)) {
            let error = clock.error.or(error.filter(|_| clock.answered.is_none()));
            self.client.observe(end, took, error);
        }
        self.server.observe(end, ended - clock.started, error.or(clock.error));
    }

    /// Adds the part of an operation before its answer, which is a stream.
    pub(super) fn observe_own(&self, clock: &OperationClock, ended: Instant) {
        self.overhead.observe(clock.own(ended));
    }

    /// Adds an operation whose answer was a stream that ended at `ended`.
    pub(super) fn observe_streamed(
        &self,
        clock: &OperationClock,
        request: &Request,
        ended: Instant,
        error: Option<ErrorType>,
    ) {
        let Some(method) = method(&request.call) else { return };
        let end = OperationEnd { method, decision: request.decision, ended };
        if let Some(took) = clock.at_upstream(ended) {
            self.client.observe(end, took, error);
        }
        self.server.observe(end, ended - clock.started, error);
    }
}

/// The place of a call's method among [`NAMES`], or the one after them. None: the message is no operation, but an
/// answer of the client, or a GET or DELETE.
fn method(call: &Call) -> Option<usize> {
    let is_operation = !matches!(call.kind(), MessageKind::Response { .. }) && !call.body().is_empty();
    is_operation.then(|| NAMES.iter().position(|name| *name == call.method()).unwrap_or(NAMES.len()))
}

/// The parts of an operation that are the same for the caller and the upstream.
#[derive(Clone, Copy)]
struct OperationEnd {
    method: usize,
    decision: DecisionId,
    ended: Instant,
}

impl MethodHistograms {
    fn new(family: &Arc<HistogramFamily>, upstream: &str) -> Self {
        let all = (0..METHODS * ErrorType::PLACES).map(|_| OnceLock::new()).collect();
        Self { family: Arc::clone(family), upstream: upstream.into(), all }
    }

    fn observe(&self, end: OperationEnd, took: Duration, error: Option<ErrorType>) {
        let OperationEnd { method, decision, ended } = end;
        let place = method * ErrorType::PLACES + ErrorType::place(error);
        if let Some(cell) = self.all.get(place) {
            let histogram = cell.get_or_init(|| self.histogram(method, error));
            histogram.observe_decision(Exemplar { decision: decision.number(), took, at: ended });
        }
    }

    fn histogram(&self, method: usize, error: Option<ErrorType>) -> Arc<Histogram> {
        let method = NAMES.get(method).copied().unwrap_or(OTHER);
        let labels = [("upstream", &*self.upstream), ("mcp_method_name", method)];
        match error {
            None => self.family.with(&labels),
            Some(error) => self.family.with(&[labels[0], labels[1], ("error_type", error.name())]),
        }
    }
}

#[cfg(test)]
mod tests;
