use serde_json::{Value, json};

use super::*;

fn call(method: &str, params: Value) -> Call {
    let mut params = params;
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    Call::parse(Bytes::from(body.to_string())).unwrap()
}

fn opened() -> InitializeAnswer {
    InitializeAnswer::read(
        r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"tasks":{},"prompts":{}},"serverInfo":{"name":"old","version":"3"},"instructions":"be kind"}"#,
    )
}

fn up(call: &Call, response: &str) -> Value {
    let lifted = Uplift::new(call, &opened()).response(&Bytes::copy_from_slice(response.as_bytes()));
    serde_json::from_slice(&lifted).unwrap()
}

#[test]
fn requests_lose_only_the_meta_of_the_protocol() {
    let cases = [
        (json!({"name": "t", "arguments": {"a": 1}}), None, json!({"name": "t", "arguments": {"a": 1}})),
        (
            json!({"name": "t", "_meta": {"traceparent": "x", "io.modelcontextprotocol/logLevel": "info",
                "io.modelcontextprotocol/clientInfo": {"name": "c"}, "example.com/io": 1}}),
            None,
            json!({"name": "t", "_meta": {"traceparent": "x", "example.com/io": 1}}),
        ),
        (
            json!({"name": "t", "_meta": {"progressToken": "p"}}),
            Some("9"),
            json!({"name": "t", "_meta": {"progressToken": 9}}),
        ),
    ];
    for (params, token, expected) in cases {
        let down: Value =
            serde_json::from_slice(&request_down(&call("tools/call", params), "9", token)).unwrap();
        assert_eq!(down, json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": expected}));
    }
}

#[test]
fn arguments_are_forwarded_byte_for_byte() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{ "n": 1.0e+2, "s":"\u0041" },"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let down = request_down(&Call::parse(Bytes::from(body)).unwrap(), "5", None);
    let expected = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","arguments":{ "n": 1.0e+2, "s":"\u0041" }}}"#;
    assert_eq!(down, expected.as_bytes());
}

#[test]
fn results_gain_what_the_stateless_era_requires() {
    let info = json!({"io.modelcontextprotocol/serverInfo": {"name": "old", "version": "3"}});
    let cases = [
        (
            "tools/list",
            json!({}),
            r#"{"tools":[],"x":1}"#,
            json!({"tools": [], "x": 1, "resultType": "complete", "ttlMs": 0, "cacheScope": "private", "_meta": info}),
        ),
        (
            "resources/read",
            json!({"uri": "u:"}),
            r#"{"contents":[],"ttlMs":7,"cacheScope":"public"}"#,
            json!({"contents": [], "resultType": "complete", "ttlMs": 7, "cacheScope": "private", "_meta": info}),
        ),
        (
            "tools/call",
            json!({"name": "t"}),
            r#"{"content":[],"isError":true,"resultType":"task"}"#,
            json!({"content": [], "isError": true, "resultType": "complete", "_meta": info}),
        ),
        (
            "prompts/get",
            json!({"name": "p"}),
            r#"{"messages":[],"_meta":{"a":1}}"#,
            json!({"messages": [], "resultType": "complete",
                "_meta": {"a": 1, "io.modelcontextprotocol/serverInfo": {"name": "old", "version": "3"}}}),
        ),
    ];
    for (method, params, result, expected) in cases {
        let lifted = up(&call(method, params), &format!(r#"{{"jsonrpc":"2.0","id":"k","result":{result}}}"#));
        assert_eq!(lifted, json!({"jsonrpc": "2.0", "id": "k", "result": expected}), "{method}");
    }
}

#[test]
fn error_codes_with_another_meaning_are_mapped() {
    let read = call("resources/read", json!({"uri": "file:///a"}));
    let tool = call("tools/call", json!({"name": "t"}));
    let cases = [
        (
            &read,
            r#"{"code":-32002,"message":"m"}"#,
            json!({"code": -32602, "message": "m", "data": {"uri": "file:///a"}}),
        ),
        (
            &read,
            r#"{"code":-32002,"message":"m","data":{"uri":"b"}}"#,
            json!({"code": -32602, "message": "m", "data": {"uri": "b"}}),
        ),
        (&tool, r#"{"code":-32022,"message":"m"}"#, json!({"code": -32603, "message": "m"})),
        (&tool, r#"{"code":-32042,"message":"m"}"#, json!({"code": -32603, "message": "m"})),
        (&tool, r#"{"code":-32000,"message":"m"}"#, json!({"code": -32000, "message": "m"})),
        (&tool, r#"{"code":-32601,"message":"m"}"#, json!({"code": -32601, "message": "m"})),
        (&tool, r#"{"code":0,"message":"m"}"#, json!({"code": 0, "message": "m"})),
    ];
    for (call, error, expected) in cases {
        let lifted = up(call, &format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#));
        assert_eq!(lifted["error"], expected, "{error}");
    }
}

#[test]
fn logs_are_sent_from_the_requested_level_on() {
    let note = |level: &str| {
        Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}"}}}}"#
        ))
    };
    let quiet = Uplift::new(&call("tools/call", json!({"name": "t"})), &opened());
    let meta = json!({"io.modelcontextprotocol/logLevel": "warning"});
    let loud = Uplift::new(&call("tools/call", json!({"name": "t", "_meta": meta})), &opened());
    assert!(quiet.notification(note("emergency")).is_none());
    assert!(loud.notification(note("notice")).is_none());
    assert!(loud.notification(note("warning")).is_some());
    assert!(loud.notification(note("error")).is_some());
    let changed = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    assert!(loud.notification(changed).is_none());
}

#[test]
fn requests_without_a_bridge_are_refused() {
    for method in ["server/discover", "subscriptions/listen", "tasks/get", "vendor/method"] {
        let params = json!({"notifications": {}, "taskId": "t"});
        assert_eq!(
            bridgeable(&call(method, params)),
            Err(Rejection::Malformed(MessageFault::UnknownMethod(method.to_owned())))
        );
    }
    let retry = call("tools/call", json!({"name": "t", "requestState": "s"}));
    assert!(matches!(bridgeable(&retry), Err(Rejection::Malformed(MessageFault::InvalidParams(_)))));
    assert_eq!(bridgeable(&call("tools/call", json!({"name": "t"}))), Ok(()));
}

#[test]
fn an_older_upstream_is_described_with_the_bridged_features() {
    let described: Value = serde_json::from_str(&discover_result(&opened())).unwrap();
    let expected = json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"],
        "capabilities": {"tools": {}, "prompts": {}},
        "instructions": "be kind",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "old", "version": "3"}},
    });
    assert_eq!(described, expected);
}
