//! Tests of costs: the cost of a message grows linearly with its size, from the socket to the upstream and back.
//! Client, gateway and upstream all run on one thread here.

use super::*;
use witgate_testing::growth::assert_linear;

/// Measures a request with `message(size)` that is answered with `answer(size)`.
fn assert_linear_way(
    what: &str,
    size: usize,
    message: impl Fn(usize) -> Value,
    answer: impl Fn(usize) -> String + Send + Sync + 'static,
    media: &'static str,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = Arc::new(Mutex::new(String::new()));
    let current = Arc::clone(&now);
    let gateway = runtime.block_on(gateway(move |request| {
        discovers(request).unwrap_or_else(|| answer_as(200, media, current.lock().clone()))
    }));
    let make = |size| {
        *now.lock() = answer(size);
        gateway.stub.received.lock().clear();
        message(size)
    };
    assert_linear(what, size, make, |message: Value| {
        runtime.block_on(async {
            let stateless = message.pointer("/params/_meta").is_some();
            let method = message["method"].as_str().unwrap().to_owned();
            let lines = match stateless {
                true => modern_lines(BOB, &method, &message["params"]),
                false => vec![("x-api-key", BOB), JSON_BODY, BOTH],
            };
            let got = gateway.send(Method::POST, &lines, message.to_string()).await;
            assert_eq!(got.status, 200, "{what}: {got:?}");
            assert!(!String::from_utf8_lossy(&got.body).contains("error"), "{what}: {got:?}");
        });
    });
}

fn list(name: &str, items: impl Iterator<Item = Value>) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "result": {name: items.collect::<Vec<_>>()}}).to_string()
}

const JSON: &str = "application/json";

#[test]
fn lists_are_filtered_in_linear_time() {
    let tools = |n| {
        list("tools", (0..n).map(|n| json!({"name": format!("get_{n}"), "inputSchema": {"type": "object"}})))
    };
    let uris = |n| list("resources", (0..n).map(|n| json!({"uri": format!("file:///docs/{n}")})));
    let refused = |n| list("resources", (0..n).map(|n| json!({"uri": format!("file:///docs/../{n}")})));
    let tasks = |n| list("tasks", (0..n).map(|n| json!({"taskId": format!("t{n}")})));
    let keys = |n| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[],{}}}}}"#,
            (0..n).map(|n| format!(r#""k{n}":{n}"#)).collect::<Vec<_>>().join(",")
        )
    };
    let events = move |n| {
        format!(
            "data: {}\n\n",
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#
        )
        .repeat(n)
            + "data: "
            + &tools(1)
            + "\n\n"
    };
    let listing = |method: &'static str| move |_| call(method, json!({}));
    assert_linear_way("tools", 2_000, listing("tools/list"), tools, JSON);
    assert_linear_way("resources", 2_000, listing("resources/list"), uris, JSON);
    assert_linear_way("refused resources", 2_000, listing("resources/list"), refused, JSON);
    assert_linear_way("tasks", 2_000, listing("tasks/list"), tasks, JSON);
    assert_linear_way("members", 5_000, listing("tools/list"), keys, JSON);
    assert_linear_way("events", 1_000, listing("tools/list"), events, "text/event-stream");
}

#[test]
fn calls_are_forwarded_in_linear_time() {
    let done = |_| json!({"jsonrpc": "2.0", "id": 1, "result": {}}).to_string();
    let arguments = |n: usize| {
        let arguments: serde_json::Map<String, Value> = (0..n).map(|n| (format!("k{n}"), json!(n))).collect();
        call("tools/call", json!({"name": "get_a", "arguments": arguments}))
    };
    assert_linear_way("arguments", 10_000, arguments, done, JSON);
    let content =
        |n: usize| json!({"jsonrpc": "2.0", "id": 1, "result": {"content": "x".repeat(n)}}).to_string();
    assert_linear_way("content", 1_000_000, |_| call("tools/call", json!({"name": "get_a"})), content, JSON);
    let subscribe = |n: usize| {
        let uris: Vec<String> = (0..n).map(|n| format!("file:///docs/{n}")).collect();
        modern("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": uris}}))
    };
    let acknowledged = |_| "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n".to_owned();
    assert_linear_way("subscriptions", 500, subscribe, acknowledged, "text/event-stream");
}

#[tokio::test]
async fn a_list_with_too_many_items_is_an_error() {
    let tools = list("tools", (0..20_001).map(|n| json!({"name": format!("get_{n}")})));
    let gateway = gateway(move |_| answer_as(200, JSON, tools.clone())).await;
    let got = gateway.post(BOB, &call("tools/list", json!({}))).await;
    assert_eq!(got.reason(), "upstream-flood");
}

#[tokio::test]
async fn a_subscription_to_too_many_resources_is_refused() {
    let gateway = gateway(|request| discovers(request).unwrap()).await;
    let uris: Vec<String> = (0..1_001).map(|n| format!("file:///docs/{n}")).collect();
    let got = gateway
        .modern(BOB, "subscriptions/listen", json!({"notifications": {"resourceSubscriptions": uris}}))
        .await;
    assert_eq!(got.reason(), "invalid-params");
}

/// A request without a credential, with as many header names as a head has room for.
#[test]
fn preflights_are_answered_in_linear_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let allowed = "allowed_origins = ['https://page.example']";
    let gateway = runtime.block_on(gateway_with(allowed, |request| discovers(request).unwrap()));
    let names = |n: usize| (0..n).map(|n| format!("mcp-param-{n}")).collect::<Vec<_>>().join(",");
    assert_linear("preflight", 1_500, names, |names: String| {
        let asked = [
            ("origin", "https://page.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", names.as_str()),
        ];
        let got = runtime.block_on(gateway.send(Method::OPTIONS, &asked, String::new()));
        assert_eq!(got.status, 204, "{got:?}");
    });
}
