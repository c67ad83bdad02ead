//! A session is not a credential: its id alone gives no rights.

use std::time::Duration;

use serde_json::json;
use witgate_tests::wire::STATEFUL;

use super::testbed::{Findings, MARK, Testbed};

const NOT_FOUND: (u16, i64, &str) = (404, 404, "session-not-found");
/// Long enough for a stream to say what it would say at once.
const A_MOMENT: Duration = Duration::from_millis(400);

#[test]
fn sessions_belong_to_the_caller_that_opened_them() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    for path in ["/stateful/mcp", "/child/mcp", "/record/mcp"] {
        let session = testbed.session("all", path);
        let elsewhere =
            testbed.session("all", if path == "/child/mcp" { "/stateful/mcp" } else { "/child/mcp" });
        let list = |key: &str, session: &str| {
            testbed.stateful(key, path, "tools/list", json!({})).with("Mcp-Session-Id", session)
        };
        let mut refused = |what: &str, request: witgate_tests::wire::Request| {
            findings.expect(
                &format!("{path}: {what}"),
                &request.send_until("}}", Duration::from_secs(10)),
                NOT_FOUND,
            );
        };
        for thief in ["other", "greeter", "nobody"] {
            refused(&format!("POST by {thief}"), list(thief, &session));
            let call = json!({ "name": "greet", "arguments": { "name": MARK } });
            if thief != "nobody" {
                let call = testbed.stateful(thief, path, "tools/call", call).with("Mcp-Session-Id", &session);
                refused(&format!("call by {thief}"), call);
            }
            refused(
                &format!("ping by {thief}"),
                testbed.stateful(thief, path, "ping", json!({})).with("Mcp-Session-Id", &session),
            );
            let body = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1, "reason": MARK } });
            let cancel = list(thief, &session).body(body.to_string());
            refused(&format!("notification by {thief}"), cancel);
            let body = json!({ "jsonrpc": "2.0", "id": 0, "result": { "action": "accept", "x": MARK } });
            refused(&format!("answer by {thief}"), list(thief, &session).body(body.to_string()));
            refused(&format!("GET by {thief}"), testbed.bodiless(thief, "GET", path, &session));
            for id in ["0", "0/0", "1/0", "0/1", ""] {
                let resumed = testbed.bodiless(thief, "GET", path, &session).with("Last-Event-ID", id);
                refused(&format!("resumption of {id} by {thief}"), resumed);
            }
            refused(&format!("DELETE by {thief}"), testbed.bodiless(thief, "DELETE", path, &session));
        }
        for id in [
            elsewhere.as_str(),
            "00000000-0000-0000-0000-000000000000",
            "x",
            "../x",
            &session.to_uppercase(),
            &session[1..],
        ] {
            if id == session {
                continue;
            }
            refused(&format!("session {id}"), list("all", id));
            refused(&format!("GET {id}"), testbed.bodiless("all", "GET", path, id));
            refused(&format!("DELETE {id}"), testbed.bodiless("all", "DELETE", path, id));
        }
        // Without a credential, the answer says nothing about sessions.
        for request in [
            list("all", &session),
            testbed.bodiless("all", "GET", path, &session),
            testbed.bodiless("all", "DELETE", path, &session),
            testbed.bodiless("all", "DELETE", path, "x"),
        ] {
            let answer = request.without("Authorization").send();
            let challenge = Some("Bearer realm=\"mcp\"");
            findings.expect_challenge(path, &answer, (401, 401, "no-credential"), challenge);
        }
        // No session at all.
        let required = (400, 400, "session-required");
        for method in ["GET", "DELETE"] {
            let answer = testbed.bodiless("all", method, path, "").without("Mcp-Session-Id").send();
            findings.expect(&format!("{path}: {method} without a session"), &answer, required);
        }
        // The owner still has all rights.
        let answer = list("all", &session).send();
        findings.check(&format!("{path}: the owner"), answer.status == 200, &answer);
        if path == "/stateful/mcp" {
            let stream = testbed.bodiless("all", "GET", path, &session).send_until("\n\n", A_MOMENT);
            findings.check(&format!("{path}: the owner's stream"), stream.status == 200, &stream);
        }
        let ended = testbed.bodiless("all", "DELETE", path, &session).send();
        findings.check(&format!("{path}: the owner's DELETE"), ended.status == 200, &ended);
        findings.expect(&format!("{path}: an ended session"), &list("all", &session).send(), NOT_FOUND);
    }
    testbed.nothing_forged_arrived();
    findings.report();
}

