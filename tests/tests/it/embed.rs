//! Witgate within other programs: the two examples, in front of real clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::clients::{Client, Clients, Report, Session};
use witgate_tests::gateway::{PATIENCE, Running, Setup, await_some, unframed, workspace};

use crate::caller::{Caller, until};
use crate::swap::rename_over;

/// One of each SDK, and of each era.
const CLIENTS: [Client; 3] = [Client::TsClient, Client::TsSdk, Client::PyMcp];

const REST: &str = "[policies.keys]\nkind = \"api-key\"\nconfig = { store = \"keys.toml\" }\n\
    [policies.roles]\nkind = \"rbac\"\n{component}config = { roles = { reader = { allow = [\"get_*\"] } } }\n\
    [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"roles\"]\n";

/// `embed-rmcp` with a reader; `component` is a line of the rules.
fn rmcp(component: &str) -> (Running, String) {
    let setup = Setup::new().embedded_in("embed-rmcp");
    write_rules(&setup, component);
    let key = setup.key(&["ada", "--role", "reader"]);
    (setup.serve(), key)
}

fn write_rules(setup: &Setup, component: &str) {
    let rest = REST.replace("{component}", component);
    setup.config("", &format!("[upstreams.tools]\nembedded = true\n{rest}"));
}

/// `embed-axum` with a key for reading and one for both.
fn axum() -> (Running, String, String) {
    let setup = Setup::new().embedded_in("embed-axum");
    let rest = "[upstreams.notes]\nembedded = true\n[policies.keys]\nkind = \"api-key\"\n\
        config = { store = \"keys.toml\" }\n[pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"keys\"]\n";
    setup.config("", rest);
    let reader = setup.key(&["reader", "--allow", "read_notes"]);
    let writer = setup.key(&["writer", "--allow", "*_note*"]);
    (setup.serve(), reader, writer)
}

