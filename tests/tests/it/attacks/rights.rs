//! Requests that no rule allows: calls, lists, completions, subscriptions, tasks, unknown methods.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::wire::{Answer, Request, meta};

use super::testbed::{Findings, MARK, Testbed};

const DENIED: (u16, i64, &str) = (403, 403, "not-allowed");
const NO_TASK: (u16, i64, &str) = (200, -32602, "task-not-found");

/// The ways in which the same upstream is reached.
struct Way {
    path: &'static str,
    is_stateless: bool,
    session: Option<String>,
}

impl Way {
    fn all(testbed: &Testbed, key: &str) -> Vec<Self> {
        let way = |path, is_stateless: bool| {
            let session = (!is_stateless).then(|| testbed.session(key, path));
            Self { path, is_stateless, session }
        };
        vec![
            way("/stateful/mcp", false),
            way("/stateful/mcp", true),
            way("/stateless/mcp", true),
            way("/child/mcp", false),
        ]
    }

    fn request(&self, testbed: &Testbed, key: &str, method: &str, params: Value) -> Request {
        match &self.session {
            Some(session) => testbed.stateful(key, self.path, method, params).with("Mcp-Session-Id", session),
            None => testbed.stateless(key, self.path, method, params),
        }
    }

    fn send(&self, testbed: &Testbed, key: &str, method: &str, params: Value) -> Answer {
        self.request(testbed, key, method, params).send_until("\"jsonrpc\"", Duration::from_secs(10))
    }

    fn list(
        &self,
        testbed: &Testbed,
        key: &str,
        method: &str,
        list: &str,
        name: &str,
    ) -> (Vec<String>, Answer) {
        let answer = self.request(testbed, key, method, json!({})).send();
        (answer.names(list, name), answer)
    }
}

#[test]
fn exactly_the_listed_tools_are_callable() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let everything: Vec<_> = Way::all(&testbed, "all")
        .iter()
        .map(|way| way.list(&testbed, "all", "tools/list", "tools", "name").0)
        .collect();
    assert!(everything.iter().all(|tools| tools.len() > 30), "{everything:?}");
    for key in ["all", "greeter", "tester", "nobody", "reader"] {
        for way in Way::all(&testbed, key) {
            let at = format!(
                "{key} at {} ({})",
                way.path,
                if way.is_stateless { "stateless" } else { "stateful" }
            );
            let (names, answer) = way.list(&testbed, key, "tools/list", "tools", "name");
            let expected: Vec<_> = everything[0].iter().filter(|tool| may_call(key, tool)).cloned().collect();
            findings.check(&format!("{at}: the list"), sorted(&names) == sorted(&expected), &answer);
            if way.is_stateless {
                let result = answer.result();
                let is_private = result["cacheScope"] == "private" && !answer.text().contains("\"public\"");
                findings.check(&format!("{at}: cacheScope"), is_private, &answer);
            } else {
                findings.check(&at, answer.result().get("cacheScope").is_none(), &answer);
            }
            for tool in &everything[0] {
                // Those wait for the client, for seconds, or hang up; whether they start is asked
                // of the others.
                if may_call(key, tool) && slow(tool) {
                    continue;
                }
                let answer = way.send(&testbed, key, "tools/call", json!({ "name": tool, "arguments": {} }));
                if names.contains(tool) {
                    findings.check(&format!("{at}: {tool} is listed"), is_not_ours(&answer), &answer);
                } else {
                    let reason =
                        if key == "tester" && tool.starts_with("test_") { "denied" } else { "not-allowed" };
                    let what = format!("{at}: {tool} is not listed");
                    findings.expect_challenge(&what, &answer, (403, 403, reason), None);
                }
            }
            // Names that only look like an allowed one.
            for name in [
                "Greet",
                "greet ",
                " greet",
                "greet\u{0}",
                "gre\u{200b}et",
                "greet/../x",
                "*",
                "",
                "gree?",
                "tools/greet",
            ] {
                if key != "all" {
                    let params = json!({ "name": name, "arguments": {} });
                    let request = way.request(&testbed, key, "tools/call", params).without("Mcp-Name");
                    let request =
                        if way.is_stateless { request.with("Mcp-Name", &encoded(name)) } else { request };
                    findings.expect(&format!("{at}: {name:?}"), &request.send(), DENIED);
                }
            }
        }
    }
    findings.report();
}

