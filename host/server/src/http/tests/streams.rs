//! Tests of streams that outlast the right with which they were opened.

use std::sync::atomic::Ordering;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// A session with an open stream of the server's own messages, whose events the test sends.
async fn streaming() -> (TestGateway, mpsc::UnboundedSender<String>, Response<Incoming>) {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway = gateway(move |request| {
        if request.method == Method::GET {
            return stream.lock().take().unwrap();
        }
        let mut answer = result(request, json!({"protocolVersion": "2025-11-25", "capabilities": {}}));
        answer.headers_mut().insert("mcp-session-id", "s".parse().unwrap());
        answer
    })
    .await;
    let opened = gateway.post(ALICE, &call("initialize", json!({"protocolVersion": "2025-11-25"}))).await;
    let session = opened.headers["mcp-session-id"].to_str().unwrap();
    feed.send("data: {\"n\":0}\n\n".to_owned()).unwrap();
    let lines = [("x-api-key", ALICE), ("accept", "text/event-stream"), ("mcp-session-id", session)];
    let mut response = gateway.open("", Method::GET, &lines, "").await;
    assert_eq!(next(&mut response).await.unwrap(), "data: {\"n\":0}\n\n");
    (gateway, feed, response)
}

async fn next(response: &mut Response<Incoming>) -> Option<Bytes> {
    let frame = tokio::time::timeout(SOON, response.body_mut().frame()).await.unwrap()?;
    frame.unwrap().into_data().ok()
}

/// Makes a generation with another key store live.
pub(super) async fn flip(gateway: &TestGateway, change: impl Fn(&str) -> String) {
    let path = gateway.folder.path().join("keys.toml");
    let store = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(&store)).unwrap();
    let next = gateway.factory.candidate(&gateway.config, Some(&gateway.generations.live())).await.unwrap();
    gateway.generations.flip(next);
}

#[tokio::test]
async fn a_stream_ends_soon_after_its_key_is_revoked() {
    let (gateway, _feed, mut response) = streaming().await;
    let revoke = "name = 'alice'\nrevoked = 2026-01-02T00:00:00Z";
    flip(&gateway, |store| store.replace("name = 'alice'", revoke)).await;
    assert_eq!(next(&mut response).await, None);
}

#[tokio::test]
async fn a_running_call_ends_when_its_key_expires() {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway =
        gateway(move |request| discovers(request).unwrap_or_else(|| stream.lock().take().unwrap())).await;
    let params = json!({"name": "get_it"});
    let lines = modern_lines(CAROL, "tools/call", &params);
    feed.send("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n".to_owned()).unwrap();
    let mut response =
        gateway.open("", Method::POST, &lines, modern("tools/call", params.clone()).to_string()).await;
    assert!(next(&mut response).await.is_some());
    gateway.clock.store(END, Ordering::Relaxed);
    let end = next(&mut response).await.unwrap();
    assert!(std::str::from_utf8(&end).unwrap().contains("expired"), "{end:?}");
    assert_eq!(next(&mut response).await, None);
}

#[tokio::test]
async fn a_stream_survives_a_change_that_keeps_its_right() {
    let (gateway, feed, mut response) = streaming().await;
    flip(&gateway, |store| store.replace("'get_*'", "'read_*'")).await;
    let list =
        json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "get_a"}, {"name": "read_a"}]}});
    feed.send(format!("data: {list}\n\n")).unwrap();
    let event = next(&mut response).await.unwrap();
    let text = std::str::from_utf8(&event).unwrap();
    // The list is filtered by the new generation.
    assert!(text.contains("read_a") && !text.contains("get_a"), "{text}");
}

#[tokio::test]
async fn only_callers_that_may_read_a_resource_get_its_updates() {
    let (_house, feed, mut response) = streaming().await;
    let updated = |uri: Value| {
        let params = json!({ "uri": uri });
        let message =
            json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params});
        format!("data: {message}\n\n")
    };
    for uri in ["file:///etc/a", "file:///docs/../etc/a", "FILE:///docs/a", "file:///docs-secret/a"] {
        feed.send(updated(json!(uri))).unwrap();
    }
    feed.send(updated(json!(7))).unwrap();
    feed.send("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\"}\n\n".to_owned())
        .unwrap();
    feed.send(updated(json!("file:///docs/a"))).unwrap();
    assert_eq!(next(&mut response).await.unwrap(), updated(json!("file:///docs/a")));
}

