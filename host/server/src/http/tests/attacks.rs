//! Tests of requests that are refused before anything reaches the upstream.

use super::*;

async fn strict_gateway() -> TestGateway {
    gateway(|request| result(request, json!({"content": []}))).await
}

fn allowed() -> Value {
    call("tools/call", json!({"name": "get_it", "arguments": {}}))
}

#[tokio::test]
async fn no_caller_gets_in_without_a_valid_key() {
    let gateway = strict_gateway().await;
    let nothing = gateway.send(Method::POST, &[JSON_BODY, BOTH], allowed().to_string()).await;
    assert_eq!((nothing.status, nothing.reason().as_str()), (401, "no-credential"));
    assert_eq!(nothing.headers["www-authenticate"], "Bearer realm=\"mcp\"");
    assert_eq!(nothing.json()["id"], 1);
    let wrong = gateway.post("nobodys-key-0123456789abcdef01234567", &allowed()).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    let denied = gateway.post(ALICE, &call("tools/call", json!({"name": "drop_it"}))).await;
    assert_eq!(denied.status, 403);
    assert!(!denied.headers.contains_key("www-authenticate"));
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn every_attack_in_a_body_is_refused() {
    let gateway = strict_gateway().await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"get_it","arguments":{{"x":{}{}}}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let cases: Vec<(&str, Bytes, u16, i64)> = vec![
        ("a name twice", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_it","name":"drop_it"}}"#.into(), 400, -32700),
        ("a key twice, deep", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_it","arguments":{"a":[{"b":1,"b":2}]}}}"#.into(), 400, -32700),
        ("a name in another case", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_it","Name":"drop_it"}}"#.into(), 400, -32600),
        ("a batch", format!("[{}]", allowed()).into(), 400, -32600),
        ("a known method as a notification", r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_it"}}"#.into(), 400, -32600),
        ("a known method in another shape", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["get_it"]}}"#.into(), 400, -32602),
        ("two kinds at once", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_it"},"result":{}}"#.into(), 400, -32600),
        ("deep nesting", deep.into(), 400, -32700),
        ("no UTF-8", Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\xff\"}"), 400, -32700),
        ("nothing", Bytes::new(), 400, -32700),
        ("too much", Bytes::from(vec![b' '; (4 << 20) + 1]), 413, 413),
    ];
    for (what, body, status, code) in cases {
        let got = gateway.send(Method::POST, &[("x-api-key", BOB), JSON_BODY, BOTH], body).await;
        assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (status, Some(code)), "{what}");
    }
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn every_attack_in_the_headers_is_refused() {
    let gateway = strict_gateway().await;
    let key = ("x-api-key", ALICE);
    let foreign = ("origin", "http://evil.example.com");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, Headers<'_>, u16)] = &[
        ("two Authorization headers", &[("authorization", "Bearer a"), ("authorization", "Bearer b")], 400),
        ("a foreign origin", &[key, foreign], 403),
        ("a foreign host", &[key, ("host", "evil.example.com")], 403),
        ("a host and origin of the attacker's", &[key, ("host", "evil.example.com"), foreign], 403),
        ("another name", &[key, ("mcp-name", "drop_it")], 400),
        ("another method", &[key, ("mcp-method", "tools/list")], 400),
        ("an unknown version", &[key, ("mcp-protocol-version", "2024-01-01")], 400),
        ("the other era's version", &[key, ("mcp-protocol-version", "2026-07-28")], 400),
        ("two session ids", &[key, ("mcp-session-id", "a"), ("mcp-session-id", "b")], 400),
        ("a cookie instead of a key", &[("cookie", ALICE)], 401),
        ("another scheme", &[("authorization", "Negotiate abc")], 401),
    ];
    for (what, lines, status) in cases {
        let mut lines = lines.to_vec();
        lines.extend([JSON_BODY, BOTH]);
        let got = gateway.send(Method::POST, &lines, allowed().to_string()).await;
        assert_eq!(got.status, *status, "{what}: {got:?}");
    }
    let text = [key, BOTH, ("content-type", "text/plain")];
    assert_eq!(gateway.send(Method::POST, &text, allowed().to_string()).await.status, 415);
    let events_only = [key, JSON_BODY, ("accept", "text/event-stream")];
    assert_eq!(gateway.send(Method::POST, &events_only, allowed().to_string()).await.status, 406);
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn a_valid_token_in_the_url_is_refused() {
    let gateway = strict_gateway().await;
    for query in [format!("?access_token={ALICE}"), format!("?x=1&X-API-Key={ALICE}")] {
        let got = gateway
            .send_to(&query, Method::POST, &[("x-api-key", ALICE), JSON_BODY, BOTH], allowed().to_string())
            .await;
        assert_eq!((got.status, got.reason().as_str()), (400, "bad-credential"), "{query}");
    }
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn other_methods_and_paths_do_not_exist() {
    let gateway = strict_gateway().await;
    for method in [Method::OPTIONS, Method::PUT, Method::PATCH] {
        let got = gateway.send(method, &[("x-api-key", ALICE)], "").await;
        assert_eq!((got.status, got.headers["allow"].to_str().unwrap()), (405, "POST, GET, DELETE"));
    }
    assert_eq!(gateway.send_to("/other", Method::POST, &[], "").await.status, 404);
    assert_eq!(
        gateway.send_to("/.well-known/oauth-protected-resource", Method::GET, &[], "").await.status,
        404
    );
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn the_servers_own_loopback_origin_may_call() {
    let gateway = strict_gateway().await;
    let origin = format!("http://{}", gateway.host);
    assert_eq!(gateway.post_with(ALICE, &[("origin", &origin)], &allowed()).await.status, 200);
}

#[tokio::test]
async fn a_refusal_is_counted() {
    let gateway = strict_gateway().await;
    gateway.post(ALICE, &allowed()).await;
    gateway.post(ALICE, &call("tools/call", json!({"name": "drop_it"}))).await;
    gateway.send(Method::POST, &[], "").await;
    let text = gateway.metrics.render();
    for (outcome, count) in [("allowed", 1), ("denied", 1), ("malformed", 1), ("refused", 0)] {
        let line = format!("witgate_messages_total{{upstream=\"stub\",outcome=\"{outcome}\"}} {count}");
        assert!(text.contains(&line), "{text}");
    }
}