fn may_call(key: &str, tool: &str) -> bool {
    match key {
        "all" => true,
        "greeter" => tool == "greet",
        "tester" => {
            tool.starts_with("test_") && !tool.contains("_content") && !tool.starts_with("test_tool_with_")
        }
        _ => false,
    }
}

fn slow(tool: &str) -> bool {
    matches!(tool, "test_reconnection" | "test_sampling" | "test_tool_with_progress" | "slow_compute")
        || tool.contains("elicitation")
        || tool.contains("_job")
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

fn is_not_ours(answer: &Answer) -> bool {
    matches!(answer.status, 200 | 400) && answer.message()["error"]["data"]["reason"].is_null()
}

/// As clients do it where a name is no plain header value.
fn encoded(name: &str) -> String {
    use base64::Engine;
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(name))
}

#[test]
fn rules_hold_for_resources_prompts_and_methods() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    for way in Way::all(&testbed, "reader") {
        let at = |what: &str| format!("{} stateless={}: {what}", way.path, way.is_stateless);
        for (method, list, name, expected) in [
            ("resources/list", "resources", "uri", vec!["test://static-text", "test://static-binary"]),
            ("resources/templates/list", "resourceTemplates", "uriTemplate", vec![]),
            ("prompts/list", "prompts", "name", vec!["test_simple_prompt"]),
            ("tools/list", "tools", "name", vec![]),
        ] {
            let (names, answer) = way.list(&testbed, "reader", method, list, name);
            findings.check(&at(method), names == expected, &answer);
            // The rest of the list does not come by another page.
            let page = way.request(&testbed, "reader", method, json!({ "cursor": "MQ==" })).send();
            findings.check(
                &at("a page"),
                page.message()["error"].is_object() || page.names(list, name) == expected,
                &page,
            );
            let is_private = page.result()["cacheScope"] == "private";
            let is_error = page.message()["error"].is_object();
            findings.check(&at("its scope"), !way.is_stateless || is_error || is_private, &page);
        }
        let prompt = |name: &str| json!({ "ref": { "type": "ref/prompt", "name": name }, "argument": { "name": "arg1", "value": "pa" } });
        let resource = |uri: &str| json!({ "ref": { "type": "ref/resource", "uri": uri }, "argument": { "name": "id", "value": "1" } });
        for (method, params) in [
            ("resources/read", json!({ "uri": "test://watched-resource" })),
            ("resources/read", json!({ "uri": "test://template/1/data" })),
            ("prompts/get", json!({ "name": "test_prompt_with_image" })),
            ("completion/complete", prompt("test_prompt_with_arguments")),
            ("completion/complete", resource("test://template/{id}/data")),
            // A tool and a resource of the same name are two things.
            ("tools/call", json!({ "name": "resource:test://static-text" })),
            ("tools/call", json!({ "name": "test://static-text" })),
            ("resources/read", json!({ "uri": "prompt:test_simple_prompt" })),
            ("prompts/get", json!({ "name": "resource:test://static-text" })),
        ] {
            let answer = way.send(&testbed, "reader", method, params.clone());
            findings.expect_challenge(&at(&format!("{method} {params}")), &answer, DENIED, None);
        }
        for (method, params) in [
            ("resources/read", json!({ "uri": "test://static-text" })),
            ("prompts/get", json!({ "name": "test_simple_prompt" })),
            ("completion/complete", prompt("test_simple_prompt")),
        ] {
            let answer = way.send(&testbed, "reader", method, params);
            findings.check(&at(method), answer.result().is_object(), &answer);
        }
        for method in ["resources/subscribe", "resources/unsubscribe"] {
            if way.is_stateless {
                let answer = way.send(&testbed, "reader", method, json!({ "uri": "test://static-text" }));
                findings.expect(&at(method), &answer, (404, -32601, "unknown-method"));
                continue;
            }
            let answer = way.send(&testbed, "reader", method, json!({ "uri": "test://watched-resource" }));
            findings.expect_challenge(&at(method), &answer, DENIED, None);
            let answer = way.send(&testbed, "reader", method, json!({ "uri": "test://static-text" }));
            findings.check(&at(method), answer.result().is_object(), &answer);
        }
    }
    for key in ["all", "methods"] {
        for way in Way::all(&testbed, key) {
            let at = |what: &str| format!("{key} at {} stateless={}: {what}", way.path, way.is_stateless);
            for method in [
                "tools/Call",
                "TOOLS/CALL",
                "tools/call ",
                "tools/call/",
                "tools//call",
                "x",
                "",
                "rpc.discover",
                "tools/call\u{0}",
                "notifications/x",
            ] {
                let request = way.request(
                    &testbed,
                    key,
                    method,
                    json!({ "name": "greet", "arguments": { "name": MARK } }),
                );
                let request = request.without("Mcp-Method").without("Mcp-Name");
                let request = if way.is_stateless { request.with("Mcp-Method", method) } else { request };
                let answer = request.send();
                // What no header can say is a mismatch; a blank at the end HTTP takes away.
                let expected = match method {
                    _ if !way.is_stateless => DENIED,
                    "tools/call " => (400, -32020, "header-mismatch"),
                    _ if method.contains('\0') => (400, 0, "(none)"),
                    _ => (404, -32601, "unknown-method"),
                };
                findings.expect(&at(&format!("{method:?}")), &answer, expected);
            }
            // A method with a rule goes through, to an upstream that does not know it.
            let answer = way.send(&testbed, key, "x/y", json!({}));
            if key == "methods" {
                let is_theirs = answer.message()["error"]["code"] == -32601
                    && answer.message()["error"]["data"]["reason"].is_null();
                findings.check(&at("x/y"), is_theirs, &answer);
            } else if way.is_stateless {
                findings.expect(&at("x/y"), &answer, (404, -32601, "unknown-method"));
            } else {
                findings.expect(&at("x/y"), &answer, DENIED);
            }
        }
    }
    testbed.nothing_forged_arrived();
    findings.report();
}

