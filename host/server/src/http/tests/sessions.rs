//! Tests of sessions of the stateful era.

use super::*;

pub(super) fn with_sessions(request: &Received) -> StubAnswer {
    let method = request.json()["method"].as_str().unwrap_or_default().to_owned();
    if request.method == Method::GET {
        let list =
            json!({"jsonrpc": "2.0", "id": 9, "result": {"tools": [{"name": "get_a"}, {"name": "drop_a"}]}});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
        return answer_as(200, "text/event-stream", format!("id: 7\ndata: {note}\n\ndata: {list}\n\n"));
    }
    let mut answer = match method.as_str() {
        "initialize" => result(request, json!({"protocolVersion": "2025-11-25", "capabilities": {}})),
        "notifications/initialized" => answer_as(202, "application/json", ""),
        _ if request.headers.get("mcp-session-id").is_none() => answer_as(400, "text/plain", "session id"),
        _ => result(request, json!({"content": []})),
    };
    if method == "initialize" {
        answer.headers_mut().insert("mcp-session-id", "upstreams-id".parse().unwrap());
    }
    answer
}

pub(super) async fn open(gateway: &TestGateway, key: &str) -> String {
    let got = gateway.post(key, &call("initialize", json!({"protocolVersion": "2025-11-25"}))).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.headers["mcp-session-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn witgate_replaces_the_session_id_of_the_server() {
    let gateway = gateway(with_sessions).await;
    let session = open(&gateway, ALICE).await;
    assert_eq!(session.len(), 32);
    let got = gateway
        .post_with(ALICE, &[("mcp-session-id", &session)], &call("tools/call", json!({"name": "get_a"})))
        .await;
    assert_eq!(got.status, 200);
    assert_eq!(gateway.received().last().unwrap().headers["mcp-session-id"], "upstreams-id");
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let taken = gateway.post_with(ALICE, &[("mcp-session-id", &session)], &note).await;
    assert_eq!((taken.status, taken.body.len()), (202, 0));
}

#[tokio::test]
async fn a_session_of_another_caller_does_not_exist_for_post_get_and_delete() {
    let gateway = gateway(with_sessions).await;
    let session = open(&gateway, ALICE).await;
    let before = gateway.received().len();
    for id in [session.as_str(), "upstreams-id", "made-up"] {
        let line = ("mcp-session-id", id);
        let post = gateway.post_with(BOB, &[line], &call("tools/call", json!({"name": "get_a"}))).await;
        assert_eq!((post.status, post.reason().as_str()), (404, "session-not-found"));
        for method in [Method::GET, Method::DELETE] {
            let got =
                gateway.send(method, &[("x-api-key", BOB), ("accept", "text/event-stream"), line], "").await;
            assert_eq!((got.status, got.reason().as_str()), (404, "session-not-found"));
        }
    }
    assert_eq!(gateway.received().len(), before);
    let still = gateway.post_with(ALICE, &[("mcp-session-id", &session)], &call("ping", json!({}))).await;
    assert_eq!(still.status, 200);
}

#[tokio::test]
async fn get_and_delete_need_a_session_and_a_key() {
    let gateway = gateway(with_sessions).await;
    let events = ("accept", "text/event-stream");
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(gateway.send(method.clone(), &[events], "").await.status, 401);
        let got = gateway.send(method.clone(), &[("x-api-key", ALICE), events], "").await;
        assert_eq!((got.status, got.reason().as_str()), (400, "session-required"));
        let modern = [("x-api-key", ALICE), events, ("mcp-protocol-version", "2026-07-28")];
        let got = gateway.send(method, &modern, "").await;
        assert_eq!((got.status, got.headers["allow"].to_str().unwrap()), (405, "POST"));
    }
    assert_eq!(
        gateway.send(Method::GET, &[("x-api-key", ALICE), ("accept", "application/json")], "").await.status,
        406
    );
    let sessionless = gateway.post(ALICE, &call("tools/call", json!({"name": "get_a"}))).await;
    assert_eq!((sessionless.status, sessionless.reason().as_str()), (400, "session-required"));
}

