//! Sends checkpoints of the audit log to witnesses (C2SP tlog-witness) and to a collector of OpenTelemetry (OTLP over HTTP,
//! as protobuf).

use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;
use prost::Message as _;
use tokio::time::timeout;

use witgate_audit::{CheckpointNetwork, WitnessAnswer};
use witgate_base::clock;
use witgate_config::Config;
use witgate_config::environment::Environment;
use witgate_services::network::{Destination, Ways};

/// The time for one request, if a collector gets no other. No call waits for it, and a stop does not wait as long.
const LONGEST: Duration = Duration::from_secs(10);

/// The longest answer. A witness answers with a few lines.
const LONGEST_ANSWER: usize = 16 << 10;

/// The name of a checkpoint as an event, and of its scope.
const EVENT: &str = "witgate.audit.checkpoint";

/// The network for checkpoints, as the configuration has it at the start.
#[derive(Debug)]
pub(crate) struct OutgoingCheckpoints {
    ways: Arc<Ways>,
    /// The name of this service for a collector.
    service: String,
    /// Headers for a collector, which may be credentials.
    headers: HeaderMap,
    /// The time for a request to a collector.
    collector_time: Duration,
}

impl OutgoingCheckpoints {
    pub(crate) fn new(config: &Config, environment: &Environment) -> Self {
        let ways = Ways::closed();
        ways.take(config.network.as_ref());
        let telemetry = config.telemetry.as_ref();
        let service = telemetry.and_then(|telemetry| telemetry.service_name.clone());
        let collector_time = telemetry.and_then(|telemetry| telemetry.timeout).unwrap_or(LONGEST);
        let service = service.unwrap_or_else(|| "witgate".to_owned());
        Self { ways, service, headers: collector_headers(environment), collector_time }
    }

    /// Sends a request, and waits for the answer. The thread of the caller does all the work.
    fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        longest: Duration,
    ) -> io::Result<(StatusCode, Bytes)> {
        let mut request = Request::post(url).body(Full::new(Bytes::from(body))).map_err(io::Error::other)?;
        *request.headers_mut() = headers;
        let is_secure = request.uri().scheme() == Some(&http::uri::Scheme::HTTPS);
        // As for an upstream, the operator names the address.
        let client = self.ways.unshared_client(Destination::Upstream, is_secure);
        let answered = async {
            let response = client.request(request).await.map_err(|error| io::Error::other(chain(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(io::Error::other)?;
            Ok((head.status, body.to_bytes()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let answer = runtime.block_on(async { timeout(longest, answered).await });
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
        answer.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "there is no answer in time"))?
    }

    /// A checkpoint as a log record.
    fn record(&self, checkpoint: &str) -> ExportLogsServiceRequest {
        let now = clock::system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let record = LogRecord {
            time_unix_nano: now,
            observed_time_unix_nano: now,
            severity_number: SeverityNumber::Info.into(),
            severity_text: "INFO".to_owned(),
            body: Some(text(checkpoint)),
            event_name: EVENT.to_owned(),
            ..LogRecord::default()
        };
        let scope = InstrumentationScope { name: EVENT.to_owned(), ..InstrumentationScope::default() };
        let scope_logs =
            vec![ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() }];
        let service =
            [("service.name", self.service.as_str()), ("service.version", env!("CARGO_PKG_VERSION"))];
        let attribute = |(key, value): (&str, &str)| KeyValue {
            key: key.to_owned(),
            value: Some(text(value)),
            ..KeyValue::default()
        };
        let resource =
            Resource { attributes: service.into_iter().map(attribute).collect(), ..Resource::default() };
        let resource_logs = ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() };
        ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
    }
}

impl CheckpointNetwork for OutgoingCheckpoints {
    fn ask_witness(&self, url: &str, request: String) -> io::Result<WitnessAnswer> {
        let headers = of_type("text/plain; charset=utf-8", HeaderMap::new());
        let (status, body) = self.post(url, headers, request.into_bytes(), LONGEST)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(WitnessAnswer { status: status.as_u16(), body })
    }

    fn tell_collector(&self, url: &str, checkpoint: &str) -> io::Result<()> {
        let record = self.record(checkpoint).encode_to_vec();
        let headers = of_type("application/x-protobuf", self.headers.clone());
        let (status, body) = self.post(url, headers, record, self.collector_time)?;
        if status != StatusCode::OK {
            return Err(io::Error::other(format!("it has answered with the status {}", status.as_u16())));
        }
        let answer = ExportLogsServiceResponse::decode(body).map_err(io::Error::other)?;
        match answer.partial_success {
            Some(partial) if partial.rejected_log_records > 0 => {
                Err(io::Error::other("it has rejected the record"))
            }
            _ => Ok(()),
        }
    }
}

fn of_type(content_type: &'static str, mut headers: HeaderMap) -> HeaderMap {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers
}

/// The headers in the variables of OpenTelemetry: `NAME=VALUE`, separated by commas.
fn collector_headers(environment: &Environment) -> HeaderMap {
    let names = ["OTEL_EXPORTER_OTLP_LOGS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
    let Some(written) = names.iter().find_map(|name| environment.get(name)) else { return HeaderMap::new() };
    let mut headers = HeaderMap::new();
    for member in written.split(',').filter(|member| !member.trim().is_empty()) {
        match collector_header(member) {
            Some((name, value)) => drop(headers.append(name, value)),
            None => {
                tracing::warn!("a header for the collector in the environment is invalid, and is ignored")
            }
        }
    }
    headers
}

fn collector_header(member: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = member.split_once('=')?;
    let value: Vec<u8> = percent_decode_str(value.trim()).collect();
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.to_owned())) }
}

/// An error with its causes: a client only says that it cannot connect.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_environment_are_sent_and_never_shown() {
        let all = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret, x-a = b,bad name=c,nothing");
        let headers = collector_headers(&[all].into_iter().collect());
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], "Bearer secret");
        assert_eq!(headers["x-a"], "b");
        assert!(!format!("{headers:?}").contains("secret"));
        let own = ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-own=1");
        assert_eq!(
            collector_headers(&[all, own].into_iter().collect()).len(),
            1,
            "those for logs alone count"
        );
        assert!(collector_headers(&Environment::default()).is_empty());
    }
}