async fn run(client: Client, running: &Running, key: &str, tool: &str, arguments: Value) -> Report {
    let session = Session::http(running.url()).header("X-API-Key", key).call(tool, arguments);
    let clients = Clients::installed().unwrap();
    clients.run(client, &session.limit(Duration::from_secs(60))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_clients_see_and_call_only_allowed_tools_of_an_rmcp_server() {
    let (running, key) = rmcp("");
    for client in CLIENTS {
        let report = run(client, &running, &key, "get_greeting", json!({ "name": "Ada" })).await;
        assert_eq!(report.error, None, "{client:?}");
        assert!(report.lists("get_greeting") && report.lists("get_caller"), "{report:?}");
        assert!(!report.lists("delete_everything"), "{report:?}");
        assert_eq!(report.text().as_deref(), Some("Hello, Ada"), "{client:?}");

        let report = run(client, &running, &key, "delete_everything", json!({})).await;
        assert!(report.error.is_some(), "{report:?}");
        let report = run(client, &running, "wgk_wrong", "get_caller", json!({})).await;
        assert!(report.listed.is_none() && report.error.is_some(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_clients_use_the_guarded_endpoint_of_a_web_application() {
    let (running, reader, writer) = axum();
    for client in CLIENTS {
        let note = format!("{client:?} was here");
        let report = run(client, &running, &writer, "write_note", json!({ "text": note })).await;
        assert_eq!((report.error.as_ref(), report.text().as_deref()), (None, Some("written")), "{report:?}");
        let report = run(client, &running, &reader, "read_notes", json!({})).await;
        assert_eq!(report.listed.as_deref(), Some(&["read_notes".to_owned()][..]), "{report:?}");
        assert!(report.text().unwrap().contains(&note), "{report:?}");
        let report = run(client, &running, &reader, "write_note", json!({ "text": "no" })).await;
        assert!(report.error.is_some(), "{report:?}");
    }
    // The other pages of the program are as open as before.
    let page = reqwest::get(format!("http://{}/", running.address())).await.unwrap();
    assert_eq!(page.text().await.unwrap(), "3 notes so far\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_equal_those_of_the_gateway() {
    let (rmcp, _) = rmcp("");
    let (axum, reader, _) = axum();
    for running in [&rmcp, &axum] {
        for key in [None, Some("wgk_wrong")] {
            let answer = Caller::new(running.url(), key).call("get_caller", json!({})).await;
            assert_eq!(answer.status, 401, "{answer:?}");
        }
        let foreign = reqwest::Client::new().post(running.url()).header("Host", "evil.example");
        assert_eq!(foreign.send().await.unwrap().status(), 403);
        running.await_log("no-credential");
    }
    let answer = Caller::new(axum.url(), Some(&reader)).call("write_note", json!({ "text": "no" })).await;
    assert_eq!((answer.status, answer.reason()), (403, Some("not-allowed")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_gets_the_caller() {
    let (running, key) = rmcp("");
    let caller = Caller::new(running.url(), Some(&key));
    assert_eq!(caller.call("get_caller", json!({})).await.content(), "ada, proven by keys");
    let session = caller.open_session().await;
    assert_eq!(caller.call_in(&session, "get_caller", json!({})).await.content(), "ada, proven by keys");
}

/// Sends a request on a connection that stays open, and returns the status.
fn ask(connection: &mut TcpStream, address: &str, key: &str) -> u16 {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).unwrap();
    let mut reader = BufReader::new(connection);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim().to_ascii_lowercase()
    };
    let status = line().split(' ').nth(1).expect("a status").parse().unwrap();
    let headers: Vec<_> = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    reader.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    status
}

#[test]
fn a_revoked_key_is_refused_on_an_open_connection() {
    let refused_once_revoked = |running: &Running, key: &str, name: &str| {
        let address = running.address();
        let mut connection = TcpStream::connect(&address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let before = ask(&mut connection, &address, key);
        assert!(before != 401 && before != 403, "{before}");
        assert!(running.setup().run(&["key", "revoke", name]).status.success());
        await_some("the key to end", || (ask(&mut connection, &address, key) == 401).then_some(()));
    };
    let (running, key) = rmcp("");
    refused_once_revoked(&running, &key, "ada");
    let (running, reader, _) = axum();
    refused_once_revoked(&running, &reader, "reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_key_that_opened_it() {
    let (running, key) = rmcp("");
    let caller = Caller::new(running.url(), Some(&key));
    let session = caller.open_session().await;
    let mut stream = caller.listen(&session).await;
    assert!(caller.call_in(&session, "get_caller", json!({})).await.is_result());
    assert!(running.setup().run(&["key", "revoke", "ada"]).status.success());
    until("the stream to end", async || stream.chunk().await.ok()?.is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_is_in_force_without_a_restart() {
    let (running, key) = rmcp("");
    let caller = Caller::new(running.url(), Some(&key));
    let denied = caller.call("delete_everything", json!({})).await;
    assert_eq!(denied.status, 403, "{denied:?}");
    let path = running.setup().dir().join("witgate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    rename_over(&path, text.replace("\"get_*\"", "\"delete_*\"").as_bytes());
    until("the rule to be in force", async || {
        caller.call("delete_everything", json!({})).await.is_result().then_some(())
    })
    .await;
    assert_eq!(caller.call("get_caller", json!({})).await.status, 403);
}

/// A component is compiled by the program itself, and swapped like any.
#[tokio::test(flavor = "multi_thread")]
async fn components_decide_and_are_swapped_within_a_program() {
    let setup = Setup::new().embedded_in("embed-rmcp");
    // Code that another test has compiled does not help.
    let setup = setup.env("WITGATE_CACHE", "cache");
    let component = setup.component("rbac");
    write_rules(&setup, "component = \"plugins/rbac.wasm\"\nlimits = { timeout_ms = 20000 }\n");
    let key = setup.key(&["ada", "--role", "reader"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("get_caller", json!({})).await.is_result());
    let digest = crate::swap::policy(&running, "roles")["digest"].clone();
    assert!(digest.is_string(), "{}", running.plugins());

    // It wants names that begin with `get-`, and here they begin with `get_`.
    let other = workspace().join("target/plugins/examples/read-only.wasm");
    rename_over(&component, &std::fs::read(other).unwrap());
    let reason = until("the swap", async || {
        let answer = caller.call("get_caller", json!({})).await;
        (answer.status == 403).then(|| answer.reason().map(str::to_owned))
    })
    .await;
    assert_eq!(reason.as_deref(), Some("not-read-only"));
    assert_ne!(crate::swap::policy(&running, "roles")["digest"], digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_streams_and_sessions_and_leaves_nothing_behind() {
    let (mut running, key) = rmcp("");
    let caller = Caller::new(running.url(), Some(&key));
    let session = caller.open_session().await;
    let mut stream = caller.listen(&session).await;
    running.signal("TERM");
    until("the stream to end", async || stream.chunk().await.ok()?.is_none().then_some(())).await;
    drop(caller);
    assert_eq!(running.wait(), Some(0), "{}", running.log());
    assert!(!running.setup().dir().join("witgate.sock").exists(), "the socket was left");
}

#[test]
fn a_configuration_for_another_use_is_explained() {
    let message = |config: &str| {
        let setup = Setup::new();
        setup.file("keys.toml", "version = 1\n");
        setup.config("", &config.replace("{rest}", &REST.replace("{component}", "")));
        let output = setup.command_of("embed-rmcp", &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        unframed(&String::from_utf8_lossy(&output.stderr))
    };
    let text = message("[upstreams.own]\nown_tools = true\n{rest}");
    assert!(text.contains("the upstream `own` is not this program's own service"), "{text}");
    assert!(text.contains("write `embedded = true`") && text.contains("witgate.toml:"), "{text}");
    let text = message("[upstreams.a]\nembedded = true\n[upstreams.b]\nembedded = true\n{rest}");
    assert!(text.contains("guards one service with one configuration, and there are 2"), "{text}");
    let text = message("[upstreams.a]\nembedded = true\n[policies.keys]\nkind = \"api-kye\"\n[pipeline]\n");
    assert!(text.contains("api-key"), "{text}");
}

#[test]
fn serve_refuses_an_embedded_upstream() {
    let setup = Setup::new();
    setup.file("keys.toml", "version = 1\n");
    write_rules(&setup, "");
    let output = setup.run(&["serve"]);
    assert_eq!(output.status.code(), Some(78));
    let text = unframed(&String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("embedded = true") && text.contains("witgate.toml:"), "{text}");
}

#[test]
fn the_setup_code_of_each_example_is_short() {
    for example in ["embed-rmcp", "embed-axum"] {
        let main =
            std::fs::read_to_string(workspace().join(format!("examples/{example}/src/main.rs"))).unwrap();
        let body = main.split("async fn main()").nth(1).expect("a main");
        let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines < 30, "{example} takes {lines} lines");
    }
}

/// A second program finds the control socket of the first in use, and says so.
#[test]
fn a_second_program_with_the_same_configuration_does_not_start() {
    let (running, _) = rmcp("");
    let output = running.setup().command_of("embed-rmcp", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("admin_listen") || text.contains("another Witgate"), "{text}");
}
