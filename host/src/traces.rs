//! Sends spans to a collector: OTLP over HTTP, as protobuf. The SDK's own processor would need a thread, so a task
//! collects the spans.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use witgate_config::Telemetry;
use witgate_flow::traces::Tracer;
use witgate_runtime::log::throttle::LogThrottle;
use witgate_runtime::metrics::Metrics;
use witgate_services::network::{Destination, Ways};

/// The maximum number of spans that wait: some megabytes.
const WAITING: usize = 8192;

/// The maximum number of spans in one request.
const BATCH: usize = 512;

/// The time for which spans are collected (OpenTelemetry's default is five seconds).
const COLLECTING: Duration = Duration::from_secs(1);

/// The time for a request that is running at the stop, and the time for the spans that still wait. Background tasks have
/// a second in all.
const LAST: Duration = Duration::from_millis(400);

/// The longest answer of a collector.
const LONGEST_ANSWER: usize = 64 << 10;

/// The default time limit of a request to the collector, as of OpenTelemetry.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);

/// The spans that wait, and the exporter to send them.
pub(crate) struct TraceExport {
    exporter: SpanExporter,
    spans: mpsc::Receiver<SpanData>,
    sent: Counter,
    lost: Counter,
    failing: LogThrottle,
}

/// The traces by these settings, and the task that sends them.
///
/// # Errors
/// If a variable of OpenTelemetry is invalid.
pub(crate) fn set_up(
    settings: &Telemetry,
    ways: &Arc<Ways>,
    metrics: &Metrics,
) -> Result<(Arc<Tracer>, TraceExport), ExporterBuildError> {
    let exporter = exporter(settings, ways)?;
    let (sender, spans) = mpsc::channel(WAITING);
    let [sent, lost] = ["sent", "lost"].map(|outcome| metrics.spans(outcome));
    let traces = Tracer::new(settings.share, sender, lost.clone());
    Ok((Arc::new(traces), TraceExport { exporter, spans, sent, lost, failing: LogThrottle::default() }))
}

fn exporter(settings: &Telemetry, ways: &Arc<Ways>) -> Result<SpanExporter, ExporterBuildError> {
    let timeout = settings.timeout.unwrap_or(LONGEST_REQUEST);
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(CollectorClient { ways: Arc::clone(ways), longest: timeout })
        .with_timeout(timeout)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(settings.traces_url.as_str())
        .build()?;
    exporter.set_resource(&resource(settings));
    Ok(exporter)
}

/// Sends a request without spans to the collector.
///
/// # Errors
/// With the reason why it is not taken.
pub(crate) async fn try_collector(settings: &Telemetry, ways: &Arc<Ways>) -> Result<(), String> {
    let exporter = exporter(settings, ways).map_err(|error| error.to_string())?;
    exporter.export(Vec::new()).await.map_err(|error| error.to_string())
}

/// The description of this process. The SDK reads `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(settings: &Telemetry) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match &settings.service_name {
        Some(name) => resource.with_service_name(name.clone()).build(),
        None if is_named(&Resource::builder().build()) => resource.build(),
        None => resource.with_service_name("witgate").build(),
    }
}

/// True if the environment names the service.
fn is_named(resource: &Resource) -> bool {
    let name = resource.get(&opentelemetry::Key::from_static_str("service.name"));
    name.is_some_and(|name| !name.as_str().starts_with("unknown_service"))
}

impl TraceExport {
    /// Sends spans until `ended`, and then those that still wait.
    pub(crate) async fn run(mut self, ended: CancellationToken) {
        while let Some(first) = ended.run_until_cancelled(self.spans.recv()).await.flatten() {
            let mut batch = vec![first];
            if self.spans.len() < BATCH {
                ended.run_until_cancelled(sleep(COLLECTING)).await;
            }
            self.fill(&mut batch);
            let count = batch.len();
            tokio::select! {
                () = self.send(batch) => {}
                () = after(&ended) => self.count_lost(count),
            }
        }
        // A collector that hangs must not delay the stop.
        drop(timeout(LAST, self.send_rest()).await);
    }

    async fn send_rest(&mut self) {
        loop {
            let mut batch = Vec::new();
            self.fill(&mut batch);
            if batch.is_empty() {
                return;
            }
            self.send(batch).await;
        }
    }

    fn fill(&mut self, batch: &mut Vec<SpanData>) {
        while batch.len() < BATCH
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
    }

    async fn send(&self, batch: Vec<SpanData>) {
        let count = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) => drop(self.sent.inc_by(u64::try_from(count).unwrap_or(u64::MAX))),
            Err(error) => {
                self.count_lost(count);
                if let Some(others) = self.failing.turn() {
                    tracing::warn!(spans = count, others, "spans cannot be sent, and are lost: {error}");
                }
            }
        }
    }

    fn count_lost(&self, count: usize) {
        self.lost.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// Waits until the time for a request that was running at the stop is over.
async fn after(ended: &CancellationToken) {
    ended.cancelled().await;
    sleep(LAST).await;
}

/// The client for the collector, by `[network]`.
#[derive(Debug)]
struct CollectorClient {
    ways: Arc<Ways>,
    /// The time limit of a request.
    longest: Duration,
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let is_secure = request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
        // As for an upstream, the operator names the address.
        let client = self.ways.client(Destination::Upstream, is_secure);
        let answered = async {
            let response = client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        // A collector that never answers would end all traces.
        timeout(self.longest, answered).await?
    }
}
