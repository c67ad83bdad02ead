//! One server with one key in the environment, which a desktop client starts: `examples/replace-instability`.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use witgate_tests::clients::{Client, Clients, Report, Session, Stage};
use witgate_tests::gateway::{Setup, program, workspace};

/// A key as `secrets.token_hex(32)` makes it.
const KEY: &str = "5f0c8e4e9f0b1a7d3c6b5a49382716f5e4d3c2b1a09f8e7d6c5b4a3928170605";

/// A message that every client sends first.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"desktop","version":"1"}}}"#;

/// The example's directory, with the server's command made absolute.
fn example() -> Setup {
    let setup = Setup::new();
    for name in ["mcp_server.py", "witgate.toml"] {
        let from = workspace().join("examples/replace-instability").join(name);
        let text = fs::read_to_string(from).unwrap();
        setup.file(name, text.replace("\"python3\", \"mcp_server.py\"", &quoted(&server(&setup))));
    }
    setup
}

/// The server as its users start it.
fn server(setup: &Setup) -> [String; 2] {
    let script = setup.dir().join("mcp_server.py").display().to_string();
    [Clients::installed().unwrap().python().display().to_string(), script]
}

fn quoted(command: &[String]) -> String {
    command.iter().map(|part| format!("{part:?}")).collect::<Vec<_>>().join(", ")
}

/// `witgate wrap -- python mcp_server.py`, with more options.
fn wrapped(setup: &Setup, options: &[&str]) -> Vec<String> {
    let start = [program("witgate").display().to_string(), "wrap".to_owned()];
    let options = options.iter().map(|option| (*option).to_owned());
    start.into_iter().chain(options).chain(["--".to_owned()]).chain(server(setup)).collect()
}

/// `witgate serve` on the example's configuration.
fn served(setup: &Setup) -> Vec<String> {
    let config = setup.dir().join("witgate.toml").display().to_string();
    [program("witgate").display().to_string(), "serve".to_owned(), "--config".to_owned(), config].into()
}

/// A session with the key in the client's configuration.
fn session(command: Vec<String>, key: &str) -> Session {
    Session::stdio(command).env("MCP_API_KEY", key).call("list_topics", json!({}))
}

async fn run(client: Client, session: &Session) -> Report {
    Clients::installed().unwrap().run(client, session).await.unwrap()
}

/// The output of a process that gets one message.
fn told(setup: &Setup, command: &[String], variables: &[(&str, &str)]) -> Output {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).current_dir(setup.dir()).env_clear().envs(variables.iter().copied());
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process.spawn().unwrap();
    // A process that refuses to start does not read.
    let _ = writeln!(child.stdin.take().unwrap(), "{INITIALIZE}");
    child.wait_with_output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[track_caller]
fn refuses_to_start(output: &Output, because: &str) {
    let log = text(&output.stderr);
    assert_eq!((output.status.code(), log.contains(because)), (Some(78), true), "{log}");
    assert_eq!(text(&output.stdout), "", "nothing is answered");
}

#[tokio::test]
async fn clients_use_the_server_with_variables_alone() {
    let setup = example();
    let session = session(wrapped(&setup, &[]), KEY).env("MCP_AUTH_ENABLED", "true");
    for client in [Client::TsSdk, Client::PyMcp] {
        let report = run(client, &session).await;
        assert_eq!(report.error, None, "{client:?}");
        assert!(report.lists("ask") && report.lists("forget_everything"), "{report:?}");
        assert_eq!(report.text().as_deref(), Some("lunch, weather"));
    }
}

#[tokio::test]
async fn the_switch_is_true_false_or_refused() {
    let setup = example();
    let off =
        Session::stdio(wrapped(&setup, &[])).env("MCP_AUTH_ENABLED", "false").call("list_topics", json!({}));
    assert_eq!(run(Client::TsSdk, &off).await.error, None);
    let output = told(&setup, &wrapped(&setup, &[]), &[("MCP_AUTH_ENABLED", "false")]);
    let log = text(&output.stderr);
    assert!(log.contains("WARN") && log.contains("MCP_AUTH_ENABLED=false"), "{log}");
    let maybe = [("MCP_AUTH_ENABLED", "maybe"), ("MCP_API_KEY", KEY)];
    refuses_to_start(&told(&setup, &wrapped(&setup, &[]), &maybe), "neither `true` nor `false`");
}