#[tokio::test]
async fn the_stream_of_a_session_is_forwarded_and_filtered() {
    let gateway = gateway(with_sessions).await;
    let session = open(&gateway, ALICE).await;
    let lines = [
        ("x-api-key", ALICE),
        ("accept", "text/event-stream"),
        ("mcp-session-id", &*session),
        ("last-event-id", "6"),
    ];
    let got = gateway.send(Method::GET, &lines, "").await;
    let text = std::str::from_utf8(&got.body).unwrap();
    assert!(text.starts_with("id: 7\ndata: {"), "{text}");
    assert!(text.contains("list_changed") && text.contains("get_a") && !text.contains("drop_a"), "{text}");
    assert_eq!(gateway.received().last().unwrap().headers["last-event-id"], "6");
}

#[tokio::test]
async fn a_deleted_session_is_gone() {
    let gateway = gateway(with_sessions).await;
    let session = open(&gateway, ALICE).await;
    let lines = [("x-api-key", ALICE), ("mcp-session-id", &*session)];
    assert_eq!(gateway.send(Method::DELETE, &lines, "").await.status, 200);
    assert_eq!(gateway.received().last().unwrap().method, Method::DELETE);
    assert_eq!(gateway.send(Method::DELETE, &lines, "").await.status, 404);
    let post = gateway.post_with(ALICE, &[("mcp-session-id", &session)], &call("ping", json!({}))).await;
    assert_eq!(post.status, 404);
}

/// A session can answer only requests that were sent to it, and each of them only once.
#[tokio::test]
async fn an_answer_needs_a_request_of_the_same_session() {
    let gateway = gateway(|request| {
        let message = request.json();
        let asks = request.method == Method::GET || message["method"] == "tools/call";
        if !asks {
            return match message["method"].as_str() {
                None | Some("notifications/progress") => answer_as(202, "application/json", ""),
                _ => with_sessions(request),
            };
        }
        let id = if request.method == Method::GET { json!("standing") } else { json!(5) };
        let ask = json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create",
            "params": {"message": "?", "_meta": {"progressToken": "p"}}});
        let last = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"content": []}});
        answer_as(200, "text/event-stream", format!("data: {ask}\n\ndata: {last}\n\n"))
    })
    .await;
    let (session, others) = (open(&gateway, ALICE).await, open(&gateway, ALICE).await);
    let say = async |session: &str, message: Value| {
        let got = gateway.post_with(ALICE, &[("mcp-session-id", session)], &message).await;
        let reason = if got.body.is_empty() { String::new() } else { got.reason() };
        (got.status, reason)
    };
    let accept =
        |id: Value| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {}}});
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "p", "progress": 1}});
    let refused = (400, "invalid-request".to_owned());
    let taken = (202, String::new());
    let arrived = |what: &str| {
        gateway
            .received()
            .iter()
            .filter(|request| request.body.windows(what.len()).any(|part| part == what.as_bytes()))
            .count()
    };
    for id in [json!(5), json!("standing"), json!("x")] {
        assert_eq!(say(&session, accept(id)).await, refused);
    }
    // No request waits for this answer, and it does no damage.
    assert_eq!(say(&session, progress.clone()).await, taken);
    assert_eq!((arrived("accept"), arrived("notifications/progress")), (0, 0));

    let called = call("tools/call", json!({"name": "get_a"}));
    assert_eq!(gateway.post_with(ALICE, &[("mcp-session-id", &session)], &called).await.status, 200);
    let lines = [("x-api-key", ALICE), ("accept", "text/event-stream"), ("mcp-session-id", &*session)];
    assert_eq!(gateway.send(Method::GET, &lines, "").await.status, 200);
    for id in [json!(5), json!("standing")] {
        assert_eq!(say(&others, accept(id.clone())).await, refused, "another session of the same caller's");
        assert_eq!(say(&session, progress.clone()).await, taken);
        assert_eq!(say(&session, accept(id.clone())).await, taken);
        assert_eq!(say(&session, accept(id)).await, refused, "a second time");
    }
    assert_eq!((arrived("accept"), arrived("notifications/progress")), (2, 2));
}

