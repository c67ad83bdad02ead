//! The spans of an operation, with the attributes of OpenTelemetry's semantic conventions for MCP. They contain no
//! credential, no argument and no result.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use http::header::HOST;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use witgate_plugin::{TargetKind, Transport};

use super::{StageTime, Trace};
use crate::request::Request;
use witgate_base::clock;
use witgate_message::call::{Access, Call, Target};
use witgate_message::method::NAMES;
use witgate_services::subject::AnsweredHook;

/// The longest text in an attribute, in bytes. Longer ones are cut.
const LONGEST_TEXT: usize = 1024;

/// An operation that has ended.
pub(in super::super) struct OperationFacts<'a> {
    /// The message.
    pub(in super::super) request: &'a Request,
    /// True if nothing of the message that spans show contains a credential.
    pub(in super::super) is_clean: bool,
    /// True if the caller has shown a valid credential.
    pub(in super::super) is_known: bool,
    /// The time at which the message arrived.
    pub(in super::super) started: Instant,
    /// The time at which it went to the upstream.
    pub(in super::super) sent: Option<Instant>,
    /// The time at which the upstream's answer was there.
    pub(in super::super) answered: Option<Instant>,
    /// The time at which the operation ended.
    pub(in super::super) ended: Instant,
    /// The outcome in the audit.
    pub(in super::super) outcome: &'static str,
    /// The reason code.
    pub(in super::super) reason: Option<&'a str>,
    /// The policy that decided against it.
    pub(in super::super) policy: Option<&'a str>,
    /// The error for the caller.
    pub(in super::super) error: Option<&'static str>,
    /// The error of the upstream.
    pub(in super::super) upstream_error: Option<&'static str>,
}

impl Trace {
    /// Ends the trace, and sends its spans if it is recorded.
    pub(in super::super) fn end(mut self, facts: &OperationFacts<'_>) {
        if !self.is_recorded(facts.is_known) {
            return;
        }
        if !facts.is_clean {
            self.parent = self.parent.map(without_state);
        }
        let clock = SpanClock::now();
        let mut hooks = facts.request.hooks.get().map(|hooks| hooks.take()).unwrap_or_default();
        for stage in &self.stages {
            let (of_stage, others) = hooks.into_iter().partition(|hook| stage.contains(hook));
            hooks = others;
            self.send_stage(&clock, stage, of_stage);
        }
        if let Some(sent) = facts.sent {
            let until = facts.answered.unwrap_or(facts.ended);
            let ids = SpanIds { own: self.client, parent: Some(self.server) };
            let mut span = self.span(&clock, name(facts), SpanKind::Client, ids, (sent, until));
            span.attributes = common(facts);
            finish(&mut span, facts.upstream_error);
            self.tracer.send(span);
        }
        self.tracer.send(self.server_span(&clock, facts));
    }

    /// Sends the span of a stage, and of the hooks that were asked in it.
    fn send_stage(&self, clock: &SpanClock, stage: &StageTime, hooks: Vec<AnsweredHook>) {
        let own = RandomIdGenerator::default().new_span_id();
        let (name, ids) = (format!("witgate.{}", stage.name), SpanIds { own, parent: Some(self.server) });
        self.tracer.send(self.span(clock, name, SpanKind::Internal, ids, (stage.from, stage.to)));
        for hook in hooks {
            let ids = SpanIds { own: RandomIdGenerator::default().new_span_id(), parent: Some(own) };
            let name = format!("witgate.policy {}", hook.policy);
            let mut span = self.span(clock, name, SpanKind::Internal, ids, (hook.from, hook.to));
            span.attributes = vec![
                text("witgate.policy", &hook.policy),
                KeyValue::new("witgate.hook", hook.hook),
                KeyValue::new("witgate.form", hook.form),
                KeyValue::new("witgate.verdict", hook.verdict),
            ];
            self.tracer.send(span);
        }
    }

    fn server_span(&self, clock: &SpanClock, facts: &OperationFacts<'_>) -> SpanData {
        let parent = self.parent.as_ref().map(SpanContext::span_id);
        let ids = SpanIds { own: self.server, parent };
        let times = (facts.started, facts.ended);
        let mut span = self.span(clock, name(facts), SpanKind::Server, ids, times);
        span.parent_span_is_remote = parent.is_some();
        span.attributes = common(facts);
        span.attributes.extend(self.decision(facts));
        if let Some(link) = &self.link {
            span.links.links.push(Link::new(link.clone(), Vec::new(), 0));
        }
        finish(&mut span, facts.error);
        span
    }

