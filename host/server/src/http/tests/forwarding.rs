//! Tests of forwarding: the request that reaches the upstream, and the answer that comes back.

use super::*;

#[tokio::test]
async fn the_body_is_forwarded_byte_for_byte_without_the_credential() {
    let gateway = gateway(|request| result(request, json!({"content": [], "unknown": {"a": 1.50}}))).await;
    let body = r#" {"jsonrpc":"2.0","extra":[1.0],"id":"x","method":"tools/call","params":{"name":"get_it","arguments":{"a":  1e2}}} "#;
    let lines = [
        ("authorization", &*format!("Bearer {ALICE}")),
        JSON_BODY,
        BOTH,
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("traceparent", "00-1"),
        ("mcp-param-city", "Bern"),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let got = gateway.send(Method::POST, &lines, body).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.json()["result"]["unknown"]["a"], json!(1.5));
    let received = gateway.received();
    let [received] = &*received else { panic!("{received:?}") };
    assert_eq!(received.body, body);
    let mut names: Vec<_> = received.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "mcp-param-city",
        "mcp-protocol-version",
        "traceparent",
    ];
    assert_eq!(names, expected);
    assert_eq!(received.headers["authorization"], "upstreams-own");
    assert!(!format!("{received:?}").contains(ALICE));
}

#[tokio::test]
async fn the_routing_headers_are_written_anew() {
    let gateway = gateway(|request| {
        discovers(request)
            .unwrap_or_else(|| result(request, json!({"resultType": "complete", "content": []})))
    })
    .await;
    let params = json!({"name": "get_it"});
    let mut lines = modern_lines(ALICE, "tools/call", &params);
    lines.retain(|(name, _)| *name != "mcp-name");
    lines.extend([("mcp-name", "=?base64?Z2V0X2l0?="), ("mcp-session-id", "ignored")]);
    let got = gateway.send(Method::POST, &lines, modern("tools/call", params.clone()).to_string()).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(!got.headers.contains_key("mcp-session-id"));
    let received = gateway.received();
    let last = received.last().unwrap();
    assert_eq!(last.headers["mcp-name"], "get_it");
    assert_eq!(last.headers["mcp-method"], "tools/call");
    assert_eq!(last.headers["mcp-protocol-version"], "2026-07-28");
    assert!(!last.headers.contains_key("mcp-session-id"));
}

#[tokio::test]
async fn events_are_forwarded_at_once() {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway = gateway(move |_| stream.lock().take().unwrap()).await;
    let lines = [("x-api-key", ALICE), JSON_BODY, BOTH];
    let body = call("tools/call", json!({"name": "get_it"})).to_string();
    feed.send("id: 0/1\nretry: 3000\ndata:\n\n".to_owned()).unwrap();
    let mut response = gateway.open("", Method::POST, &lines, body).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "id: 0/1\nretry: 3000\ndata: \n\n");
    // An event with another name does not belong to MCP.
    feed.send("event: other\ndata: {\"x\":1}\n\nevent: message\ndata: {\"method\":\"x\",\n".to_owned())
        .unwrap();
    feed.send("data:\"params\":{\"a\": 1.50}}\n\n".to_owned()).unwrap();
    let second = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(second, "data: {\"method\":\"x\",\ndata: \"params\":{\"a\": 1.50}}\n\n");
    drop(feed);
    assert!(response.body_mut().frame().await.is_none());
}

/// A stream of ten events before the response, so that the response is not in the first piece.
fn with_progress(request: &Received, last: &str) -> StubAnswer {
    let progress =
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n".repeat(10);
    let last = last.replace("ID", &request.json()["id"].to_string());
    answer_as(200, "text/event-stream", format!("id: 1\ndata:\n\n{progress}data: {last}\n\n"))
}

#[tokio::test]
async fn a_caller_that_accepts_only_json_gets_the_response_of_an_event_stream() {
    let gateway =
        gateway(|request| with_progress(request, r#"{"jsonrpc":"2.0","id":ID,"result":{"content":[]}}"#))
            .await;
    let lines = [("x-api-key", ALICE), JSON_BODY, ("accept", "application/json")];
    let got =
        gateway.send(Method::POST, &lines, call("tools/call", json!({"name": "get_it"})).to_string()).await;
    assert_eq!(
        (got.status, &got.headers["content-type"]),
        (200, &HeaderValue::from_static("application/json"))
    );
    assert_eq!(got.json(), json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}}));
    // The list is filtered like any other.
    let tools = json!([{"name": "get_it"}, {"name": "delete_it"}]);
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).to_string();
    let gateway = super::gateway(move |request| with_progress(request, &list)).await;
    let got = gateway.send(Method::POST, &lines, call("tools/list", json!({})).to_string()).await;
    assert_eq!(got.json()["result"]["tools"], json!([{"name": "get_it"}]));
}

