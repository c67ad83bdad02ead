//! The metrics of this process, in the text format of OpenMetrics. docs/telemetry.md lists them.

pub mod api_meter;
pub mod histogram;
pub mod histogram_family;
pub mod session_meter;
pub mod upstream_health;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use api_meter::{ApiFamily, ApiMeter};
use histogram::{OPERATION_BOUNDS, OWN_BOUNDS};
use histogram_family::HistogramFamily;
use session_meter::SessionMeter;
use upstream_health::UpstreamHealth;

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    messages: Family<MessageLabels, Counter>,
    authentications: Family<SchemeLabels, Counter>,
    sessions: Family<UpstreamLabels, Gauge>,
    children: Family<UpstreamLabels, Gauge>,
    apis: ApiFamily,
    spans: Family<SpanLabels, Counter>,
    definitions: Family<DefinitionLabels, Counter>,
    durations: Durations,
    upstreams: Arc<UpstreamTable>,
}

/// The families of histograms of the flow.
#[derive(Debug)]
pub struct Durations {
    /// `mcp.server.operation.duration`: operations, as callers see them.
    pub server: Arc<HistogramFamily>,
    /// `mcp.client.operation.duration`: operations, as upstreams answer them.
    pub client: Arc<HistogramFamily>,
    /// `witgate.gateway.overhead`: the part of an operation that Witgate needs.
    pub overhead: Arc<HistogramFamily>,
    /// `mcp.server.session.duration`: sessions of clients.
    server_sessions: Arc<HistogramFamily>,
    /// `mcp.client.session.duration`: sessions with upstreams.
    client_sessions: Arc<HistogramFamily>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MessageLabels {
    upstream: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SchemeLabels {
    upstream: String,
    scheme: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DefinitionLabels {
    upstream: String,
    change: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SpanLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("witgate");
        let (messages, sessions, children) = (Family::default(), Family::default(), Family::default());
        registry.register("messages", "Messages of clients by outcome", messages.clone());
        let authentications = Family::default();
        let help = "Messages of known callers by the scheme of their credential";
        registry.register("authentications", help, authentications.clone());
        registry.register("sessions", "Open sessions of clients", sessions.clone());
        let help = "Servers that Witgate runs or keeps connected for its callers";
        registry.register("children", help, children.clone());
        let apis = ApiFamily::default();
        registry.register("api_requests", "Requests of child processes to APIs", apis.clone());
        let spans = Family::default();
        registry.register("spans", "Spans of traces by outcome", spans.clone());
        ["sent", "lost"].iter().for_each(|outcome| drop(spans.get_or_create(&SpanLabels { outcome })));
        let definitions = Family::default();
        let help = "Definitions of tools, prompts and resources that are not approved";
        registry.register("definition_findings", help, definitions.clone());
        let upstreams = Arc::<UpstreamTable>::default();
        registry.register_collector(Box::new(HealthCollector(Arc::clone(&upstreams))));
        let durations = Durations::default();
        Self {
            registry: Mutex::new(registry),
            messages,
            authentications,
            sessions,
            children,
            apis,
            spans,
            definitions,
            durations,
            upstreams,
        }
    }
}

impl Default for Durations {
    fn default() -> Self {
        let operations = |name, help| HistogramFamily::new(name, help, OPERATION_BOUNDS);
        Self {
            server: operations("mcp_server_operation_duration_seconds", "Duration of operations for callers"),
            client: operations(
                "mcp_client_operation_duration_seconds",
                "Duration of operations at upstreams",
            ),
            overhead: HistogramFamily::new(
                "witgate_gateway_overhead_seconds",
                "Duration of operations without the time in which Witgate waits for the upstream",
                OWN_BOUNDS,
            ),
            server_sessions: operations(
                "mcp_server_session_duration_seconds",
                "Duration of sessions of clients",
            ),
            client_sessions: operations(
                "mcp_client_session_duration_seconds",
                "Duration of sessions with upstreams",
            ),
        }
    }
}

impl Metrics {
    /// The counter of messages to one upstream with one outcome. Callers keep it, so that counting is one addition.
    pub fn messages(&self, upstream: &str, outcome: &'static str) -> Counter {
        self.messages.get_or_create_owned(&MessageLabels { upstream: upstream.to_owned(), outcome })
    }

    /// The counter of messages to one upstream whose callers are known by a credential of one scheme.
    pub fn authentications(&self, upstream: &str, scheme: &'static str) -> Counter {
        self.authentications.get_or_create_owned(&SchemeLabels { upstream: upstream.to_owned(), scheme })
    }

    /// The meter of the sessions of clients with one upstream. With `is_passed_on`, each is also a session with the
    /// upstream.
    pub fn sessions(&self, upstream: &str, is_passed_on: bool) -> SessionMeter {
        let open = self.sessions.get_or_create_owned(&UpstreamLabels { upstream: upstream.to_owned() });
        let Durations { server_sessions, client_sessions, .. } = &self.durations;
        let families = [Some(server_sessions), Some(client_sessions).filter(|_| is_passed_on)];
        let took = families.into_iter().flatten().map(|family| family.with(&[("upstream", upstream)]));
        SessionMeter { open, took: took.collect() }
    }

    /// The meter of the children of one upstream. Each is a session with the upstream.
    pub fn children(&self, upstream: &str) -> SessionMeter {
        let open = self.children.get_or_create_owned(&UpstreamLabels { upstream: upstream.to_owned() });
        SessionMeter { open, ..self.bridged_sessions(upstream) }
    }

    /// The meter of the sessions that Witgate itself opens with one upstream. Their number is not exported.
    pub fn bridged_sessions(&self, upstream: &str) -> SessionMeter {
        let took = self.durations.client_sessions.with(&[("upstream", upstream)]);
        SessionMeter { open: Gauge::default(), took: vec![took] }
    }

    /// The counters of the requests of one upstream's processes to APIs.
    pub fn api_requests(&self, upstream: &str) -> ApiMeter {
        ApiMeter::new(upstream, &self.apis)
    }

    /// The counter of spans with one outcome: `sent` or `lost`.
    pub fn spans(&self, outcome: &'static str) -> Counter {
        self.spans.get_or_create_owned(&SpanLabels { outcome })
    }

    /// The counter of definitions at one upstream that are not approved, by the kind of change.
    pub fn definition_findings(&self, upstream: &str, change: &'static str) -> Counter {
        self.definitions.get_or_create_owned(&DefinitionLabels { upstream: upstream.to_owned(), change })
    }

    /// The histograms of durations.
    pub fn durations(&self) -> &Durations {
        &self.durations
    }

    /// The health of one upstream. Callers keep it.
    pub fn health(&self, upstream: &str) -> Arc<UpstreamHealth> {
        Arc::clone(self.upstreams.0.lock().entry(upstream.to_owned()).or_default())
    }

    /// The health of all upstreams, by name.
    pub fn upstreams(&self) -> BTreeMap<String, Arc<UpstreamHealth>> {
        self.upstreams.0.lock().clone()
    }

    /// Adds further metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// The text with all metrics.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry.lock());
        let Durations { server, client, overhead, server_sessions, client_sessions } = &self.durations;
        let families = [server, client, overhead, server_sessions, client_sessions];
        families.into_iter().for_each(|family| family.write(&mut text));
        let _ = encode_eof(&mut text);
        text
    }
}

/// The health of the upstreams, by name.
#[derive(Debug, Default)]
struct UpstreamTable(Mutex<BTreeMap<String, Arc<UpstreamHealth>>>);

#[derive(Debug)]
struct HealthCollector(Arc<UpstreamTable>);

impl Collector for HealthCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Calls to the upstream that it has not answered since its last answer";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("upstream_failures_in_a_row", help, None, kind)?;
        for (upstream, health) in &*self.0.0.lock() {
            let failures = ConstGauge::new(i64::try_from(health.failures_in_a_row()).unwrap_or(i64::MAX));
            failures.encode(family.encode_family(&[("upstream", upstream.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Metrics;

    #[test]
    fn a_label_value_cannot_escape_its_quotes() {
        let metrics = Metrics::default();
        metrics.messages("a\"} 1\nwitgate_forged{b=\"\\", "ok").inc();
        let text = metrics.render();
        let expected = r#"upstream="a\"} 1\nwitgate_forged{b=\"\\",outcome="ok"} 1"#;
        assert!(text.contains(expected) && !text.contains("\nwitgate_forged"), "{text}");
    }

    #[test]
    fn the_text_ends_once_after_the_histograms() {
        let metrics = Metrics::default();
        metrics.durations().server.with(&[("upstream", "u")]).observe(Duration::from_millis(1));
        metrics.health("u").failed("upstream-timeout");
        let text = metrics.render();
        assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        assert!(text.contains("mcp_server_operation_duration_seconds_count{upstream=\"u\"} 1\n"), "{text}");
        assert!(text.contains("witgate_upstream_failures_in_a_row{upstream=\"u\"} 1\n"), "{text}");
    }
}