#[test]
fn without_a_usable_key_nothing_starts() {
    let setup = example();
    let command = wrapped(&setup, &[]);
    refuses_to_start(&told(&setup, &command, &[]), "MCP_API_KEY is not set");
    refuses_to_start(&told(&setup, &command, &[("MCP_API_KEY", "")]), "MCP_API_KEY");
    refuses_to_start(&told(&setup, &command, &[("MCP_APIKEY", KEY)]), "did you mean `MCP_API_KEY`?");
    let short = told(&setup, &command, &[("MCP_API_KEY", "short-key-1")]);
    refuses_to_start(&short, "at least 32 are needed");
    assert!(!text(&short.stderr).contains("short-key-1"));
}

#[tokio::test]
async fn variables_come_out_of_a_file() {
    let setup = example();
    setup.file(".env", format!("# for this project\nexport MCP_AUTH_ENABLED=true\nMCP_API_KEY=\"{KEY}\"\n"));
    let file = setup.dir().join(".env").display().to_string();
    let session = Session::stdio(wrapped(&setup, &["--env-file", &file])).call("list_topics", json!({}));
    assert_eq!(run(Client::PyMcp, &session).await.error, None);
}

#[tokio::test]
async fn a_key_of_the_former_form_is_made_imported_and_used() {
    let setup = example();
    let made = setup.key(&["ada", "--role", "reader", "--format", "hex64"]);
    assert!(made.len() == 64 && made.bytes().all(|digit| digit.is_ascii_hexdigit()), "{}", made.len());
    assert_eq!(setup.key(&["eve", "--role", "reader", "--length", "80"]).len(), 80);
    let imported = setup
        .command(&["key", "import", "--env", "OLD_KEY=desktop", "--allow", "*"])
        .env("OLD_KEY", KEY)
        .output();
    let imported = imported.unwrap();
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let store = fs::read_to_string(setup.dir().join("keys.toml")).unwrap();
    assert!(!store.contains(KEY) && !store.contains(&made), "the store has digests only");
    let report = run(Client::TsSdk, &session(served(&setup), &made)).await;
    assert_eq!((report.error, report.called.is_some()), (None, true));
}

#[tokio::test]
async fn missing_and_wrong_keys_are_refused_at_the_first_message() {
    let setup = example();
    setup.key(&["ada", "--role", "reader"]);
    let without = Session::stdio(served(&setup));
    let wrong = session(served(&setup), KEY);
    for (session, reason) in [(without, "no-credential"), (wrong, "unknown-key")] {
        let error = run(Client::TsSdk, &session).await.error.unwrap();
        assert_eq!((error.stage, error.code), (Stage::Connect, Some(401)), "{error:?}");
        assert_eq!(error.reason(), Some(reason));
    }
}