#[test]
fn subscriptions_and_tasks_of_others_are_not_accessible() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let path = "/stateless/mcp";
    let listen = |key: &str, notifications: Value| {
        let request =
            testbed.stateless(key, path, "subscriptions/listen", json!({ "notifications": notifications }));
        request.send_until("acknowledged", Duration::from_secs(60))
    };
    for uris in [
        json!(["test://watched-resource"]),
        json!(["test://static-text", "test://watched-resource"]),
        json!(["test://*"]),
        json!(["test://static-text", "test://static"]),
    ] {
        let answer = listen("reader", json!({ "resourceSubscriptions": uris }));
        findings.expect_challenge(&format!("listen to {uris}"), &answer, DENIED, None);
    }
    let answer = listen(
        "reader",
        json!({ "resourceSubscriptions": ["test://static-text"], "toolsListChanged": true }),
    );
    findings.check("listen", answer.status == 200 && answer.text().contains("acknowledged"), &answer);

    // A task of `all`, which no other caller sees.
    let started = with_tasks(&testbed, "all", path).send();
    let task =
        started.result()["taskId"].as_str().unwrap_or_else(|| panic!("no task: {started:?}")).to_owned();
    for thief in ["other", "greeter", "nobody"] {
        for (method, mut params) in [
            ("tasks/get", json!({ "taskId": task })),
            ("tasks/cancel", json!({ "taskId": task })),
            ("tasks/update", json!({ "taskId": task, "inputResponses": {} })),
            ("tasks/get", json!({ "taskId": "no-such-task" })),
        ] {
            params["_meta"] = tasks_meta();
            let answer = testbed.stateless(thief, path, method, params).send();
            findings.expect(&format!("{method} by {thief}"), &answer, NO_TASK);
        }
        let params = json!({ "notifications": { "taskIds": [task] }, "_meta": tasks_meta() });
        let listen = testbed.stateless(thief, path, "subscriptions/listen", params);
        let answer = listen.send_until("acknowledged", Duration::from_secs(60));
        findings.expect(&format!("listen to a task by {thief}"), &answer, NO_TASK);
        for method in ["tasks/result", "tasks/list"] {
            let answer = testbed.stateless(thief, path, method, json!({ "taskId": task })).send();
            findings.expect(&format!("{method} by {thief}"), &answer, (404, -32601, "unknown-method"));
        }
    }
    let named = json!({ "taskId": task, "_meta": tasks_meta() });
    let other_path = testbed.stateless("all", "/stateful/mcp", "tasks/get", named).send();
    findings.expect("the task at another upstream", &other_path, NO_TASK);
    let own = json!({ "taskId": task, "_meta": tasks_meta() });
    let cancel = own.clone();
    let own = testbed.stateless("all", path, "tasks/get", own).send();
    findings.check("the owner", own.status == 200 && own.result()["taskId"] == json!(task), &own);
    let cancelled = testbed.stateless("all", path, "tasks/cancel", cancel).send();
    findings.check(
        "the owner's cancel",
        cancelled.status == 200 && cancelled.result().is_object(),
        &cancelled,
    );
    findings.report();
}