#[tokio::test]
async fn updates_of_a_resource_end_with_the_right_to_it() {
    let (gateway, feed, mut response) = streaming().await;
    let news = |uri: &str| {
        let params = json!({"uri": uri});
        let news = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params});
        feed.send(format!("data: {news}\n\n")).unwrap();
    };
    news("file:///secret/a");
    news("file:///docs/a");
    let first = next(&mut response).await.unwrap();
    assert!(std::str::from_utf8(&first).unwrap().contains("file:///docs/a"), "{first:?}");
    flip(&gateway, |store| store.replace("file:///docs/", "file:///else/")).await;
    news("file:///docs/a");
    news("file:///else/a");
    let second = next(&mut response).await.unwrap();
    assert!(std::str::from_utf8(&second).unwrap().contains("file:///else/a"), "{second:?}");
}

#[tokio::test]
async fn a_stop_ends_streams() {
    let (gateway, _feed, mut response) = streaming().await;
    gateway.stop.cancel();
    assert_eq!(next(&mut response).await, None);
    tokio::time::timeout(SOON, gateway.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_that_disconnects_before_the_answer_is_recorded() {
    let (_feed, silent) = fed();
    let silent = Mutex::new(Some(silent));
    let gateway = gateway(move |_| {
        let mut silent = silent.lock().take().unwrap();
        silent.headers_mut().insert("content-type", "application/json".parse().unwrap());
        silent
    })
    .await;
    let lines = [("x-api-key", ALICE), JSON_BODY, BOTH];
    let body = call("tools/call", json!({"name": "get_it"})).to_string();
    let left =
        tokio::time::timeout(Duration::from_millis(200), gateway.open("", Method::POST, &lines, body)).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let text = gateway.metrics.render();
    assert!(text.contains("outcome=\"cancelled\"} 1"), "{text}");
}

/// An upstream that reports changes of `tools` but not of `prompts`, with one open stream.
async fn telling() -> (TestGateway, mpsc::UnboundedSender<String>, Response<Incoming>) {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway = gateway(move |request| {
        if request.method == Method::GET {
            return stream.lock().take().unwrap();
        }
        let capabilities = json!({"tools": {"listChanged": true}, "prompts": {}});
        let mut answer =
            result(request, json!({"protocolVersion": "2025-11-25", "capabilities": capabilities}));
        answer.headers_mut().insert("mcp-session-id", "s".parse().unwrap());
        answer
    })
    .await;
    let opened = gateway.post(ALICE, &call("initialize", json!({"protocolVersion": "2025-11-25"}))).await;
    let session = opened.headers["mcp-session-id"].to_str().unwrap();
    let lines = [("x-api-key", ALICE), ("accept", "text/event-stream"), ("mcp-session-id", session)];
    let response = gateway.open("", Method::GET, &lines, "").await;
    (gateway, feed, response)
}

#[tokio::test]
async fn a_session_is_notified_that_its_lists_may_have_changed() {
    let (gateway, feed, mut response) = telling().await;
    flip(&gateway, |store| store.replace("'get_*'", "'read_*'")).await;
    let notification = next(&mut response).await.unwrap();
    assert_eq!(
        notification,
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n"
    );
    // The notification comes once. The following messages are the server's own.
    feed.send("data: {\"n\":1}\n\n".to_owned()).unwrap();
    assert_eq!(next(&mut response).await.unwrap(), "data: {\"n\":1}\n\n");
}

#[tokio::test]
async fn a_subscription_is_notified_of_the_acknowledged_lists() {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway = gateway(move |request| match request.json()["method"].as_str() {
        Some("subscriptions/listen") => stream.lock().take().unwrap(),
        _ => result(
            request,
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
            "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}),
        ),
    })
    .await;
    let wanted = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true}});
    let message = modern("subscriptions/listen", wanted.clone());
    let lines = modern_lines(ALICE, "subscriptions/listen", &wanted);
    let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": {"promptsListChanged": true}}});
    feed.send(format!("data: {acknowledged}\n\n")).unwrap();
    let mut response = gateway.open("", Method::POST, &lines, message.to_string()).await;
    assert_eq!(next(&mut response).await.unwrap(), format!("data: {acknowledged}\n\n"));
    flip(&gateway, |store| store.replace("'get_*'", "'read_*'")).await;
    let notification = next(&mut response).await.unwrap();
    let notification: Value = serde_json::from_slice(notification.strip_prefix(b"data: ").unwrap()).unwrap();
    assert_eq!(notification["method"], "notifications/prompts/list_changed");
    assert_eq!(notification["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], message["id"]);
}
