//! Tests of the gateway on real sockets, with a real key policy, in front of an upstream that records.

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use witgate_base::clock::Clock;
use witgate_base::digest::sha256;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::resolve;
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::request::Route;
use witgate_runtime::metrics::Metrics;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::own_tools::{AuthStatus, OwnTools};

mod accounts;
mod argument_credentials;
mod attacks;
mod browsers;
mod forwarding;
mod growth;
mod limits;
mod lists;
mod sessions;
mod streams;
mod upstreams;

/// The key of a caller who may use `get_*`, resources under `file:///docs/`, the prompt `hello`, and `vendor/ping`.
pub(super) const ALICE: &str = "alice-0123456789abcdef0123456789abcdef";
/// The key of a caller who may do everything except for methods.
pub(super) const BOB: &str = "bob-0123456789abcdef0123456789abcdef";

/// The key of a caller who may use `get_*` until [`END`].
pub(super) const CAROL: &str = "carol-0123456789abcdef0123456789abcdef";
/// The beginning of the year 2100.
pub(super) const END: u64 = 4_102_444_800;

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Received {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

type StubBody = http_body_util::Either<
    Full<Bytes>,
    StreamBody<
        futures_util::stream::BoxStream<'static, Result<http_body::Frame<Bytes>, std::convert::Infallible>>,
    >,
>;
pub(super) type StubAnswer = Response<StubBody>;

/// An upstream that records requests and gives the configured answers.
pub(super) struct Stub {
    pub(super) received: Arc<Mutex<Vec<Received>>>,
}

pub(super) fn json_answer(status: u16, body: &Value) -> StubAnswer {
    answer_as(status, "application/json", body.to_string())
}

pub(super) fn answer_as(status: u16, media: &str, body: impl Into<Bytes>) -> StubAnswer {
    Response::builder()
        .status(status)
        .header("content-type", media)
        .body(StubBody::Left(Full::new(body.into())))
        .unwrap()
}

/// An event stream whose events the test sends.
pub(super) fn fed() -> (mpsc::UnboundedSender<String>, StubAnswer) {
    let (feed, events) = mpsc::unbounded_channel::<String>();
    let frames = futures_util::stream::unfold(events, |mut events| async {
        let text = events.recv().await?;
        Some((Ok(http_body::Frame::data(Bytes::from(text))), events))
    });
    let body = StubBody::Right(StreamBody::new(futures_util::StreamExt::boxed(frames)));
    let answer = Response::builder().header("content-type", "text/event-stream").body(body).unwrap();
    (feed, answer)
}

/// A result for `request` that clients of both eras accept.
pub(super) fn result(request: &Received, result: Value) -> StubAnswer {
    json_answer(200, &json!({"jsonrpc": "2.0", "id": request.json()["id"], "result": result}))
}

/// The gateway, its upstream and a client.
pub(super) struct TestGateway {
    pub(super) url: String,
    pub(super) host: String,
    pub(super) stub: Stub,
    pub(super) metrics: Arc<Metrics>,
    pub(super) generations: Arc<Generations>,
    pub(super) factory: Factory,
    /// The time, in seconds since the Unix epoch.
    pub(super) clock: Arc<AtomicU64>,
    pub(super) config: config::Config,
    pub(super) stop: CancellationToken,
    pub(super) served: tokio::task::JoinHandle<()>,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    pub(super) folder: tempfile::TempDir,
}

/// A response as the client received it.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(super) fn reason(&self) -> String {
        self.json()["error"]["data"]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

pub(super) async fn gateway<F>(respond: F) -> TestGateway
where
    F: Fn(&Received) -> StubAnswer + Send + Sync + 'static,
{
    gateway_with("", respond).await
}

/// Starts the gateway. `server` contains further lines of `[server]`.
pub(super) async fn gateway_with<F>(server: &str, respond: F) -> TestGateway
where
    F: Fn(&Received) -> StubAnswer + Send + Sync + 'static,
{
    gateway_guarded(server, KEYS, respond).await
}

/// The policies of the gateway: one for keys in a header.
const KEYS: &str = "[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
                    [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n";

/// Starts the gateway with these `policies` and their pipeline.
pub(super) async fn gateway_guarded<F>(server: &str, policies: &str, respond: F) -> TestGateway
where
    F: Fn(&Received) -> StubAnswer + Send + Sync + 'static,
{
    let received = Arc::new(Mutex::new(Vec::new()));
    let upstream = stub(Arc::clone(&received), respond).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &upstream, server, policies);
    let engine = Engine::new().unwrap();
    let clock = Arc::new(AtomicU64::new(Clock::System.now()));
    let factory = Factory::new(
        Loader::new(engine, Compiler::Within, None),
        [("TOKEN", "upstreams-own")].into_iter().collect(),
        Clock::Set(Arc::clone(&clock)),
    );
    let generation = factory.candidate(&config, None).await.unwrap();
    let generations = Arc::new(Generations::new(generation, 1));
    let metrics = Arc::new(Metrics::default());
    let stop = CancellationToken::new();
    let credentials = OutboundCredentials::new(Arc::clone(factory.ways()));
    let desk = ConnectDesk::new(Arc::clone(&credentials), None).unwrap();
    let flows = flows(&config, &generations, &metrics, &stop, &credentials);
    let flows = flows.into_iter().map(|flow| flow.with_connect(Some(Arc::clone(&desk))));
    let gateway = Gateway::new(&config, flows, Arc::clone(&generations)).with_connect(desk);
    gateway.register(&metrics);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let served = tokio::spawn(gateway.serve(listener, None, stop.clone(), Duration::from_secs(2)));
    TestGateway {
        url: format!("http://{host}/mcp"),
        host,
        stub: Stub { received },
        metrics,
        stop,
        served,
        client: Client::builder(TokioExecutor::new()).build_http(),
        folder,
        generations,
        factory,
        clock,
        config,
    }
}

fn flows(
    config: &config::Config,
    generations: &Arc<Generations>,
    metrics: &Metrics,
    stop: &CancellationToken,
    credentials: &Arc<OutboundCredentials>,
) -> Vec<Flow<AnyUpstream>> {
    let own = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
    let flow = |(pipeline, upstream): (usize, &config::Upstream)| {
        let route = Route {
            upstream: upstream.name.as_str().into(),
            resource: upstream.resource.as_str().into(),
            pipeline,
            extensions: Vec::new(),
            advertise_auth: false,
            disagreements: None,
        };
        let grace = Duration::from_secs(1);
        let upstream = AnyUpstream::new(upstream, grace, own.clone(), None, credentials).unwrap();
        Flow::new(Arc::new(route), upstream, Arc::clone(generations), metrics, stop.clone())
    };
    config.upstreams.iter().enumerate().map(flow).collect()
}

fn config(folder: &std::path::Path, upstream: &str, server: &str, policies: &str) -> config::Config {
    let key = |name: &str, text: &str, allow: &str| {
        let sha256: String = sha256(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "[[keys]]\nname = '{name}'\nid = '{name}'\nsha256 = '{sha256}'\ncreated = 2026-01-01T00:00:00Z\nallow = [{allow}]\n"
        )
    };
    let store = format!(
        "version = 1\n{}{}{}expires = 2100-01-01T00:00:00Z\n",
        key("alice", ALICE, "'get_*', 'resource:file:///docs/*', 'prompt:hello', 'method:vendor/*'"),
        key("bob", BOB, "'*'"),
        key("carol", CAROL, "'get_*'"),
    );
    std::fs::write(folder.join("keys.toml"), store).unwrap();
    let path = folder.join("witgate.toml");
    let text = format!(
        "[server]\n{server}\n[upstreams.stub]\nurl = '{upstream}'\nheaders = {{ Authorization = {{ env = 'TOKEN' }} }}\ntimeout_s = 1\n{policies}"
    );
    std::fs::write(&path, text).unwrap();
    let environment = [("TOKEN", "upstreams-own")].into_iter().collect();
    resolve::load(Some(&path), &environment).unwrap_or_else(|faults| panic!("{faults:?}")).config
}

async fn stub<F>(received: Arc<Mutex<Vec<Received>>>, respond: F) -> String
where
    F: Fn(&Received) -> StubAnswer + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/upstream", listener.local_addr().unwrap());
    let respond = Arc::new(respond);
    let answer = move |request: Request<Incoming>, _: ConnectionEnds| {
        let (received, respond) = (Arc::clone(&received), Arc::clone(&respond));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let request = Received { method: parts.method, headers: parts.headers, body };
            received.lock().push(request.clone());
            respond(&request)
        }
    };
    let connections =
        Connections::new(ConnectionLimits { all: 100, of_one: 100 }, RequestMemory::new(1 << 20));
    let listener = Listener {
        socket: listener,
        tls: None,
        connections,
        workers: Arc::default(),
        cut: CancellationToken::new(),
    };
    tokio::spawn(connections::serve(listener, CancellationToken::new(), Duration::ZERO, answer));
    url
}

