//! Traces of operations (OpenTelemetry): a server span, a client span, and a span for each stage. Spans are made when an
//! operation has ended, and only if somebody will see them.

mod parent;
mod spans;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use super::request::Request;

pub(super) use spans::OperationFacts;

/// The destination of spans, and the share of traces that are recorded.
#[derive(Debug)]
pub struct Tracer {
    spans: mpsc::Sender<SpanData>,
    lost: Counter,
    /// The largest random number whose trace is recorded. None: no trace is.
    largest: Option<u64>,
}

/// The tracer in use, which a reload can replace.
#[derive(Debug, Default)]
pub struct LiveTracer(ArcSwapOption<Tracer>);

impl LiveTracer {
    /// Replaces the tracer. None: there are no traces.
    pub fn set(&self, tracer: Option<Arc<Tracer>>) {
        self.0.store(tracer);
    }

    /// The tracer at this moment.
    pub(super) fn current(&self) -> Option<Arc<Tracer>> {
        self.0.load_full()
    }
}

/// The trace of one operation, while it lasts.
#[derive(Debug)]
pub(super) struct Trace {
    tracer: Arc<Tracer>,
    generation: u64,
    trace_id: TraceId,
    server: SpanId,
    client: SpanId,
    /// The context in `_meta`.
    parent: Option<SpanContext>,
    /// The context in the HTTP headers.
    link: Option<SpanContext>,
    /// True if Witgate records this trace by chance, whatever the parent says.
    is_chosen: bool,
    stages: Vec<StageTime>,
    last: Instant,
}

/// The time of one stage.
#[derive(Debug)]
struct StageTime {
    name: &'static str,
    from: Instant,
    to: Instant,
}

/// The trace context for an upstream over HTTP (W3C Trace Context).
#[derive(Clone, Debug)]
pub struct TraceHeaders {
    /// `traceparent`: Witgate's client span.
    pub parent: HeaderValue,
    /// `tracestate` of the caller's context.
    pub state: Option<HeaderValue>,
}

impl Tracer {
    /// A tracer whose spans go to `spans`; those without room are counted in `lost`. `share` is the share of operations
    /// without a parent that are recorded, from 0 to 1.
    pub fn new(share: f64, spans: mpsc::Sender<SpanData>, lost: Counter) -> Self {
        // A float becomes the nearest integer of its range.
        let largest = (share > 0.0).then_some((share * u64::MAX as f64) as u64);
        Self { spans, lost, largest }
    }

    /// The trace of a request that has been parsed. None: nobody will see it.
    pub(super) fn begin(
        self: &Arc<Self>,
        request: &Request,
        generation: u64,
        started: Instant,
    ) -> Option<Box<Trace>> {
        let parent = request.call.meta().and_then(parent::of_meta);
        let server = RandomIdGenerator::default().new_span_id();
        let is_chosen = self.largest.is_some_and(|largest| u64::from_be_bytes(server.to_bytes()) <= largest);
        if !is_chosen && !parent.as_ref().is_some_and(SpanContext::is_sampled) {
            return None;
        }
        let trace_id = parent
            .as_ref()
            .map_or_else(|| RandomIdGenerator::default().new_trace_id(), SpanContext::trace_id);
        let mut trace = Trace {
            tracer: Arc::clone(self),
            generation,
            trace_id,
            server,
            client: RandomIdGenerator::default().new_span_id(),
            link: parent::of_headers(&request.headers).filter(|link| Some(link) != parent.as_ref()),
            parent,
            is_chosen,
            stages: Vec::with_capacity(4),
            last: started,
        };
        trace.mark("parse");
        Some(Box::new(trace))
    }

    fn send(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.lost.inc();
        }
    }
}

impl Trace {
    /// Notes that a stage has ended now.
    pub(super) fn mark(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.stages.push(StageTime { name: stage, from: self.last, to: now });
        self.last = now;
    }

    /// Notes that the next stage begins now.
    pub(super) fn resume(&mut self) {
        self.last = Instant::now();
    }

    /// True if the trace is recorded. The parent decides for callers who are known, as usual. Everybody else could
    /// otherwise have all of their requests recorded.
    fn is_recorded(&self, is_known: bool) -> bool {
        match &self.parent {
            Some(parent) if is_known => parent.is_sampled(),
            _ => self.is_chosen,
        }
    }

    /// The context for the upstream. `is_known` says that the caller has shown a valid credential.
    pub(super) fn headers(&self, is_known: bool) -> Option<TraceHeaders> {
        let text = format!("00-{}-{}-01", self.trace_id, self.client);
        let parent = HeaderValue::try_from(text).ok().filter(|_| self.is_recorded(is_known))?;
        let state = self.parent.as_ref().map(|parent| parent.trace_state().header());
        let state =
            state.filter(|state| !state.is_empty()).and_then(|state| HeaderValue::try_from(state).ok());
        Some(TraceHeaders { parent, state })
    }
}

#[cfg(test)]
mod tests;