#[tokio::test]
async fn a_caller_that_accepts_only_json_gets_an_error_if_a_stream_is_needed() {
    for (last, expected) in [
        (r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create"}"#, (406, "not-acceptable")),
        (r#"{"jsonrpc":"2.0","method":"notifications/message"}"#, (200, "upstream-bad-answer")),
    ] {
        let gateway = gateway(move |request| with_progress(request, last)).await;
        let lines = [("x-api-key", ALICE), JSON_BODY, ("accept", "application/json")];
        let body = call("tools/call", json!({"name": "get_it"})).to_string();
        let got = gateway.send(Method::POST, &lines, body).await;
        assert_eq!((got.status, got.reason().as_str()), expected, "{got:?}");
        assert_eq!(got.json()["id"], 1);
        let got = gateway.send(Method::GET, &lines, "").await;
        assert_eq!((got.status, got.reason().as_str()), (406, "not-acceptable"), "{got:?}");
        let params = json!({"notifications": {"toolsListChanged": true}});
        let mut lines = modern_lines(ALICE, "subscriptions/listen", &params);
        lines[2] = ("accept", "application/json");
        let body = modern("subscriptions/listen", params.clone()).to_string();
        let got = gateway.send(Method::POST, &lines, body).await;
        assert_eq!((got.status, got.reason().as_str()), (406, "not-acceptable"), "{got:?}");
    }
}

#[tokio::test]
async fn a_trailing_slash_is_the_same_endpoint() {
    let server = "authorization_servers = ['https://idp.example.com']";
    let gateway = gateway_with(server, |request| result(request, json!({}))).await;
    let lines = [("x-api-key", ALICE), JSON_BODY, BOTH];
    let document = "/.well-known/oauth-protected-resource/mcp";
    for (suffix, status) in
        [("", 200), ("/", 200), ("//", 404), ("%2F", 404), ("/%2F", 404), ("/.", 404), ("/;", 404)]
    {
        let ping = call("ping", json!({})).to_string();
        let got = gateway.send_to(&format!("/mcp{suffix}"), Method::POST, &lines, ping).await;
        assert_eq!(got.status, status, "{suffix}: {got:?}");
        let got = gateway.send_to(&format!("{document}{suffix}"), Method::GET, &[], "").await;
        assert_eq!(got.status, status, "{suffix}: {got:?}");
        if status == 200 {
            assert_eq!(got.json()["resource"], gateway.config.upstreams[0].resource);
        }
    }
    // A refusal at that path names the same document.
    let got =
        gateway.send_to("/mcp/", Method::POST, &[JSON_BODY, BOTH], call("ping", json!({})).to_string()).await;
    let challenge = got.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.ends_with(&format!("{document}\"")), "{challenge}");
}

#[tokio::test]
async fn an_endpoint_may_be_at_the_root() {
    let server = "authorization_servers = ['https://idp.example.com']\nallowed_origins = ['https://page.example.com']\n\
                  [upstreams.root]\nown_tools = true\npath = '/'";
    let gateway = gateway_with(server, |request| result(request, json!({}))).await;
    let ping = call("ping", json!({})).to_string();
    let lines = [("x-api-key", ALICE), JSON_BODY, BOTH];
    for (path, status) in [("/", 200), ("//", 404), ("/mcp", 404), ("/stub/mcp", 200), ("/stub/mcp/", 200)] {
        assert_eq!(gateway.send_to(path, Method::POST, &lines, ping.clone()).await.status, status, "{path}");
    }
    let resource =
        gateway.config.upstreams.iter().find(|upstream| upstream.path == "/").unwrap().resource.clone();
    assert!(resource.ends_with(":8787/"), "{resource}");
    // The slash after the host is left out (RFC 9728, section 3.1).
    let document = "/.well-known/oauth-protected-resource";
    for path in [document, "/.well-known/oauth-protected-resource/"] {
        let got = gateway.send_to(path, Method::GET, &[], "").await;
        assert_eq!(got.json()["resource"], *resource, "{path}");
    }
    let got = gateway.send_to("/", Method::POST, &[JSON_BODY, BOTH], ping).await;
    let challenge = got.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.ends_with(&format!(":8787{document}\"")), "{challenge}");
    let asks = [("origin", "https://page.example.com"), ("access-control-request-method", "POST")];
    assert_eq!(gateway.send_to("/", Method::OPTIONS, &asks, "").await.status, 204);
}

