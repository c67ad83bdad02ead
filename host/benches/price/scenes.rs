//! The scenes: requests of one kind, and the gateway that handles them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::port::{AnswerBody, Upstream};
use witgate_flow::reject::RejectedMessage;
use witgate_flow::{Arrival, Flow, Reply};
use witgate_plugin::Transport;
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::own_tools::{AuthStatus, OwnTools};

use crate::immediate_upstream::ImmediateUpstream;
use crate::proof::Signers;
use crate::scene::{Form, Scene, Shape, TOOL, body, headers};
use crate::upstreams::EventStreams;

/// The number of requests for a count of instructions. While instructions are counted, each takes a hundred times as
/// long.
#[derive(Clone, Copy)]
pub(crate) enum InstructionCount {
    /// This number of requests.
    Of(usize),
    /// None: another process answers, and the number of polls depends on its speed.
    Unsteady,
}

use InstructionCount::{Of, Unsteady};

type Make = fn() -> Box<dyn PricedScene>;

/// All scenes, by name.
pub(crate) const SCENES: [(&str, Make, InstructionCount); 10] = [
    ("built-ins", || key_and_rbac(Form::Native), Of(20)),
    ("components", || key_and_rbac(Form::Component), Of(20)),
    ("known token", known_token, Of(20)),
    ("proof of possession", proof_of_possession, Of(20)),
    ("denial", denial, Of(20)),
    ("wrong key", || wrong_key(""), Of(20)),
    ("wrong key during a pause", || wrong_key("[lockout]\nfailures = 1\n"), Of(20)),
    ("list of 500 tools", list, Of(2)),
    ("child process", child_process, Unsteady),
    ("event stream", event_stream, Of(20)),
];

/// A scene, whatever its upstream is.
pub(crate) trait PricedScene {
    /// Requests to handle.
    fn arrivals(&self, count: usize) -> Vec<Arrival>;

    /// Handles requests one after the other, up to the end of each answer.
    fn handle(&self, arrivals: Vec<Arrival>);
}

/// A check of an answer, or of its absence: it shows that the scene runs as it should.
type Check = fn(&Result<Reply, RejectedMessage>) -> bool;

struct FlowScene<U> {
    flow: Flow<U>,
    requests: Box<dyn Fn() -> (HeaderMap, Bytes)>,
    check: Check,
    runtime: Runtime,
    _scene: Scene,
}

impl<U: Upstream> PricedScene for FlowScene<U> {
    fn arrivals(&self, count: usize) -> Vec<Arrival> {
        (0..count).map(|_| arrival((self.requests)())).collect()
    }

    fn handle(&self, arrivals: Vec<Arrival>) {
        self.runtime.block_on(async {
            for arrival in arrivals {
                let result = self.flow.handle(arrival).await;
                assert!((self.check)(&result), "another answer than that of the scene");
                if let Ok(Reply { body: AnswerBody::Events(mut events), .. }) = result {
                    while events.next().await.is_some() {}
                }
            }
        });
    }
}

impl<U> Drop for FlowScene<U> {
    fn drop(&mut self) {
        // The upstream's background tasks need this runtime.
        let _within = self.runtime.enter();
    }
}

/// A message that arrives over HTTP from this machine.
pub(crate) fn arrival((headers, body): (HeaderMap, Bytes)) -> Arrival {
    Arrival {
        under_way: Default::default(),
        known: Default::default(),
        transport: Transport::Http,
        peer: Some([127, 0, 0, 1].into()),
        certificate: None,
        headers,
        body,
        shown: None,
        session: None,
    }
}

/// A runtime on one thread: the one whose allocations and instructions are counted.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A scene whose caller sends a key.
fn with_key(
    scene: Scene,
    runtime: Runtime,
    upstream: impl Upstream + 'static,
    (headers, body): (HeaderMap, Bytes),
    check: Check,
) -> Box<dyn PricedScene> {
    let headers = showing_key(&scene, headers);
    showing(scene, runtime, upstream, move || (headers.clone(), body.clone()), check)
}

