//! Traces over OTLP, received and decoded by a collector in this process.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::json;
use witgate_tests::clients::{Client, Clients, Session};
use witgate_tests::gateway::{Setup, await_some, program};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::{Request, contains, meta};

use super::{Observed, POLICIES};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A collector for as long as the process lives.
#[derive(Clone)]
struct Collector {
    address: String,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// The heads of the requests, in lower case.
    heads: Arc<Mutex<String>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let collector = Self { address, requests: Arc::default(), heads: Arc::default() };
        let shared = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let collector = shared.clone();
                std::thread::spawn(move || while collector.take(&stream).is_some() {});
            }
        });
        collector
    }

    /// Reads and answers one request.
    fn take(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        self.heads.lock().unwrap().push_str(&head);
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
        self.requests.lock().unwrap().push(request);
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
            )
            .ok()
    }

    /// `[telemetry]` for this collector.
    fn section(&self) -> String {
        format!("[telemetry]\notlp_endpoint = 'http://{}'", self.address)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let scopes =
            requests.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Waits for a server span of this name, and returns all spans of its trace.
    fn await_trace(&self, name: &str) -> Vec<Span> {
        await_some(&format!("the span {name}"), || {
            let spans = self.spans();
            let found = spans.iter().find(|span| span.name == name && span.kind() == SpanKind::Server)?;
            let id = found.trace_id.clone();
            Some(spans.into_iter().filter(|span| span.trace_id == id).collect())
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn value(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text.clone()),
        AnyValue::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

fn of_kind(spans: &[Span], kind: SpanKind) -> &Span {
    spans.iter().find(|span| span.kind() == kind).unwrap_or_else(|| panic!("no {kind:?} in {spans:?}"))
}

#[test]
fn a_trace_goes_from_the_caller_through_witgate_to_the_upstream() {
    let (collector, recorder) = (Collector::start(), Recorder::start());
    let upstream = format!("[upstreams.main]\nurl = '{}'\n{}", recorder.url(), collector.section());
    let observed = Observed::start(&upstream);
    let mut meta = meta();
    meta["traceparent"] = format!("00-{TRACE}-{SPAN}-01").into();
    meta["tracestate"] = "vendor=1".into();
    let other = "00-11111111111111111111111111111111-2222222222222222-01";
    let params = json!({ "name": "echo", "arguments": { "password": "hunter2" }, "_meta": meta });
    let answer = observed.request("tools/call", params).with("traceparent", other).send();
    assert_eq!(answer.status, 200, "{answer:?}");

    let spans = collector.await_trace("tools/call echo");
    let server = of_kind(&spans, SpanKind::Server);
    assert_eq!((hex(&server.trace_id).as_str(), hex(&server.parent_span_id).as_str()), (TRACE, SPAN));
    assert_eq!(server.trace_state, "vendor=1");
    assert_eq!(hex(&server.links[0].trace_id), "1".repeat(32));
    let client = of_kind(&spans, SpanKind::Client);
    assert_eq!((&client.name, &client.parent_span_id), (&server.name, &server.span_id));
    let stages: Vec<_> = spans.iter().filter(|span| span.kind() == SpanKind::Internal).collect();
    let (hooks, stages): (Vec<_>, Vec<_>) =
        stages.into_iter().partition(|span| span.name.starts_with("witgate.policy "));
    for stage in &stages {
        assert_eq!(stage.parent_span_id, server.span_id);
        assert!(server.start_time_unix_nano <= stage.start_time_unix_nano);
        assert!(stage.end_time_unix_nano <= server.end_time_unix_nano);
    }
    for (policy, hook, stage, verdict) in [
        ("keys", "authenticate", "witgate.authenticate", "identity"),
        ("rules", "authorize", "witgate.authorize", "allow"),
    ] {
        let span =
            hooks.iter().find(|span| value(&span.attributes, "witgate.policy").as_deref() == Some(policy));
        let span = span.unwrap_or_else(|| panic!("no span of {policy} in {hooks:?}"));
        let names = ["witgate.hook", "witgate.verdict"].map(|name| value(&span.attributes, name));
        assert_eq!(names, [Some(hook.to_owned()), Some(verdict.to_owned())]);
        let form = value(&span.attributes, "witgate.form").unwrap();
        assert!(["component", "builtin"].contains(&form.as_str()), "{form}");
        let parent = stages.iter().find(|of| of.span_id == span.parent_span_id).unwrap();
        assert_eq!(parent.name, stage);
    }
    let stages: BTreeSet<_> = stages.into_iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(stages, BTreeSet::from(["witgate.authenticate", "witgate.authorize", "witgate.parse"]));
    for (name, expected) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "echo"),
        ("gen_ai.operation.name", "execute_tool"),
        ("jsonrpc.request.id", "1"),
        ("network.transport", "tcp"),
        ("network.protocol.name", "http"),
        ("server.address", "127.0.0.1"),
        ("jsonrpc.protocol.version", "2.0"),
        ("client.address", "127.0.0.1"),
        ("witgate.upstream", "main"),
        ("witgate.outcome", "allowed"),
        ("witgate.generation", "1"),
    ] {
        assert_eq!(value(&server.attributes, name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(value(&server.attributes, "error.type"), None);
    let decision = value(&server.attributes, "witgate.decision").unwrap();
    observed.gateway.await_log(&format!("decision=\"{decision}\""));
    {
        let requests = collector.requests.lock().unwrap();
        let resource = &requests[0].resource_spans[0].resource.as_ref().unwrap().attributes;
        assert_eq!(value(resource, "service.name").as_deref(), Some("witgate"));
        let all = format!("{requests:?}");
        assert!(!all.contains("hunter2") && !all.contains(&observed.key), "a secret is in {all}");
    }

    // The upstream gets Witgate's client span in the header, and the caller's bytes in `_meta`.
    let seen = recorder.seen();
    let header = format!("traceparent: 00-{TRACE}-{}-01\r\n", hex(&client.span_id));
    assert!(contains(&seen, header.as_bytes()), "{}", String::from_utf8_lossy(&seen));
    assert!(contains(&seen, b"tracestate: vendor=1\r\n") && !contains(&seen, other.as_bytes()));
    assert!(contains(&seen, format!("\"_meta\":{meta}").as_bytes()), "{}", String::from_utf8_lossy(&seen));
    let sent = await_some("the count of spans", || {
        let text = observed.metrics();
        text.lines()
            .find_map(|line| line.strip_prefix("witgate_spans_total{outcome=\"sent\"} ")?.parse::<u64>().ok())
    });
    assert!(sent >= 5, "{sent}");
}

/// A client of the TypeScript SDK, over HTTP and over stdio: its context, Witgate's spans and the header for the upstream
/// have one trace id.
#[tokio::test]
async fn a_trace_goes_from_the_typescript_client_to_the_upstream() {
    let clients = Clients::installed().unwrap();
    for transport in ["http", "stdio"] {
        let (collector, recorder) = (Collector::start(), Recorder::start());
        let setup = Setup::new();
        let upstream = format!("[upstreams.main]\nurl = '{}'\n{}", recorder.url(), collector.section());
        setup.config("", &format!("{upstream}\n{POLICIES}"));
        let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
        let config = setup.dir().join("witgate.toml").display().to_string();
        let (mut gateway, mut directory) = (None, None);
        let session = match transport {
            "http" => Session::http(gateway.insert(setup.serve()).url()).header("X-API-Key", &key),
            _ => {
                directory.replace(setup);
                let program = program("witgate").display().to_string();
                let command = [&program, "serve", "--transport", "stdio", "--config", &config];
                Session::stdio(command).env("MCP_API_KEY", &key)
            }
        };
        let meta = json!({ "traceparent": format!("00-{TRACE}-{SPAN}-01") });
        let session = session.mode("legacy").call("echo", json!({ "message": "hi" })).meta(&meta);
        let report = clients.run(Client::TsClient, &session).await.unwrap();
        assert_eq!(report.error, None, "{transport}: {report:?}");

        let spans = collector.await_trace("tools/call echo");
        let (server, client) = (of_kind(&spans, SpanKind::Server), of_kind(&spans, SpanKind::Client));
        assert_eq!((hex(&server.trace_id).as_str(), hex(&server.parent_span_id).as_str()), (TRACE, SPAN));
        let network = if transport == "http" { "tcp" } else { "pipe" };
        assert_eq!(value(&server.attributes, "network.transport").as_deref(), Some(network));
        assert!(spans.iter().any(|span| span.name == "witgate.policy rules"), "{spans:?}");
        let header = format!("traceparent: 00-{TRACE}-{}-01\r\n", hex(&client.span_id));
        assert!(contains(&recorder.seen(), header.as_bytes()), "{transport}");
    }
}

#[test]
fn a_denial_is_an_error_without_a_client_span() {
    let collector = Collector::start();
    let setup = Setup::new();
    let policies = POLICIES.replace("allow = ['*']", "allow = ['only-this']");
    setup.config("", &format!("[upstreams.own]\nown_tools = true\n{}\n{policies}", collector.section()));
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let mut observed = Observed { gateway: setup.serve(), key };
    assert_eq!(observed.call("forbidden").status, 403);
    // The stop sends the spans that still wait.
    observed.gateway.signal("TERM");
    assert_eq!(observed.gateway.wait(), Some(0));
    let spans = collector.await_trace("tools/call forbidden");
    assert!(spans.iter().all(|span| span.kind() != SpanKind::Client), "{spans:?}");
    let server = of_kind(&spans, SpanKind::Server);
    assert!(server.parent_span_id.is_empty(), "a root");
    assert_eq!(value(&server.attributes, "error.type").as_deref(), Some("403"));
    assert_eq!(value(&server.attributes, "witgate.outcome").as_deref(), Some("denied"));
    assert_eq!(value(&server.attributes, "witgate.policy").as_deref(), Some("rules"));
    assert_eq!(value(&server.attributes, "witgate.reason").as_deref(), Some("not-allowed"));
    assert_eq!(server.status.as_ref().unwrap().code, 2);
}

/// Neither that of the caller nor the server's own.
#[test]
fn no_span_has_the_credential_in_an_argument() {
    let (collector, recorder) = (Collector::start(), Recorder::start());
    let own = "the-key-that-only-the-server-knows";
    let setup = Setup::new().env("SERVER_KEY", own);
    let argument = "argument = { name = 'auth_token', inject = { env = 'SERVER_KEY' } }\n[policies.rules]";
    let policies = POLICIES.replacen("[policies.rules]", argument, 1);
    let section = collector.section();
    setup.config("", &format!("[upstreams.main]\nurl = '{}'\n{section}\n{policies}", recorder.url()));
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let mut gateway = setup.serve();
    let params = json!({ "name": "echo", "arguments": { "auth_token": key, "text": "hello" } });
    let answer = Request::stateless(&gateway.address(), "/mcp", "tools/call", params).send();
    assert_eq!(answer.status, 200, "{answer:?}");
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
    let spans = format!("{:?}", collector.await_trace("tools/call echo"));
    assert!(!spans.contains(&key) && !spans.contains(own), "{spans}");
}

/// The sampler of the environment records nothing, except for the calls of known callers whose parent is recorded.
#[test]
fn the_variables_of_opentelemetry_set_traces_up() {
    let collector = Collector::start();
    let setup = Setup::new()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))
        .env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-attributes,deployment.environment.name=test");
    let observed = Observed::start_in(setup, "[upstreams.own]\nown_tools = true");
    let traced = |span: &str, key: &str| {
        let mut meta = meta();
        meta["traceparent"] = format!("00-{TRACE}-{span}-01").into();
        let request = observed.request("tools/list", json!({ "_meta": meta }));
        request.set("X-API-Key", key).send()
    };
    assert_eq!(observed.request("tools/list", json!({})).send().status, 200);
    assert_eq!(traced("1111111111111111", "wgk_wrong").status, 401);
    assert_eq!(traced(SPAN, &observed.key).status, 200);
    let spans = collector.await_trace("tools/list");
    let servers: Vec<_> = spans.iter().filter(|span| span.kind() == SpanKind::Server).collect();
    assert!(servers.len() == 1 && hex(&servers[0].parent_span_id) == SPAN, "{servers:?}");
    assert_eq!(collector.spans().len(), spans.len(), "there is one trace");
    assert!(spans.iter().any(|span| span.name == "witgate.filter"), "{spans:?}");
    let requests = collector.requests.lock().unwrap();
    let resource = &requests[0].resource_spans[0].resource.as_ref().unwrap().attributes;
    assert_eq!(value(resource, "service.name").as_deref(), Some("from-attributes"));
    assert_eq!(value(resource, "deployment.environment.name").as_deref(), Some("test"));
}

/// A credential for the collector arrives there, and is shown nowhere else.
#[test]
fn headers_for_the_collector_are_sent_and_never_shown() {
    let collector = Collector::start();
    let secret = "collector-credential-0123456789";
    let setup = Setup::new()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))
        .env("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization=Bearer%20{secret},x-team=edge"))
        .env("RUST_LOG", "trace");
    let observed = Observed::start_in(setup, "[upstreams.own]\nown_tools = true");
    assert_eq!(observed.request("tools/list", json!({})).send().status, 200);
    collector.await_trace("tools/list");
    let heads = collector.heads.lock().unwrap().clone();
    assert!(heads.contains(&format!("authorization: bearer {secret}\r\n")), "{heads}");
    assert!(heads.contains("x-team: edge\r\n"), "{heads}");
    for arguments in [["check"].as_slice(), &["config", "show"], &["check", "--json"]] {
        let output = observed.gateway.setup().run(arguments);
        let text = [output.stdout, output.stderr].concat();
        assert!(!contains(&text, secret.as_bytes()), "{arguments:?}");
    }
    let log = observed.gateway.log();
    let shown: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
    assert!(shown.is_empty(), "{shown:?}");
    assert!(!observed.metrics().contains(secret) && !observed.page("/readyz?verbose").contains(secret));
}

#[test]
fn another_protocol_is_reported_and_the_time_limit_holds() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", silent.local_addr().unwrap()))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "100");
    let observed = Observed::start_in(setup, "[upstreams.own]\nown_tools = true");
    let checked = observed.gateway.setup().run(&["check"]);
    let text = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(text.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && text.contains("grpc"), "{text}");
    let began = std::time::Instant::now();
    assert_eq!(observed.request("tools/list", json!({})).send().status, 200);
    observed.gateway.await_log("spans cannot be sent, and are lost");
    assert!(began.elapsed().as_secs() < 8, "the default is ten seconds");
}

#[test]
fn calls_do_not_wait_for_a_collector_that_is_away() {
    let upstream = "[upstreams.own]\nown_tools = true\n[telemetry]\notlp_endpoint = 'http://127.0.0.1:9'";
    let observed = Observed::start(upstream);
    for _ in 0..20 {
        assert_eq!(observed.request("tools/list", json!({})).send().status, 200);
    }
    observed.gateway.await_log("spans cannot be sent, and are lost");
    await_some("the count of lost spans", || {
        let text = observed.metrics();
        (!text.contains("witgate_spans_total{outcome=\"lost\"} 0\n")).then_some(())
    });
}
