//! Servers with the official SDKs behind Witgate.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{PATIENCE, Running, Setup, free_port, workspace};
use witgate_tests::wire::{Answer, Request, STATEFUL};

/// A Witgate in front of these upstreams, each `NAME = SETTINGS`, for anonymous callers.
fn before(upstreams: &[(&str, String)]) -> Running {
    let setup = Setup::new();
    let upstreams: String =
        upstreams.iter().map(|(name, settings)| format!("[upstreams.{name}]\n{settings}\n")).collect();
    setup.config(
        "",
        &format!(
            "{upstreams}[policies.rules]\nkind = 'rbac'\nconfig = {{ roles = {{ anybody = {{ allow = ['*'] }} }} }}\n\
             [pipeline]\nanonymous = {{ roles = ['anybody'] }}\nauthorize = ['rules']\n"
        ),
    );
    setup.serve()
}

/// A server on the SDK of this Python environment, over stdio.
fn in_python(environment: &str) -> String {
    let script = workspace().join("tests/tests/it/sdk_server.py");
    let python = Clients::installed().unwrap().python_of(environment);
    format!("command = {}", json!([python, script, "stdio"]))
}

/// A session at an upstream's path.
struct Session {
    address: String,
    target: String,
    id: String,
}

impl Session {
    fn open(address: &str, target: &str) -> Self {
        let client = json!({ "name": "t", "version": "0" });
        let hello = json!({ "protocolVersion": STATEFUL, "capabilities": {}, "clientInfo": client });
        let opened = Request::stateful(address, target, "initialize", hello).send();
        let id = opened.header("mcp-session-id").unwrap_or_else(|| panic!("{opened:?}")).to_owned();
        let session = Self { address: address.to_owned(), target: target.to_owned(), id };
        session.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null}"#);
        session
    }

    fn send(&self, message: &str) -> Answer {
        let request = Request::post(&self.address, &self.target, message);
        request.with("MCP-Protocol-Version", STATEFUL).with("Mcp-Session-Id", &self.id).send()
    }

    fn echo(&self, text: &str) -> Answer {
        let params = json!({ "name": "echo", "arguments": { "message": text } });
        self.send(
            &json!({ "jsonrpc": "2.0", "id": text, "method": "tools/call", "params": params }).to_string(),
        )
    }

    fn end(&self) -> Answer {
        Request::new("DELETE", &self.address, &self.target).with("Mcp-Session-Id", &self.id).send()
    }
}

/// The text of the server's `echo`.
fn echoed(answer: &Answer) -> String {
    let text = answer.result()["content"][0]["text"].as_str().map(str::to_owned);
    text.unwrap_or_else(|| panic!("{answer:?}"))
}

/// TypeScript's SDK never answers some of these, and refuses the others; Python's takes most.
#[test]
fn meaningless_nulls_are_accepted_for_servers_of_either_sdk() {
    let everything = json!(Clients::installed().unwrap().everything_command());
    let upstreams = [
        ("typescript", format!("command = {everything}")),
        ("python", in_python("python")),
        ("python1", in_python("python-1")),
    ];
    let gateway = before(&upstreams);
    let call = |rest: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo",{rest}}}}}"#)
    };
    let messages = [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":null}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":null}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":null}}"#.to_owned(),
        call(r#""arguments":{"message":"hi"},"_meta":{"progressToken":null}"#),
        call(r#""arguments":{"message":"hi"},"_meta":null"#),
        call(r#""arguments":null"#),
    ];
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    for (name, _) in &upstreams {
        let session = Session::open(&gateway.address(), &format!("/{name}/mcp"));
        let answers: Vec<Value> = messages.iter().map(|message| session.send(message).message()).collect();
        for (message, answer) in messages.iter().zip(&answers) {
            assert!(answer["result"].is_object(), "{name}: {message}: {answer}");
        }
        assert_eq!(answers[3]["result"]["content"][0]["text"], "Echo: hi", "{name}");
    }
}

/// A server on Python's SDK that speaks HTTP+SSE alone; it ends with the value.
struct Older(Child);

impl Older {
    fn start(environment: &str, port: u16) -> Self {
        let script = workspace().join("tests/tests/it/sdk_server.py");
        let mut command = Command::new(Clients::installed().unwrap().python_of(environment));
        command.arg(script).args(["sse", &port.to_string()]).stderr(Stdio::null());
        let server = Self(command.spawn().unwrap());
        let start_time = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start_time.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn over_sse(url: &str) -> String {
    format!("url = {url:?}\ntransport = \"sse\"\ntimeout_s = 20")
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_oldest_transport_serve_callers_of_either_era() {
    let everything = Clients::installed().unwrap().everything_sse().await.unwrap();
    let (port, port1) = (free_port(), free_port());
    let _servers = [Older::start("python", port), Older::start("python-1", port1)];
    let at = |port: u16| over_sse(&format!("http://127.0.0.1:{port}/sse"));
    let upstreams = [("typescript", over_sse(&everything.url)), ("python", at(port)), ("python1", at(port1))];
    let gateway = before(&upstreams);
    let address = gateway.address();
    for (name, _) in &upstreams {
        let target = format!("/{name}/mcp");
        let [one, other] = [(); 2].map(|()| Session::open(&address, &target));
        assert_eq!((echoed(&one.echo("a")), echoed(&other.echo("b"))), ("Echo: a".into(), "Echo: b".into()));
        assert_eq!(one.echo("c").message()["id"], "c", "{name}");
        let list = one.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert!(list.names("tools", "name").contains(&"echo".to_owned()), "{name}: {list:?}");
        assert_eq!(one.end().status, 200, "{name}");
        assert_eq!((one.echo("d").status, echoed(&other.echo("e"))), (404, "Echo: e".into()), "{name}");
        let call = json!({ "name": "echo", "arguments": { "message": "f" } });
        let bridged = Request::stateless(&address, &target, "tools/call", call).send();
        assert_eq!(echoed(&bridged), "Echo: f", "{name}");
        let answer = Request::stateless(&address, &target, "server/discover", json!({})).send();
        assert_eq!(answer.message()["error"]["code"], -32601, "{name}: {answer:?}");
    }
}

#[test]
fn a_lost_stream_is_opened_again_with_the_next_call() {
    let port = free_port();
    let server = Older::start("python", port);
    let gateway = before(&[("older", over_sse(&format!("http://127.0.0.1:{port}/sse")))]);
    let session = Session::open(&gateway.address(), "/mcp");
    assert_eq!(echoed(&session.echo("a")), "Echo: a");
    drop(server);
    let start = Instant::now();
    let lost = session.echo("b");
    assert_eq!(lost.refusal(), (200, 502, "upstream-unreachable".to_owned()), "{lost:?}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    let _server = Older::start("python", port);
    while session.echo("c").result().is_null() {
        assert!(start.elapsed() < PATIENCE, "{:?}", session.echo("c"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(echoed(&session.echo("d")), "Echo: d");
}

/// A server that answers POST alone does not speak it, and one of Streamable HTTP whose GET is refused neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_oldest_transport_is_reported() {
    let everything = Clients::installed().unwrap().everything_http().await.unwrap();
    let gateway = before(&[("newer", over_sse(&everything.url))]);
    let call = json!({ "name": "echo", "arguments": { "message": "f" } });
    let answer = Request::stateless(&gateway.address(), "/mcp", "tools/call", call).send();
    assert_eq!(answer.refusal(), (200, 502, "upstream-unreachable".to_owned()), "{answer:?}");
}