/// A replayed stream is filtered as the first time, and only its owner may ask for it.
#[test]
fn a_resumed_stream_shows_only_allowed_messages() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let path = "/stateful/mcp";
    let session = testbed.session("greeter", path);
    let list =
        testbed.stateful("greeter", path, "tools/list", json!({})).with("Mcp-Session-Id", &session).send();
    findings.check("the list", list.names("tools", "name") == ["greet"], &list);
    let ids: Vec<String> = String::from_utf8_lossy(&list.body)
        .lines()
        .filter_map(|line| Some(line.strip_prefix("id:")?.trim().to_owned()))
        .collect();
    assert!(!ids.is_empty(), "rmcp numbers its events: {list:?}");
    for id in &ids {
        let get = testbed.bodiless("greeter", "GET", path, &session).with("Last-Event-ID", id);
        let replayed = get.send_until("\"tools\"", Duration::from_secs(2));
        for message in replayed.messages() {
            if let Some(tools) = message["result"]["tools"].as_array() {
                let names: Vec<_> = tools.iter().map(|tool| &tool["name"]).collect();
                findings.check(&format!("replayed from {id}"), names == [&json!("greet")], &replayed);
            }
        }
        findings.check(&format!("GET from {id}"), !replayed.text().contains("test_simple_text"), &replayed);
    }
    // And a list in an older revision, or in none, is the same.
    for version in ["2025-06-18", "2025-03-26", "2024-11-05", STATEFUL] {
        let list =
            testbed.stateful("greeter", path, "tools/list", json!({})).with("Mcp-Session-Id", &session);
        let answer = list.set("MCP-Protocol-Version", version).send();
        findings.check(version, answer.names("tools", "name") == ["greet"], &answer);
    }
    findings.report();
}

/// Outside of any session there is nothing of the server's to answer, and nothing of this caller's to cancel: what
/// such a message names is somebody else's.
#[test]
fn answers_and_cancellations_need_a_session() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let notification = |method: &str, params: serde_json::Value| json!({ "jsonrpc": "2.0", "method": method, "params": params });
    let messages = [
        json!({ "jsonrpc": "2.0", "id": 0, "result": { "action": "accept", "content": { "x": MARK } } }),
        json!({ "jsonrpc": "2.0", "id": "a", "error": { "code": -1, "message": MARK } }),
        notification("notifications/cancelled", json!({ "requestId": 1, "reason": MARK })),
        notification("notifications/progress", json!({ "progressToken": 1, "progress": 1, "message": MARK })),
        notification("notifications/roots/list_changed", json!({ "_meta": { "x": MARK } })),
        notification(
            "notifications/tasks/status",
            json!({ "taskId": "1", "status": "completed", "x": MARK }),
        ),
    ];
    for path in ["/stateful/mcp", "/child/mcp", "/record/mcp", "/open/mcp"] {
        for message in &messages {
            let sent = testbed.post(path, message.to_string()).with("MCP-Protocol-Version", STATEFUL);
            let required = (400, 400, "session-required");
            findings.expect(&format!("{path}: {message}"), &sent.send(), required);
            let unknown = sent.clone().without("Authorization");
            let answer = unknown.send();
            // An unknown caller learns nothing about sessions; an anonymous one needs a session as well.
            let expected = if path == "/open/mcp" { 400 } else { 401 };
            findings.check(&format!("{path}: {message} by nobody"), answer.status == expected, &answer);
        }
    }
    testbed.nothing_forged_arrived();
    findings.report();
}