#[test]
fn the_log_explains_a_refusal_without_the_key() {
    let setup = example();
    let key = setup.key(&["ada", "--role", "reader"]);
    let cut = &key[..key.len() - 1];
    let mut command = served(&setup);
    command.extend(["--log-level", "debug"].map(str::to_owned));
    let output = told(&setup, &command, &[("MCP_API_KEY", cut)]);
    let log = text(&output.stderr);
    assert!(log.contains("46 characters") && log.contains("reason=\"unknown-key\""), "{log}");
    assert!(!log.contains(&cut[4..20]), "the log shows a part of the key");
    let checked = |key: &str| {
        let mut command = setup.command(&["key", "check", key]);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(checked(&key).0, Some(0));
    let (code, why) = checked(&format!("\"{key}\""));
    assert!(code == Some(1) && why.contains("quotes around it") && !why.contains(&key), "{why}");
}

#[test]
fn a_wrong_path_is_named() {
    let setup = example();
    let text_of = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let python = server(&setup)[0].clone();
    setup.file("witgate.toml", text_of.replace(&python, "/nowhere/python3"));
    let output = setup.run(&["check"]);
    let told = text(&output.stderr);
    assert!(!output.status.success() && told.contains("/nowhere/python3"), "{told}");
}

#[tokio::test]
async fn keys_are_rotated_and_revoked() {
    let setup = example();
    let first = setup.key(&["ada", "--role", "reader"]);
    let rotated = setup.run(&["key", "rotate", "ada", "--overlap", "1h", "--json"]);
    let second: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    let second = second["key"].as_str().unwrap();
    for key in [&first, second] {
        assert_eq!(run(Client::TsSdk, &session(served(&setup), key)).await.error, None);
    }
    assert!(setup.run(&["key", "revoke", "ada"]).status.success());
    for key in [&first, second] {
        let error = run(Client::TsSdk, &session(served(&setup), key)).await.error.unwrap();
        assert_eq!(error.reason(), Some("revoked"));
    }
}

#[tokio::test]
async fn roles_limits_and_the_audit_log_are_there() {
    let setup = example();
    let config = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    setup
        .file("witgate.toml", config.replace("burst = 10", "burst = 1") + "[audit]\ndirectory = \"audit\"\n");
    let key = setup.key(&["ada", "--role", "reader"]);
    let report = run(Client::TsSdk, &session(served(&setup), &key)).await;
    assert!(report.lists("ask") && !report.lists("forget_everything"), "{report:?}");
    let forbidden = session(served(&setup), &key).call("forget_everything", json!({}));
    let error = run(Client::TsSdk, &forbidden).await.error.unwrap();
    assert_eq!((error.code, error.reason()), (Some(403), Some("not-allowed")));

    let ask = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask","arguments":{"question":"lunch"}}}"#;
    let limited = asked_twice(&setup, &key, ask);
    assert!(limited.contains("\"rate-limited\""), "{limited}");

    let entries = text(&setup.run(&["audit", "query", "--json"]).stdout);
    for outcome in ["\"allowed\"", "\"not-allowed\"", "\"rate-limited\""] {
        assert!(entries.contains(outcome), "{entries}");
    }
    assert!(setup.run(&["audit", "verify"]).status.success());
}

/// The answers to a handshake and two equal calls in one process.
fn asked_twice(setup: &Setup, key: &str, call: &str) -> String {
    let mut command = setup.command(&["serve"]);
    command.env("MCP_API_KEY", key).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    write!(
        child.stdin.take().unwrap(),
        "{INITIALIZE}\n{initialized}\n{call}\n{}\n",
        call.replace(":2,", ":3,")
    )
    .unwrap();
    text(&child.wait_with_output().unwrap().stdout)
}

/// The client's settings, as `init` prints them, start a guarded server.
#[tokio::test]
async fn one_command_makes_a_key_and_the_clients_configuration() {
    let setup = example();
    std::fs::remove_file(setup.dir().join("witgate.toml")).unwrap();
    let [python, script] = server(&setup);
    let init = ["init", "--json", "--server-name", "instability-chatbot", "--client", "claude", "--command"];
    let output = setup.run(&[&init[..], &[&python, &script]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = &made["client_settings"]["mcpServers"]["instability-chatbot"];
    let arguments = settings["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    let command: Vec<String> =
        [settings["command"].as_str().unwrap()].into_iter().chain(arguments).map(str::to_owned).collect();
    assert!(command[0].starts_with('/'), "{command:?}");
    let key = settings["env"]["MCP_API_KEY"].as_str().unwrap();
    let report = run(Client::TsSdk, &session(command, key)).await;
    assert_eq!(report.text().as_deref(), Some("lunch, weather"), "{report:?}");
    let ignored = fs::read_to_string(setup.dir().join(".gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == ".env"), "{ignored}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_can_be_asked() {
    let setup = example();
    let config = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let address = setup.address();
    setup.file("witgate.toml", config.replace("transport = \"stdio\"", &format!("listen = \"{address}\"")));
    setup.key(&["ada", "--role", "reader"]);
    let running = setup.serve();
    let output = running.setup().run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&status["auth_enabled"], &status["api_key_configured"]),
        (&json!(true), &json!(true)),
        "{status}"
    );
}
