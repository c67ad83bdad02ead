//! Servers made with the official SDKs behind Witgate.

use serde_json::json;
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{Running, Setup, workspace};
use witgate_tests::wire::{Request, STATEFUL};

/// A Witgate before these upstreams, each `NAME = SETTINGS`, for callers without a name.
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

/// Opens a session and sends a message in it that may hold what `json!` would not write.
fn ask(address: &str, target: &str, messages: &[&str]) -> Vec<serde_json::Value> {
    let hello = json!({ "protocolVersion": STATEFUL, "capabilities": {}, "clientInfo": { "name": "t", "version": "0" } });
    let opened = Request::stateful(address, target, "initialize", hello).send();
    let session = opened.header("mcp-session-id").unwrap_or_else(|| panic!("{opened:?}")).to_owned();
    let send = |message: &str| {
        Request::post(address, target, message)
            .with("MCP-Protocol-Version", STATEFUL)
            .with("Mcp-Session-Id", &session)
            .send()
    };
    send(r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null}"#);
    messages.iter().map(|message| send(message).message()).collect()
}

/// TypeScript's SDK never answers some of these, and refuses the others; Python's takes most.
#[test]
fn nulls_that_mean_nothing_are_taken_before_servers_of_either_sdk() {
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
        let answers = ask(&gateway.address(), &format!("/{name}/mcp"), &messages);
        for (message, answer) in messages.iter().zip(&answers) {
            assert!(answer["result"].is_object(), "{name}: {message}: {answer}");
        }
        assert_eq!(answers[3]["result"]["content"][0]["text"], "Echo: hi", "{name}");
    }
}
