//! A policy that cannot judge an entry has not denied it: the list is an error, as the call would be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, component};
use witgate_tests::wire::{Answer, Request, STATEFUL};

/// The lists by kind, each with its method.
const LISTS: [(&str, &str, &str); 4] = [
    ("tools/list", "tools", "name"),
    ("resources/list", "resources", "uri"),
    ("resources/templates/list", "resourceTemplates", "uriTemplate"),
    ("prompts/list", "prompts", "name"),
];

/// An upstream whose lists have one entry each, `echo`, and that of tools a second one where it is told of it. Its
/// answers are JSON, or events where the path says so. A GET replays an answer to the request `"old"`.
fn upstream(second: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&stream, second));
        }
    });
    address
}

fn answer(mut stream: &TcpStream, second: Option<&str>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).ok()?;
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (id, method) = match first.starts_with("GET") {
        true => (json!("old"), "tools/list"),
        false => (message["id"].clone(), message["method"].as_str().unwrap_or_default()),
    };
    let listed = LISTS.iter().find(|(list_method, ..)| *list_method == method);
    let result = match listed {
        Some(("tools/list", ..)) => {
            let tools = [Some("echo"), second].into_iter().flatten();
            json!({ "tools": tools.map(|name| json!({ "name": name })).collect::<Vec<_>>() })
        }
        Some((_, list, name @ "name")) => json!({ *list: [{ *name: "echo" }] }),
        Some((_, list, name)) => json!({ *list: [{ *name: "demo:/echo" }] }),
        None if method == "initialize" => {
            json!({ "protocolVersion": STATEFUL, "capabilities": {}, "serverInfo": { "name": "s", "version": "1" } })
        }
        None => json!({}),
    };
    let message = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let (media, body) = match first.contains("/events") || first.starts_with("GET") {
        true => ("text/event-stream", format!("data: {message}\n\n")),
        false => ("application/json", message.to_string()),
    };
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nMcp-Session-Id: one";
    write!(stream, "{head}\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()
}

/// A gateway whose authorizer fails at tools that are named so, before that upstream in both manners.
struct Testbed {
    gateway: Running,
    key: String,
}

const ENDPOINTS: [&str; 2] = ["/json/mcp", "/events/mcp"];

impl Testbed {
    fn new(second: Option<&'static str>) -> Self {
        let upstream = upstream(second);
        let setup = Setup::new();
        setup.config(
            "",
            &format!(
                "[upstreams.json]\nurl = 'http://{upstream}/json'\n[upstreams.events]\nurl = 'http://{upstream}/events'\n\
                 [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
                 [policies.rules]\nkind = 'custom'\ncomponent = '{}'\nbreaker = {{ failures = 3, pause_ms = 30000 }}\n\
                 [pipeline]\nauthenticate = ['keys']\nauthorize = ['rules']\n",
                component("tests/faulty").display()
            ),
        );
        let key = setup.key(&["user", "--allow", "*"]);
        Self { gateway: setup.serve(), key }
    }

    fn ask(&self, path: &str, method: &str, params: Value) -> Answer {
        Request::stateful(&self.gateway.address(), path, method, params).bearer(&self.key).send()
    }

    /// The reason of an answer that has to be an error; its status is that of an error where it is one as a whole.
    fn refused(&self, path: &str, method: &str, params: Value) -> String {
        let answer = self.ask(path, method, params);
        let (status, code, reason) = answer.refusal();
        let is_streamed = path == "/events/mcp" && LISTS.iter().any(|(list, ..)| *list == method);
        assert_eq!((status, code), (if is_streamed { 200 } else { 503 }, 503), "{path} {method}: {answer:?}");
        reason
    }

    /// Has the policy fail until the circuit breaker opens for this caller.
    fn take_out(&self) {
        for _ in 0..3 {
            assert_eq!(self.refused("/json/mcp", "tools/call", json!({ "name": "traps" })), "trap");
        }
        assert_eq!(self.refused("/json/mcp", "tools/call", json!({ "name": "echo" })), "breaker");
    }
}

#[test]
fn an_undecided_entry_makes_the_list_an_error_with_a_record() {
    let testbed = Testbed::new(Some("traps"));
    for path in ENDPOINTS {
        assert_eq!(testbed.refused(path, "tools/list", json!({})), "trap", "{path}");
        // The entries that can be judged are visible all the time.
        let prompts = testbed.ask(path, "prompts/list", json!({}));
        assert_eq!(prompts.names("prompts", "name"), ["echo"], "{path}");
    }
    let log = testbed.gateway.await_log("upstream=\"events\"");
    let failed = |line: &&str| {
        line.contains("outcome=\"failed\"") && line.contains("tools/list") && line.contains("reason=\"trap\"")
    };
    assert_eq!(log.lines().filter(failed).count(), 2, "{log}");
}

#[test]
fn every_list_is_an_error_while_a_breaker_is_open() {
    let testbed = Testbed::new(None);
    testbed.take_out();
    for path in ENDPOINTS {
        for (method, ..) in LISTS {
            assert_eq!(testbed.refused(path, method, json!({})), "breaker", "{path} {method}");
        }
        let completion = json!({ "ref": { "type": "ref/prompt", "name": "echo" }, "argument": { "name": "a", "value": "" } });
        assert_eq!(testbed.refused(path, "completion/complete", completion), "breaker", "{path}");
    }
    let log = testbed.gateway.log();
    let allowed = |line: &&str| line.contains("outcome=\"allowed\"") && line.contains("json");
    assert_eq!(log.lines().filter(allowed).count(), 0, "{log}");
}

#[test]
fn an_undecided_replayed_list_is_an_error_under_its_own_id() {
    let testbed = Testbed::new(None);
    let params = json!({ "protocolVersion": STATEFUL, "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let session = testbed.ask("/json/mcp", "initialize", params).header("mcp-session-id").unwrap().to_owned();
    testbed.take_out();
    let stream = Request::new("GET", &testbed.gateway.address(), "/json/mcp")
        .with("Accept", "text/event-stream")
        .with("MCP-Protocol-Version", STATEFUL)
        .with("Mcp-Session-Id", &session)
        .with("Last-Event-ID", "0")
        .bearer(&testbed.key)
        .send();
    let [replayed] = stream.messages().try_into().unwrap();
    assert_eq!((&replayed["id"], &replayed["error"]["data"]["reason"]), (&json!("old"), &json!("breaker")));
    testbed.gateway.await_log("reason=\"breaker\"");
}