impl TestGateway {
    pub(super) async fn send(&self, method: Method, lines: &[(&str, &str)], body: impl Into<Bytes>) -> Got {
        self.send_to("", method, lines, body).await
    }

    /// Sends a request. `suffix` is appended to the endpoint's URL; a suffix that begins with `/` replaces the path.
    pub(super) async fn send_to(
        &self,
        suffix: &str,
        method: Method,
        lines: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Got {
        let response = self.open(suffix, method, lines, body).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(super) async fn open(
        &self,
        suffix: &str,
        method: Method,
        lines: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let url = match suffix.strip_prefix('/') {
            Some(path) => format!("http://{}/{path}", self.host),
            None => format!("{}{suffix}", self.url),
        };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    /// POSTs a message of the stateful era with a key.
    pub(super) async fn post(&self, key: &str, message: &Value) -> Got {
        self.post_with(key, &[], message).await
    }

    pub(super) async fn post_with(&self, key: &str, more: &[(&str, &str)], message: &Value) -> Got {
        let mut lines = vec![("x-api-key", key), JSON_BODY, BOTH];
        lines.extend_from_slice(more);
        self.send(Method::POST, &lines, message.to_string()).await
    }

    /// POSTs a request of the stateless era with a key, and the headers that belong to it.
    pub(super) async fn modern(&self, key: &str, method: &str, params: Value) -> Got {
        self.send(
            Method::POST,
            &modern_lines(key, method, &params),
            modern(method, params.clone()).to_string(),
        )
        .await
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.stub.received.lock().clone()
    }
}

pub(super) const JSON_BODY: (&str, &str) = ("content-type", "application/json");
pub(super) const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");

pub(super) fn call(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

pub(super) fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    call(method, params)
}

pub(super) fn modern_lines<'a>(key: &'a str, method: &'a str, params: &'a Value) -> Vec<(&'a str, &'a str)> {
    let mut lines = vec![
        ("x-api-key", key),
        JSON_BODY,
        BOTH,
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
    ];
    let name = params.get("name").or(params.get("uri")).or(params.get("taskId"));
    lines.extend(name.and_then(Value::as_str).map(|name| ("mcp-name", name)));
    lines
}

/// Answers `server/discover` like an upstream of the stateless era, and does not answer anything else.
pub(super) fn discovers(request: &Received) -> Option<StubAnswer> {
    (request.json()["method"] == "server/discover").then(|| {
        let versions = json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
            "ttlMs": 0, "cacheScope": "public"});
        result(request, versions)
    })
}
