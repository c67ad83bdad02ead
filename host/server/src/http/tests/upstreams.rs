//! Tests of upstreams that fail, and of upstreams of the stateful era.

use super::*;

fn get_it() -> Value {
    call("tools/call", json!({"name": "get_it"}))
}

#[tokio::test]
async fn each_fault_of_an_upstream_has_its_own_answer() {
    let cases: &[(u16, &str, &str, i64)] = &[
        (200, "text/html", "<html>", 502),
        (200, "application/json", "{\"jsonrpc\":", 502),
        (200, "application/json", "[]", 502),
        (500, "application/json", "{}", 502),
        (503, "text/plain", "", 502),
        (401, "text/plain", "who are you", 502),
        (403, "application/json", "{}", 502),
        (302, "text/plain", "", 502),
        (404, "text/html", "nothing", 502),
        (202, "application/json", "", 502),
    ];
    for (status, media, body, code) in cases {
        let gateway = gateway(move |_| answer_as(*status, media, *body)).await;
        let got = gateway.post(ALICE, &get_it()).await;
        assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (200, Some(*code)), "{status} {body}");
        assert_eq!(got.json()["id"], 1);
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_or_is_down_gives_an_error_in_time() {
    // The body is announced, but never sent.
    let (_feed, silent) = fed();
    let mut silent = silent;
    silent.headers_mut().insert("content-type", "application/json".parse().unwrap());
    let silent = Mutex::new(Some(silent));
    let hanging = gateway(move |_| silent.lock().take().unwrap()).await;
    let got = hanging.post(ALICE, &get_it()).await;
    assert_eq!((got.status, got.reason().as_str()), (200, "upstream-timeout"));
}

/// An upstream of the stateful era: it has sessions, but not `server/discover` or its headers.
fn older(request: &Received) -> StubAnswer {
    let message = request.json();
    let session = request.headers.get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
    match (message["method"].as_str().unwrap_or_default(), session.as_deref()) {
        ("initialize", _) => {
            let info = json!({"name": "older", "version": "1"});
            let mut answer = result(
                request,
                json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}),
            );
            answer.headers_mut().insert("mcp-session-id", "s1".parse().unwrap());
            answer
        }
        (_, None) => {
            let error = json!({"code": -32000, "message": "Bad Request: Server not initialized"});
            json_answer(400, &json!({"jsonrpc": "2.0", "id": null, "error": error}))
        }
        ("notifications/initialized", _) => answer_as(202, "application/json", ""),
        ("tools/list", _) => result(request, json!({"tools": [{"name": "get_it"}, {"name": "drop_it"}]})),
        ("tools/call", _) => {
            let id = &message["id"];
            let token = &message["params"]["_meta"]["progressToken"];
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}});
            let last = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [], "kept": true}});
            answer_as(
                200,
                "text/event-stream",
                format!("id: 1\ndata:\n\ndata: {progress}\n\ndata: {last}\n\n"),
            )
        }
        _ => json_answer(
            200,
            &json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}),
        ),
    }
}

#[tokio::test]
async fn a_client_of_an_older_upstream_gets_an_error_that_makes_it_fall_back() {
    let gateway = gateway(older).await;
    let got = gateway.modern(ALICE, "server/discover", json!({})).await;
    assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (404, Some(-32601)));
    assert_eq!(got.json()["id"], 1);
}

#[tokio::test]
async fn plain_requests_are_bridged_to_an_older_upstream() {
    let gateway = gateway(older).await;
    let listed = gateway.modern(ALICE, "tools/list", json!({})).await;
    let list = &listed.json()["result"];
    assert_eq!(list["tools"], json!([{"name": "get_it"}]), "{listed:?}");
    assert_eq!((&list["resultType"], &list["cacheScope"]), (&json!("complete"), &json!("private")));
    let mut message = modern("tools/call", json!({"name": "get_it"}));
    message["id"] = json!("mine");
    message["params"]["_meta"]["progressToken"] = json!("p");
    let name = json!({"name": "get_it"});
    let got =
        gateway.send(Method::POST, &modern_lines(ALICE, "tools/call", &name), message.to_string()).await;
    let text = std::str::from_utf8(&got.body).unwrap();
    let messages: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    assert_eq!(messages[0]["params"]["progressToken"], "p", "{text}");
    assert_eq!((&messages[1]["id"], &messages[1]["result"]["kept"]), (&json!("mine"), &json!(true)));
    let received = gateway.received();
    let call = received.last().unwrap().json();
    assert!(!call.to_string().contains("io.modelcontextprotocol/protocolVersion"), "{call}");
    assert_eq!(received.last().unwrap().headers["mcp-protocol-version"], "2025-11-25");
    let opened = received.iter().filter(|request| request.json()["method"] == "notifications/initialized");
    assert_eq!(opened.count(), 1);
}

#[tokio::test]
async fn a_bridge_session_that_the_server_forgot_is_opened_again() {
    const KEPT: u8 = 0;
    const FORGOTTEN: u8 = 1;
    const ANEW: u8 = 2;
    let state = std::sync::atomic::AtomicU8::new(KEPT);
    let gateway = gateway(move |request| {
        let in_session = request.headers.contains_key("mcp-session-id");
        let step = |from, to| {
            let ordering = std::sync::atomic::Ordering::SeqCst;
            state.compare_exchange(from, to, ordering, ordering).is_ok()
        };
        match request.json()["method"].as_str() {
            Some("initialize") => _ = step(FORGOTTEN, ANEW),
            Some("tools/list") if in_session => _ = step(KEPT, FORGOTTEN),
            _ => {}
        }
        if in_session && state.load(std::sync::atomic::Ordering::SeqCst) == FORGOTTEN {
            return answer_as(404, "text/plain", "Session not found");
        }
        older(request)
    })
    .await;
    let listed = gateway.modern(ALICE, "tools/list", json!({})).await;
    assert_eq!(listed.json()["result"]["tools"], json!([{"name": "get_it"}]), "{listed:?}");
}

/// A 404 may concern only the message. A ping shows that the session still exists.
#[tokio::test]
async fn a_call_is_not_repeated_for_a_404_of_a_living_session() {
    let gateway = gateway(|request| match request.json()["method"].as_str() {
        Some("tools/call") => {
            let error = json!({"code": -32602, "message": "no such record"});
            json_answer(404, &json!({"jsonrpc": "2.0", "id": request.json()["id"], "error": error}))
        }
        _ => older(request),
    })
    .await;
    let got = gateway.modern(ALICE, "tools/call", json!({"name": "get_it"})).await;
    assert_eq!(got.json()["error"]["message"], "no such record", "{got:?}");
    let calls = gateway.received().iter().filter(|request| request.json()["method"] == "tools/call").count();
    assert_eq!(calls, 1);
}
