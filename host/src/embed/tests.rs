//! Tests of a guard in front of a service that records its requests.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request as Whole;
use axum::routing::any;
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "ada-0123456789abcdef0123456789abcdef";

#[derive(Clone, Debug)]
struct Seen {
    method: http::Method,
    uri: String,
    headers: http::HeaderMap,
    subject: Option<String>,
    body: Bytes,
}

struct TestGateway {
    guard: Guard,
    guarded: GuardedService,
    seen: Arc<Mutex<Vec<Seen>>>,
    folder: tempfile::TempDir,
}

async fn gateway() -> TestGateway {
    gateway_with("").await
}

/// The same, with further settings.
async fn gateway_with(rest: &str) -> TestGateway {
    let folder = tempfile::tempdir().unwrap();
    let sha256: String =
        witgate_base::digest::sha256(KEY.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let store = format!(
        "version = 1\n[[keys]]\nname = 'ada'\nid = 'ada'\nsha256 = '{sha256}'\ncreated = 2026-01-01T00:00:00Z\n\
         allow = ['get_*']\n"
    );
    std::fs::write(folder.path().join("keys.toml"), store).unwrap();
    write(&folder, &format!("embedded = true\n{rest}"));
    let environment = Environment::default();
    let guard = Guard::in_environment(folder.path().join("witgate.toml"), &environment).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&seen);
    let service = any(move |request: Whole| record(request, Arc::clone(&recorded)));
    let guarded = guard.protect(service);
    TestGateway { guard, guarded, seen, folder }
}

fn write(folder: &tempfile::TempDir, target: &str) {
    let text = format!(
        "[server]\nresource = 'https://mcp.example.com/mcp'\nauthorization_servers = ['https://idp.example.com']\n\
         [upstreams.own]\n{target}\n\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
    );
    std::fs::write(folder.path().join("witgate.toml"), text).unwrap();
}

async fn record(request: Whole, seen: Arc<Mutex<Vec<Seen>>>) -> axum::Json<Value> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let id = serde_json::from_slice::<Value>(&body).unwrap_or_default()["id"].clone();
    let subject = parts.extensions.get::<Arc<Caller>>().map(|caller| caller.identity().subject.clone());
    let (method, uri, headers) = (parts.method, parts.uri.to_string(), parts.headers);
    seen.lock().push(Seen { method, uri, headers, subject, body });
    axum::Json(json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } }))
}

/// The number of threads of this process with this name.
fn threads(name: &str) -> usize {
    let all = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = all.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|own| own.trim_end() == name).count()
}