#[tokio::test]
async fn a_caller_that_disconnects_ends_the_upstream_request() {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway =
        gateway(move |request| discovers(request).unwrap_or_else(|| stream.lock().take().unwrap())).await;
    let params = json!({"name": "get_it"});
    let lines = modern_lines(ALICE, "tools/call", &params);
    feed.send(": begun\n\n".to_owned()).unwrap();
    let response =
        gateway.open("", Method::POST, &lines, modern("tools/call", params.clone()).to_string()).await;
    drop(response);
    tokio::time::timeout(Duration::from_secs(5), feed.closed()).await.unwrap();
}

#[tokio::test]
async fn a_large_answer_streams_through() {
    let text = "x".repeat(1 << 20);
    let content = json!({"content": [{"type": "text", "text": text}]});
    let gateway = gateway(move |request| result(request, content.clone())).await;
    let got = gateway.post(ALICE, &call("tools/call", json!({"name": "get_it"}))).await;
    assert_eq!(got.json()["result"]["content"][0]["text"].as_str().unwrap().len(), 1 << 20);
}

/// The id comes after the large member, as Go's servers write it.
#[tokio::test]
async fn a_large_answer_to_another_request_is_cut() {
    for (end, is_passed) in
        [(r#""id":1}"#, true), (r#""id":"1"}"#, false), (r#""id":2}"#, false), (r#""x":1}"#, false)]
    {
        let text = "x".repeat(1 << 20);
        let answer = format!(r#"{{"jsonrpc":"2.0","result":{{"content":[],"text":"{text}"}},{end}"#);
        let gateway = gateway(move |_| answer_as(200, "application/json", answer.clone())).await;
        let lines = [("x-api-key", ALICE), JSON_BODY, BOTH];
        let body = call("tools/call", json!({"name": "get_it"})).to_string();
        let response = gateway.open("", Method::POST, &lines, body).await;
        assert_eq!(response.into_body().collect().await.is_ok(), is_passed, "{end}");
    }
    // If the id comes first, no part of the answer is sent.
    let large = json!({"id": 2, "result": {"text": "x".repeat(1 << 20)}}).to_string();
    let gateway = gateway(move |_| answer_as(200, "application/json", large.clone())).await;
    let got = gateway.post(ALICE, &call("tools/call", json!({"name": "get_it"}))).await;
    assert_eq!((got.status, got.reason().as_str()), (200, "upstream-bad-answer"));
}

/// The messages of an event stream.
fn messages(got: &Got) -> Vec<Value> {
    let text = std::str::from_utf8(&got.body).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

#[tokio::test]
async fn the_answer_in_a_stream_is_to_the_request_or_the_stream_ends_with_an_error() {
    let ok = r#"{"jsonrpc":"2.0","id":1,"result":{"kept":1.50}}"#;
    let bad = "upstream-bad-answer";
    for (stream, expected) in [
        (format!("data: {ok}\n\n"), ""),
        (format!("data: {}\n\n", ok.replace(r#""id":1"#, r#""id":"1""#)), ""),
        (format!("data: {}\n\ndata: {ok}\n\n", ok.replace(r#""id":1"#, r#""id":2"#)), bad),
        (format!("id: 4\ndata: {}\n\n", ok.replace(r#""id":1"#, r#""id":2"#)), bad),
        (format!("data: Welcome\n\ndata: {ok}\n\n"), bad),
        (format!("data: [{ok}]\n\n"), bad),
        (r#"data: {"detail":"Not Found"}"#.to_owned() + "\n\n", bad),
        (": nothing\n\n".to_owned(), bad),
        (format!("data: {}\n\n", "x".repeat(17 << 20)), "upstream-flood"),
    ] {
        let shown: String = stream.chars().take(80).collect();
        let stream =
            format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}}\n\n{stream}");
        let gateway = gateway(move |_| answer_as(200, "text/event-stream", stream.clone())).await;
        let got = gateway.post(ALICE, &call("tools/call", json!({"name": "get_it"}))).await;
        let messages = messages(&got);
        let [note, last] = &*messages else { panic!("{shown}: {got:?}") };
        assert_eq!((&note["method"], &last["id"]), (&json!("notifications/message"), &json!(1)), "{shown}");
        assert_eq!(last["error"]["data"]["reason"].as_str().unwrap_or_default(), expected, "{shown}: {last}");
    }
}

#[tokio::test]
async fn a_resumable_stream_may_end_without_an_answer() {
    let gateway = gateway(|_| answer_as(200, "text/event-stream", "id: 1\ndata:\n\n")).await;
    let got = gateway.post(ALICE, &call("tools/call", json!({"name": "get_it"}))).await;
    assert_eq!((got.status, messages(&got).len()), (200, 0), "{got:?}");
}

#[tokio::test]
async fn updates_of_a_resource_in_the_stream_of_a_call_are_authorized() {
    let news = |uri: &str| {
        let news =
            json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}});
        format!("data: {news}\n\n")
    };
    let stream =
        news("file:///etc/a") + &news("file:///docs/a") + "data: {\"id\":1,\"result\":{\"tools\":[{}]}}\n\n";
    let gateway = gateway(move |_| answer_as(200, "text/event-stream", stream.clone())).await;
    let got = gateway.post(ALICE, &call("tools/call", json!({"name": "get_it"}))).await;
    let messages = messages(&got);
    let [news, last] = &*messages else { panic!("{got:?}") };
    assert_eq!(news["params"]["uri"], "file:///docs/a");
    // The result of a call is never a list, whatever the names of its members.
    assert_eq!(last["result"]["tools"], json!([{}]));
}

#[tokio::test]
async fn negotiation_errors_keep_their_status() {
    let gateway = gateway(|request| {
        discovers(request).unwrap_or_else(|| {
            let error = json!({"code": -32601, "message": "no", "data": {"kept": true}});
            json_answer(404, &json!({"jsonrpc": "2.0", "id": request.json()["id"], "error": error}))
        })
    })
    .await;
    let got = gateway.modern(ALICE, "tools/call", json!({"name": "get_it"})).await;
    assert_eq!((got.status, got.json()["error"]["data"]["kept"].as_bool()), (404, Some(true)));
    let unknown = gateway.modern(ALICE, "nobody/knows", json!({})).await;
    assert_eq!((unknown.status, unknown.json()["error"]["code"].as_i64()), (404, Some(-32601)));
    let removed = gateway.modern(ALICE, "resources/subscribe", json!({})).await;
    assert_eq!((removed.status, removed.json()["id"].as_i64()), (404, Some(1)));
    let vendors = gateway.modern(ALICE, "vendor/ping", json!({})).await;
    assert_eq!((vendors.status, vendors.json()["error"]["message"].as_str()), (404, Some("no")));
    let older = gateway.post(ALICE, &call("nobody/knows", json!({}))).await;
    assert_eq!(older.status, 403);
}

#[tokio::test]
async fn a_forged_cancellation_is_not_forwarded() {
    let gateway = gateway(|request| result(request, json!({}))).await;
    let lines = [("x-api-key", ALICE), JSON_BODY, BOTH, ("mcp-protocol-version", "2026-07-28")];
    let body = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let got = gateway.send(Method::POST, &lines, body).await;
    assert_eq!((got.status, got.body.len()), (202, 0));
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn metadata_names_the_authorization_server() {
    let server = "authorization_servers = ['https://idp.example.com']\nresource = 'https://mcp.example.com/mcp'\n\
         resource_name = 'Tickets'\nresource_documentation = 'https://example.com/docs'\n\
         resource_policy_uri = 'https://example.com/policy'\nresource_tos_uri = 'https://example.com/terms'";
    let gateway = gateway_with(server, |request| result(request, json!({}))).await;
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let got = gateway.send_to(path, Method::GET, &[], "").await;
        assert_eq!(got.json()["resource"], "https://mcp.example.com/mcp", "{path}");
        assert_eq!(got.json()["authorization_servers"], json!(["https://idp.example.com"]));
        for (member, value) in [
            ("resource_name", "Tickets"),
            ("resource_documentation", "https://example.com/docs"),
            ("resource_policy_uri", "https://example.com/policy"),
            ("resource_tos_uri", "https://example.com/terms"),
        ] {
            assert_eq!(got.json()[member], value);
        }
    }
    let got = gateway.send(Method::POST, &[JSON_BODY, BOTH], call("ping", json!({})).to_string()).await;
    assert_eq!(
        got.headers["www-authenticate"],
        "Bearer resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\""
    );
    let public = [("host", "mcp.example.com"), ("x-api-key", ALICE), JSON_BODY, BOTH];
    assert_eq!(gateway.send(Method::POST, &public, call("ping", json!({})).to_string()).await.status, 200);
}

#[tokio::test]
async fn a_stop_lets_calls_finish_and_ends_streams() {
    let (feed, stream) = fed();
    let stream = Mutex::new(Some(stream));
    let gateway = gateway(move |_| stream.lock().take().unwrap()).await;
    feed.send(": begun\n\n".to_owned()).unwrap();
    let lines = [("x-api-key", ALICE), JSON_BODY, BOTH];
    let body = call("tools/call", json!({"name": "get_it"})).to_string();
    let response = gateway.open("", Method::POST, &lines, body).await;
    gateway.stop.cancel();
    let closed = async { while tokio::net::TcpStream::connect(&gateway.host).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), closed).await.expect("no new connection is accepted");
    feed.send("data: {\"id\":1,\"result\":{}}\n\n".to_owned()).unwrap();
    drop(feed);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(b"data: {\"id\":1,\"result\":{}}\n\n"));
    tokio::time::timeout(Duration::from_secs(60), gateway.served).await.unwrap().unwrap();
}