#[tokio::test]
async fn get_and_delete_do_not_exist_for_an_upstream_without_sessions() {
    let stateless = |request: &Received| match request.json()["method"].as_str() {
        Some("initialize") => result(request, json!({"protocolVersion": "2025-11-25", "capabilities": {}})),
        _ => answer_as(202, "application/json", ""),
    };
    // The era is known from an earlier answer. If there is none, the gateway finds it out.
    for a_client_comes_first in [true, false] {
        let gateway = gateway(stateless).await;
        if a_client_comes_first {
            let got =
                gateway.post(ALICE, &call("initialize", json!({"protocolVersion": "2025-11-25"}))).await;
            assert_eq!((got.status, got.headers.get("mcp-session-id")), (200, None));
        }
        for method in [Method::GET, Method::DELETE] {
            let got =
                gateway.send(method, &[("x-api-key", ALICE), ("accept", "text/event-stream")], "").await;
            assert_eq!((got.status, got.reason().as_str()), (405, "method-not-allowed"));
            assert_eq!(got.headers["allow"], "POST");
        }
        let asked =
            gateway.received().iter().filter(|request| request.json()["method"] == "initialize").count();
        assert_eq!(asked, 1);
    }
}

/// The protocol requires 404, but many servers answer 400.
#[tokio::test]
async fn a_session_that_the_upstream_lost_ends_for_the_client() {
    let lost = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let gateway = gateway({
        let lost = Arc::clone(&lost);
        move |request| {
            let is_new = request.json()["method"] == "initialize";
            if lost.load(std::sync::atomic::Ordering::SeqCst) && !is_new {
                let error = json!({"code": -32000, "message": "Bad Request: No valid session ID provided"});
                return json_answer(400, &json!({"jsonrpc": "2.0", "id": null, "error": error}));
            }
            with_sessions(request)
        }
    })
    .await;
    let (session, other) = (open(&gateway, ALICE).await, open(&gateway, ALICE).await);
    lost.store(true, std::sync::atomic::Ordering::SeqCst);
    let called = call("tools/call", json!({"name": "get_a"}));
    for _ in 0..2 {
        let got = gateway.post_with(ALICE, &[("mcp-session-id", &session)], &called).await;
        assert_eq!((got.status, got.reason().as_str()), (404, "session-not-found"));
    }
    let lines = [("x-api-key", ALICE), ("accept", "text/event-stream"), ("mcp-session-id", &*other)];
    assert_eq!(gateway.send(Method::GET, &lines, "").await.status, 404);
    lost.store(false, std::sync::atomic::Ordering::SeqCst);
    let session = open(&gateway, ALICE).await;
    assert_eq!(gateway.post_with(ALICE, &[("mcp-session-id", &session)], &called).await.status, 200);
}

#[tokio::test]
async fn a_400_for_a_message_does_not_end_its_session() {
    let gateway = gateway(|request| match request.json()["method"].as_str() {
        Some("tools/call") => {
            let error = json!({"code": -32602, "message": "no such argument"});
            json_answer(400, &json!({"jsonrpc": "2.0", "id": 1, "error": error}))
        }
        _ => with_sessions(request),
    })
    .await;
    let session = open(&gateway, ALICE).await;
    let line = [("mcp-session-id", &*session)];
    let got = gateway.post_with(ALICE, &line, &call("tools/call", json!({"name": "get_a"}))).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (400, Some(-32602)));
    assert_eq!(gateway.post_with(ALICE, &line, &call("ping", json!({}))).await.status, 200);
}