/// Starts a task.
fn with_tasks(testbed: &Testbed, key: &str, path: &str) -> Request {
    let arguments = json!({ "seconds": 30, "label": "x" });
    let params = json!({ "name": "slow_compute", "arguments": arguments, "_meta": tasks_meta() });
    testbed.stateless(key, path, "tools/call", params)
}

fn tasks_meta() -> Value {
    let mut meta = meta();
    let extensions = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    meta["io.modelcontextprotocol/clientCapabilities"] = extensions;
    meta
}

#[test]
fn anonymous_callers_have_only_their_roles() {
    let testbed = Testbed::new();
    let mut findings = Findings::default();
    let path = "/open/mcp";
    let anonymous =
        |method: &str, params: Value| testbed.stateless("all", path, method, params).without("Authorization");
    let list = anonymous("tools/list", json!({})).send();
    findings.check("the list", list.names("tools", "name") == ["greet"], &list);
    findings.check("its scope", list.result()["cacheScope"] == "private", &list);
    let greeted = anonymous("tools/call", json!({ "name": "greet", "arguments": { "name": "x" } })).send();
    findings.check("greet", greeted.status == 200 && greeted.result().is_object(), &greeted);
    for (method, params) in [
        ("tools/call", json!({ "name": "test_simple_text" })),
        ("resources/read", json!({ "uri": "test://static-text" })),
        ("prompts/get", json!({ "name": "test_simple_prompt" })),
        (
            "subscriptions/listen",
            json!({ "notifications": { "resourceSubscriptions": ["test://static-text"] } }),
        ),
    ] {
        let answer = anonymous(method, params).send_until("}}", Duration::from_secs(10));
        findings.expect_challenge(method, &answer, (401, 401, "no-credential"), Some("Bearer realm=\"mcp\""));
    }
    // A task that was never started belongs to nobody.
    let task = anonymous("tasks/get", json!({ "taskId": "1", "_meta": tasks_meta() })).send();
    findings.expect("a task", &task, NO_TASK);
    // An invalid credential does not count as none, and a role without a rule has no rights.
    let wrong = anonymous("tools/list", json!({})).bearer("wg_wrong");
    let answer = wrong.send();
    let is_refused = answer.status == 401
        && answer.header("www-authenticate") == Some("Bearer error=\"invalid_token\", realm=\"mcp\"");
    findings.check("a wrong credential", is_refused, &answer);
    let answer = testbed.stateless("nobody", path, "tools/call", json!({ "name": "greet" })).send();
    findings.expect_challenge("a role of no rule", &answer, DENIED, None);
    let answer = testbed.stateless("all", path, "tools/call", json!({ "name": "test_simple_text" })).send();
    findings.check("staff", answer.status == 200, &answer);
    findings.report();
}