#[test]
fn background_work_ends_with_the_guard_or_with_the_runtime_of_the_program() {
    let await_threads = |runs: bool| {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while (threads("reload") > 0) != runs {
            assert!(std::time::Instant::now() < end, "the thread of the watcher: {runs}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for guard_ends_first in [true, false] {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let gateway = runtime.block_on(gateway());
        await_threads(true);
        if guard_ends_first {
            drop(gateway);
            await_threads(false);
            drop(runtime);
        } else {
            drop(runtime);
            await_threads(false);
            drop(gateway);
        }
    }
}

/// A call as a client of the stateful era writes it, with unnecessary spaces.
const CALL: &str = r#"{"jsonrpc":"2.0",  "id":1,"method":"tools/call","params":{"name":"get_sum","arguments":{"b":2.50,"a":1}}}"#;

fn post(body: &str) -> Request<Full<Bytes>> {
    Request::post("/mcp")
        .header("host", "mcp.example.com")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("x-api-key", KEY)
        .header("cookie", "secret=1")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

impl TestGateway {
    async fn send(&self, request: Request<Full<Bytes>>) -> (u16, Value) {
        let response = self.guarded.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

#[tokio::test]
async fn an_admitted_call_reaches_the_service_byte_for_byte_without_a_credential() {
    let gateway = gateway().await;
    let (status, body) = gateway.send(post(CALL)).await;
    assert_eq!((status, &body["result"]), (200, &json!({ "content": [] })), "{body}");
    let seen = gateway.seen();
    let [seen] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(seen.body, CALL);
    assert_eq!((&seen.method, seen.uri.as_str()), (&http::Method::POST, "http://localhost/mcp"));
    assert_eq!(seen.headers["host"], "localhost");
    assert_eq!(seen.subject.as_deref(), Some("ada"));
    for secret in ["x-api-key", "cookie", "authorization"] {
        assert!(!seen.headers.contains_key(secret), "{secret} went on");
    }
}

#[tokio::test]
async fn a_refused_call_does_not_reach_the_service() {
    let gateway = gateway().await;
    let mut unknown = post(CALL);
    unknown.headers_mut().insert("x-api-key", HeaderValue::from_static("wrong"));
    let mut foreign = post(CALL);
    foreign.headers_mut().insert("host", HeaderValue::from_static("evil.example"));
    let mut without_host = post(CALL);
    without_host.headers_mut().remove("host");
    let twice = CALL.replace("\"id\":1", "\"id\":1,\"id\":1");
    for (request, expected) in [
        (unknown, 401),
        (foreign, 403),
        (without_host, 403),
        (post(&CALL.replace("get_sum", "delete")), 403),
        (post(&twice), 400),
    ] {
        let (status, body) = gateway.send(request).await;
        assert_eq!(status, expected, "{body}");
    }
    assert!(gateway.seen().is_empty(), "{:?}", gateway.seen());
}

#[tokio::test]
async fn the_host_of_an_http_2_request_is_in_the_uri() {
    let gateway = gateway().await;
    let newer = |host: &str| {
        let mut request = post(CALL);
        request.headers_mut().remove("host");
        *request.uri_mut() = format!("https://{host}/mcp").parse().unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        request
    };
    assert_eq!(gateway.send(newer("mcp.example.com")).await.0, 200);
    assert_eq!(gateway.send(newer("evil.example")).await.0, 403);
}

#[tokio::test]
async fn documents_are_served_at_every_mount_path() {
    let gateway = gateway().await;
    let mut paths: Vec<_> = gateway.guarded.paths().collect();
    paths.sort_unstable();
    let documents = ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"];
    assert_eq!(paths, [documents[0], documents[1], "/mcp"]);
    let get = |path: &str| {
        let mut request = post("");
        *request.method_mut() = http::Method::GET;
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let (status, document) = gateway.send(get(documents[1])).await;
    assert_eq!((status, &document["resource"]), (200, &json!("https://mcp.example.com/mcp")));
    assert_eq!(gateway.send(get("/.well-known/other")).await.0, 404);
    // The path that remains after a router has removed a prefix.
    let mut nested = post(CALL);
    *nested.uri_mut() = "/".parse().unwrap();
    assert_eq!(gateway.send(nested).await.0, 200);
}

#[tokio::test]
async fn clones_of_a_layer_share_their_counts() {
    let gateway = gateway().await;
    let layered = Layer::layer(&gateway.guard, any(async || "{}"));
    let mut wrong = post(CALL);
    wrong.headers_mut().remove("x-api-key");
    let response = layered.clone().call(wrong).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("www-authenticate"));
    assert_eq!(gateway.send(post(CALL)).await.0, 200);
    let metrics = gateway.guard.metrics();
    assert!(metrics.contains("outcome=\"allowed\"} 1"), "{metrics}");
    assert!(metrics.contains("outcome=\"no-credential\"} 1"), "{metrics}");
}

#[tokio::test]
async fn refusals_without_a_message_are_counted_in_the_audit_log() {
    let gateway = gateway_with("[audit]\ndirectory = 'log'").await;
    let guarded = gateway.guarded.clone().with_peer(|_| Some([192, 0, 2, 7].into()));
    for _ in 0..3 {
        let mut request = post("");
        *request.method_mut() = http::Method::GET;
        *request.uri_mut() = "/.well-known/other".parse().unwrap();
        let response = guarded.clone().call(request).await.unwrap();
        assert_eq!(response.status(), 404);
        assert!(response.headers().contains_key("witgate-decision"));
    }
    gateway.guard.shut_down().await;
    let log = gateway.folder.path().join("log/00000000000000000000.jsonl");
    let text = std::fs::read_to_string(log).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refusals: Vec<_> = entries.filter(|entry| entry["kind"] == "refusals").collect();
    let [refused] = refusals.as_slice() else { panic!("{text}") };
    assert_eq!((&refused["reason"], &refused["count"]), (&json!("unknown-path"), &json!(3)));
    assert_eq!(refused["peer"], "192.0.2.7");
}

#[tokio::test]
async fn an_upstream_that_is_not_embedded_is_refused_with_its_line() {
    let gateway = gateway().await;
    gateway.guard.shut_down().await;
    let path = gateway.folder.path().join("witgate.toml");
    write(&gateway.folder, "url = 'http://127.0.0.1:9/mcp'");
    let error = Guard::in_environment(&path, &Environment::default()).await.unwrap_err();
    let GuardError::Config(faults) = &error else { panic!("{error}") };
    assert!(matches!(faults.as_slice(), [fault] if fault.position().is_some()), "{error}");
    assert!(error.to_string().contains("embedded = true"), "{error}");
}