fn showing(
    scene: Scene,
    runtime: Runtime,
    upstream: impl Upstream + 'static,
    requests: impl Fn() -> (HeaderMap, Bytes) + 'static,
    check: Check,
) -> Box<dyn PricedScene> {
    let flow = flow(&scene, &generations(&scene, &runtime), upstream);
    Box::new(FlowScene { flow, requests: Box::new(requests), check, runtime, _scene: scene })
}

/// The flow of a scene, without a log.
pub(crate) fn flow<U: Upstream>(scene: &Scene, generations: &Arc<Generations>, upstream: U) -> Flow<U> {
    let stop = CancellationToken::new();
    Flow::new(Arc::clone(&scene.route), upstream, Arc::clone(generations), &Metrics::default(), stop)
}

/// The generations of a flow: exactly one.
pub(crate) fn generations(scene: &Scene, runtime: &Runtime) -> Arc<Generations> {
    Arc::new(Generations::new(runtime.block_on(scene.renewed()), 1))
}

/// The headers with the key of the scene's caller.
pub(crate) fn showing_key(scene: &Scene, mut headers: HeaderMap) -> HeaderMap {
    headers.insert("x-api-key", HeaderValue::from_str(scene.key_text()).unwrap());
    headers
}

/// A call that is allowed.
pub(crate) fn call() -> (HeaderMap, Bytes) {
    let Shape { headers: count, arguments } = Shape::default();
    (headers(count), body(arguments))
}

fn is_message(result: &Result<Reply, RejectedMessage>) -> bool {
    matches!(result, Ok(Reply { status: StatusCode::OK, body: AnswerBody::Message { .. }, .. }))
}

/// A scene with an API key of 100 and RBAC of 20 roles with 5 patterns. The caller has three roles.
fn key_and_rbac(form: Form) -> Box<dyn PricedScene> {
    let runtime = runtime();
    let scene = runtime.block_on(Scene::with_keys(form));
    with_key(scene, runtime, ImmediateUpstream::empty(), call(), is_message)
}

/// A scene with a token whose signature was verified before.
fn known_token() -> Box<dyn PricedScene> {
    let (signers, runtime) = (Signers::new(), runtime());
    let key = format!("pem = '''{}'''", signers.public);
    let scene = runtime.block_on(Scene::with_tokens(Form::Native, "RS256", &key));
    let (mut headers, body) = call();
    headers.insert("authorization", format!("Bearer {}", signers.free_token()).parse().unwrap());
    showing(scene, runtime, ImmediateUpstream::empty(), move || (headers.clone(), body.clone()), is_message)
}

/// A scene with a known token and a new proof for each request.
fn proof_of_possession() -> Box<dyn PricedScene> {
    let (signers, runtime) = (Signers::new(), runtime());
    let policy = format!(
        "kind = 'jwt'\nconfig = {{ keys = ['signing'], algorithms = ['RS256'], dpop = 'required' }}\n\
         [keys.signing]\npem = '''{}'''\n",
        signers.public
    );
    let scene = runtime.block_on(Scene::before(NOWHERE, Form::Native, &policy));
    let ((headers, body), token) = (call(), signers.bound_token());
    let number = std::cell::Cell::new(0);
    let requests = move || {
        let mut headers = headers.clone();
        headers.insert("authorization", format!("DPoP {token}").parse().unwrap());
        number.set(number.get() + 1);
        headers.insert("dpop", signers.proof(&token, number.get()).parse().unwrap());
        (headers, body.clone())
    };
    showing(scene, runtime, ImmediateUpstream::empty(), requests, is_message)
}

/// An upstream that gets no requests.
const NOWHERE: &str = "url = 'http://127.0.0.1:9/mcp'";