    /// The attributes of the decision, for which there is no convention.
    fn decision(&self, facts: &OperationFacts<'_>) -> Vec<KeyValue> {
        let request = facts.request;
        let generation = i64::try_from(self.generation).unwrap_or(i64::MAX);
        let mut attributes = vec![
            KeyValue::new("witgate.decision", request.decision.to_string()),
            KeyValue::new("witgate.generation", generation),
            KeyValue::new("witgate.outcome", facts.outcome),
        ];
        attributes.extend(facts.reason.map(|reason| text("witgate.reason", reason)));
        attributes.extend(facts.policy.map(|policy| text("witgate.policy", policy)));
        attributes.extend(request.peer.map(|peer| KeyValue::new("client.address", peer.to_string())));
        attributes.extend(server_address(request).map(|host| text("server.address", host)));
        attributes
    }

    fn span(
        &self,
        clock: &SpanClock,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        ids: SpanIds,
        (from, to): (Instant, Instant),
    ) -> SpanData {
        let state =
            self.parent.as_ref().map_or_else(TraceState::default, |parent| parent.trace_state().clone());
        SpanData {
            span_context: SpanContext::new(self.trace_id, ids.own, TraceFlags::SAMPLED, false, state),
            parent_span_id: ids.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: clock.time(from),
            end_time: clock.time(to),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("witgate")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

impl StageTime {
    fn contains(&self, hook: &AnsweredHook) -> bool {
        self.from <= hook.from && hook.to <= self.to
    }
}

/// The ids of a span and its parent.
struct SpanIds {
    own: SpanId,
    parent: Option<SpanId>,
}

/// The time of day at one moment, for the conversion of others.
struct SpanClock {
    moment: Instant,
    time: SystemTime,
}

impl SpanClock {
    fn now() -> Self {
        Self { moment: Instant::now(), time: clock::system_time() }
    }

    fn time(&self, at: Instant) -> SystemTime {
        self.time - self.moment.saturating_duration_since(at)
    }
}

/// The same context, without the texts that its sender has chosen.
fn without_state(context: SpanContext) -> SpanContext {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    SpanContext::new(trace, span, flags, context.is_remote(), TraceState::default())
}

/// `METHOD TARGET`, with the name of a tool or prompt, but not with the URI of a resource. An unknown method has a
/// common name, because callers could make up any number.
fn name(facts: &OperationFacts<'_>) -> Cow<'static, str> {
    let method = known_method(facts.request);
    match facts.request.call.access() {
        Access::Target(Target { kind: TargetKind::Tool | TargetKind::Prompt, name }) if facts.is_clean => {
            format!("{method} {}", cut(name)).into()
        }
        _ => method.into(),
    }
}

fn known_method(request: &Request) -> &'static str {
    NAMES.iter().find(|name| **name == request.call.method()).copied().unwrap_or("_OTHER")
}

fn common(facts: &OperationFacts<'_>) -> Vec<KeyValue> {
    let (request, call) = (facts.request, &facts.request.call);
    let method = if facts.is_clean { call.method() } else { known_method(request) };
    let mut attributes = vec![
        KeyValue::new("jsonrpc.protocol.version", "2.0"),
        text("mcp.method.name", method),
        text("witgate.upstream", &request.route.upstream),
        KeyValue::new(
            "network.transport",
            match request.transport {
                Transport::Http => "tcp",
                Transport::Stdio => "pipe",
            },
        ),
    ];
    if request.transport == Transport::Http {
        attributes.push(KeyValue::new("network.protocol.name", "http"));
    }
    if facts.is_clean {
        attributes.extend(of_message(call));
    }
    attributes
}

/// The attributes whose texts the caller has chosen.
fn of_message(call: &Call) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    attributes.extend(call.id().map(|id| text("jsonrpc.request.id", id.trim_matches('"'))));
    attributes.extend(call.meta_version().map(|version| text("mcp.protocol.version", version)));
    match call.access() {
        Access::Target(Target { kind: TargetKind::Tool, name }) => {
            attributes.push(text("gen_ai.tool.name", name));
            attributes.push(KeyValue::new("gen_ai.operation.name", "execute_tool"));
        }
        Access::Target(Target { kind: TargetKind::Prompt, name }) => {
            attributes.push(text("gen_ai.prompt.name", name));
        }
        Access::Target(Target { kind: TargetKind::Resource, name }) => {
            attributes.push(text("mcp.resource.uri", name));
        }
        Access::Target(Target { kind: TargetKind::Method, .. }) | Access::Open | Access::Targets(_) => {}
    }
    attributes
}

/// The name by which the caller has addressed Witgate, without the port.
fn server_address(request: &Request) -> Option<&str> {
    let host = request.headers.get(HOST)?.to_str().ok()?;
    let end = host.rfind(':').filter(|colon| host.rfind(']').is_none_or(|bracket| bracket < *colon));
    host.get(..end.unwrap_or(host.len())).map(|name| name.trim_matches(['[', ']']))
}

fn finish(span: &mut SpanData, error: Option<&'static str>) {
    if let Some(error) = error {
        span.attributes.push(KeyValue::new("error.type", error));
        span.status = Status::error("");
    }
}

fn text(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, Value::from(cut(value).to_owned()))
}

/// The beginning of a text, up to the end of a character.
fn cut(text: &str) -> &str {
    let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}