/// A scene with a call that no role of the caller allows.
fn denial() -> Box<dyn PricedScene> {
    let runtime = runtime();
    let scene = runtime.block_on(Scene::with_keys(Form::Native));
    let (other, (mut headers, body)) = (TOOL.replace("get", "set"), call());
    let body = String::from_utf8_lossy(&body).replace(TOOL, &other).into();
    headers.insert("mcp-name", HeaderValue::from_str(&other).unwrap());
    with_key(scene, runtime, ImmediateUpstream::empty(), (headers, body), Result::is_err)
}

/// A scene with another wrong key in each request. With a `lockout`, a pause begins before they are counted.
fn wrong_key(lockout: &str) -> Box<dyn PricedScene> {
    let runtime = runtime();
    let scene = runtime.block_on(Scene::before(NOWHERE, Form::Native, &format!("{KEYS}{lockout}")));
    let ((headers, body), number) = (call(), std::cell::Cell::new(0_u64));
    let requests = move || {
        let mut headers = headers.clone();
        number.set(number.get() + 1);
        headers.insert("x-api-key", format!("wgk_{:043}", number.get()).parse().unwrap());
        (headers, body.clone())
    };
    showing(scene, runtime, ImmediateUpstream::empty(), requests, Result::is_err)
}

/// A scene with a list of tools, of which the caller may see 75.
fn list() -> Box<dyn PricedScene> {
    let runtime = runtime();
    let scene = runtime.block_on(Scene::with_keys(Form::Native));
    let (mut headers, _) = call();
    headers.insert("mcp-method", HeaderValue::from_static("tools/list"));
    headers.remove(HeaderName::from_static("mcp-name"));
    let request = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    });
    let upstream = ImmediateUpstream(tools().to_string().into());
    with_key(scene, runtime, upstream, (headers, request.to_string().into()), is_message)
}

fn tools() -> serde_json::Value {
    let tool = |n: usize| {
        json!({
            "name": format!("svc{:02}_area{}_get_{}", n / 25, n / 5 % 5, n % 5),
            "description": "Gets an item of an area of a service, as it was when it was last written.",
            "inputSchema": { "type": "object", "properties": { "id": { "type": "string" } }, "required": ["id"] },
        })
    };
    let tools: Vec<_> = (0..500).map(tool).collect();
    json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } })
}

/// A scene with this program as the child process.
fn child_process() -> Box<dyn PricedScene> {
    let runtime = runtime();
    let program = std::env::current_exe().unwrap();
    let upstream = format!("command = [{program:?}, 'upstream']\neras = ['stateless']");
    let scene = runtime.block_on(Scene::before(&upstream, Form::Native, KEYS));
    let child = runtime.block_on(async { any_upstream(&scene) });
    with_key(scene, runtime, child, call(), is_message)
}

/// The policy with the key store of the scene.
const KEYS: &str = "kind = 'api-key'\nconfig = { store = 'keys.toml' }\n";

/// The upstream that the configuration of a scene names.
pub(crate) fn any_upstream(scene: &Scene) -> AnyUpstream {
    let own = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
    let grace = Duration::from_secs(1);
    let credentials = OutboundCredentials::new(Arc::clone(scene.factory.ways()));
    AnyUpstream::new(&scene.config.upstreams[0], grace, own, None, &credentials).unwrap()
}

/// A scene with an HTTP upstream within this program, which answers with three events.
fn event_stream() -> Box<dyn PricedScene> {
    let runtime = runtime();
    let upstream = format!("{NOWHERE}\neras = ['stateless']");
    let scene = runtime.block_on(Scene::before(&upstream, Form::Native, KEYS));
    let uri = "http://127.0.0.1:9/mcp".parse().unwrap();
    let service = AnyUpstream::of_service(&scene.config.upstreams[0], EventStreams, uri);
    let is_stream: Check = |result| matches!(result, Ok(Reply { body: AnswerBody::Events(_), .. }));
    with_key(scene, runtime, service, call(), is_stream)
}
