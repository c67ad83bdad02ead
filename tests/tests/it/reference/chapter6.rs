//! A server with keys in a JSON file, OAuth 2, limits and checks of messages: `examples/replace-chapter6`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use witgate_tests::clients::{Client, Clients, Report, Session, Stage};
use witgate_tests::gateway::{Running, Setup, await_some, unframed, workspace};
use witgate_tests::issuer::{Issuer, Page};
use witgate_tests::wire::{Answer, Request};

/// The key of the environment, with 64 digits.
const DEFAULT: &str = "5f0c8e4e9f0b1a7d3c6b5a49382716f5e4d3c2b1a09f8e7d6c5b4a3928170605";

/// The keys of the former documentation, of 23 and 24 characters.
const FORMER: &str = r#"{
  "api_keys": { "readonly": "readonly-key-0123456789", "limited": "limited-key-01234567890x" },
  "key_permissions": { "readonly": ["get_*", "list_*"] }
}"#;

const READONLY: &str = "readonly-key-0123456789";
const LIMITED: &str = "limited-key-01234567890x";

/// A token of the authorization server.
const TOKEN: &str = "opaque-token-0123456789-abcdefghij";

/// The example's directory, with keys, in front of this authorization server.
fn example(server: &Issuer) -> Setup {
    let setup = bare(server);
    setup.file("api_keys.json", FORMER);
    let imported = setup.run(&["key", "import", "api_keys.json", "--preset", "chapter-6", "--weak"]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    setup
}

/// The same without keys in the store.
fn bare(server: &Issuer) -> Setup {
    let setup = Setup::new().env("MCP_API_KEY", DEFAULT);
    let from = workspace().join("examples/replace-chapter6");
    for name in ["server.py", "cases.toml"] {
        fs::copy(from.join(name), setup.dir().join(name)).unwrap();
    }
    setup.component("examples/request-screen");
    let python = Clients::installed().unwrap().python().display().to_string();
    let config = fs::read_to_string(from.join("witgate.toml")).unwrap();
    let config = config.replace("\"python3\"", &format!("{python:?}"));
    let config = config.replace("127.0.0.1:8787", &setup.address());
    setup.file("witgate.toml", config.replace("https://auth.example.com", &server.url()));
    setup
}

/// Changes the configuration in the directory.
fn change(setup: &Setup, from: &str, to: &str) {
    let config = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    assert!(config.contains(from), "{from}");
    setup.file("witgate.toml", config.replace(from, to));
}

/// An authorization server that knows the token, with these members in its answer.
fn server_of(members: &Value) -> Issuer {
    let server = Issuer::start();
    let mut answer = json!({ "sub": "ada", "azp": "mcp-client", "expires_in": 3600 });
    answer.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    server.put("/oauth/tokeninfo", Page::json(&answer));
    server
}

/// A running gateway, and its authorization server.
fn serve(members: Value) -> (Running, Issuer) {
    let server = server_of(&members);
    (example(&server).serve(), server)
}

async fn run(client: Client, session: &Session) -> Report {
    Clients::installed().unwrap().run(client, session).await.unwrap()
}

fn session(running: &Running) -> Session {
    Session::http(running.url()).limit(Duration::from_secs(60))
}

fn request(running: &Running, method: &str, params: Value) -> Request {
    Request::stateless(&running.address(), "/mcp", method, params)
}

fn call(running: &Running, tool: &str, arguments: Value) -> Request {
    request(running, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// The text of a tool's answer. On a busy machine, Python may not start in the time for a process.
fn answered(request: &Request) -> String {
    await_some("an answer of the tool", || {
        let result = request.send().result();
        (result["isError"] == false).then(|| result["content"][0]["text"].as_str().unwrap().to_owned())
    })
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn told(output: &Output) -> String {
    unframed(&(text(&output.stdout) + &text(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_are_accepted_and_nothing_else() {
    let (running, _server) = serve(json!({ "scope": "mcp:tool:*" }));
    for client in [Client::TsSdk, Client::PyMcp] {
        for (name, value) in [("X-API-Key", READONLY), ("Authorization", &format!("Bearer {TOKEN}"))] {
            let session =
                session(&running).header(name, value).call("get_file", json!({ "name": "plan.txt" }));
            let report = run(client, &session).await;
            assert_eq!(report.text().as_deref(), Some("Nothing is planned."), "{client:?}: {report:?}");
        }
    }
    for (session, reason) in [
        (session(&running), "no-credential"),
        (session(&running).header("X-API-Key", "readonly-key-9876543210"), "unknown-key"),
    ] {
        let error = run(Client::TsSdk, &session).await.error.unwrap();
        assert_eq!((error.stage, error.status, error.reason()), (Stage::Connect, Some(401), Some(reason)));
    }
}

#[test]
fn authentication_is_on_without_a_switch() {
    let setup = example(&server_of(&json!({})));
    let off = setup.command(&["serve"]).env("MCP_AUTH_ENABLED", "false").output().unwrap();
    assert_eq!(off.status.code(), Some(78), "{}", told(&off));
    let running = setup.serve();
    assert_eq!(call(&running, "echo", json!({})).send().status, 401);
}

#[test]
fn clients_are_told_that_authentication_is_required_and_how() {
    let (running, _server) = serve(json!({}));
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let initialize = Request::stateful(&running.address(), "/mcp", "initialize", params);
    assert_eq!(initialize.send().refusal(), (401, 401, "no-credential".to_owned()));
    let opened = initialize.with("X-API-Key", READONLY).send().result();
    assert_eq!(opened["serverInfo"]["name"], "chapter6-server");
    let authentication = &opened["capabilities"]["experimental"]["authentication"];
    assert_eq!(authentication, &json!({ "required": true, "types": ["api_key", "oauth2"] }), "{opened}");
}

#[test]
fn the_file_of_keys_moves_over_hashed_and_can_be_imported_again() {
    let setup = bare(&server_of(&json!({})));
    setup.file("api_keys.json", FORMER);
    let import = |more: &[&str]| setup.run(&[&["key", "import", "api_keys.json"], more].concat());
    let short = import(&[]);
    assert!(!short.status.success() && told(&short).contains("readonly"), "{}", told(&short));
    let first = import(&["--weak", "--preset", "chapter-6"]);
    assert!(first.status.success(), "{}", told(&first));
    let store = fs::read_to_string(setup.dir().join("keys.toml")).unwrap();
    assert!(!store.contains(READONLY) && !store.contains(LIMITED), "{store}");
    let listed: Value = serde_json::from_slice(&setup.run(&["key", "list", "--json"]).stdout).unwrap();
    let allowed: BTreeMap<_, _> =
        listed.as_array().unwrap().iter().map(|key| (key["name"].as_str().unwrap(), &key["allow"])).collect();
    // The file has the patterns of one, and the preset those of the other.
    assert_eq!(allowed["readonly"], &json!(["get_*", "list_*"]));
    assert_eq!(allowed["limited"], &json!(["hello_world", "echo"]));

    let again = import(&["--weak", "--preset", "chapter-6"]);
    assert!(again.status.success() && told(&again).contains("Nothing new"), "{}", told(&again));
    setup.file("api_keys.json", FORMER.replace(LIMITED, "limited-key-98765432109x"));
    assert!(!import(&["--weak"]).status.success());
    let updated = import(&["--weak", "--update"]);
    assert!(updated.status.success() && told(&updated).contains("Replaced: limited"), "{}", told(&updated));
}

#[test]
fn faults_of_the_file_are_named_and_nothing_is_imported() {
    let setup = bare(&server_of(&json!({})));
    let key = |digit: char| digit.to_string().repeat(40);
    for (file, options, said) in [
        (json!({ "api_keys": { "a": key('a') }, "version": 2 }), vec![], "does not have the form"),
        (json!({ "api_keys": { "a": key('a') }, "key_permissions": { "b": ["*"] } }), vec![], "b"),
        (json!({ "api_keys": { "one": key('a'), "two": key('a') } }), vec![], "one"),
    ] {
        setup.file("api_keys.json", file.to_string());
        let output = setup.run(&[&["key", "import", "api_keys.json"], options.as_slice()].concat());
        let said_all = told(&output);
        assert!(!output.status.success() && said_all.contains(said), "{file}: {said_all}");
        assert!(!said_all.contains(&key('a')), "{said_all}");
        assert!(!setup.dir().join("keys.toml").exists());
    }
    let members = json!({ "api_keys": { "a": key('a') }, "key_permissions": { "b": ["*"] }, "version": 2 });
    setup.file("api_keys.json", members.to_string());
    let lenient = setup.run(&["key", "import", "api_keys.json", "--lenient"]);
    assert!(lenient.status.success(), "{}", told(&lenient));
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_decide_about_the_calls_and_the_list_of_a_key() {
    let (running, _server) = serve(json!({}));
    let made = running.setup().key(&["made", "--allow", "list_*", "--format", "urlsafe43"]);
    assert_eq!(made.len(), 43);
    let nothing = running.setup().key(&["nothing"]);
    let table: [(&str, &[&str]); 5] = [
        (
            DEFAULT,
            &["delete_file", "echo", "get_caller", "get_file", "hello_world", "limits_status", "list_files"],
        ),
        (READONLY, &["get_caller", "get_file", "list_files"]),
        (LIMITED, &["echo", "hello_world"]),
        (&made, &["list_files"]),
        (&nothing, &[]),
    ];
    for (key, tools) in table {
        let report = run(Client::TsSdk, &session(&running).header("X-API-Key", key)).await;
        let mut listed = report.listed.unwrap();
        listed.sort();
        assert_eq!(listed, tools);
        let deleted = call(&running, "delete_file", json!({ "name": "none" })).with("X-API-Key", key).send();
        let is_refused = deleted.result()["isError"] == true;
        assert_eq!(is_refused, !tools.contains(&"delete_file"), "{deleted:?}");
    }
}

#[test]
fn a_credential_in_a_message_is_refused() {
    let (running, _server) = serve(json!({}));
    for auth in [
        json!({ "type": "api_key", "api_key": READONLY }),
        json!({ "type": "oauth2", "access_token": TOKEN }),
    ] {
        let params = json!({ "name": "echo", "arguments": { "message": "x" }, "auth": auth });
        for request in [
            request(&running, "tools/call", params.clone()),
            request(&running, "tools/call", params).with("X-API-Key", READONLY),
        ] {
            let refused = request.send();
            assert_eq!(refused.refusal(), (400, 400, "bad-credential".to_owned()));
            assert!(refused.text().contains("header"), "it says where to send it: {refused:?}");
        }
    }
}

#[test]
fn the_server_and_the_log_learn_who_calls_and_how() {
    let (running, _server) = serve(json!({ "scope": "mcp:tool:*" }));
    let keyed = call(&running, "get_caller", json!({})).with("X-API-Key", READONLY);
    assert_eq!(answered(&keyed), "keys||readonly");
    assert!(answered(&call(&running, "get_caller", json!({})).bearer(TOKEN)).ends_with("|ada"));
    running.await_log("subject=\"ada\"");
    let log = running.await_log("subject=\"readonly\"");
    let line = log.lines().find(|line| line.contains("subject=\"readonly\"")).unwrap();
    assert!(line.contains("proven_by=\"keys\"") && line.contains("Z "), "{line}");
    assert!(!log.contains(READONLY) && !log.contains(TOKEN), "no credential is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_the_authorization_server_and_the_first_scope() {
    let (running, server) = serve(json!({}));
    let refused = call(&running, "echo", json!({})).send();
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.contains("scope=\"mcp:server:access\""), "{challenge}");
    let (_, url) = challenge.split_once("resource_metadata=\"").unwrap();
    let metadata: Value = reqwest::get(url.split('"').next().unwrap()).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["authorization_servers"], json!([server.url()]));
}

#[test]
fn a_token_is_good_if_its_server_says_so_and_the_answer_is_remembered() {
    let (running, server) = serve(json!({ "scope": "mcp:tool:*" }));
    let call = |token: &str| call(&running, "hello_world", json!({})).bearer(token).send();
    for _ in 0..3 {
        assert_eq!(call(TOKEN).status, 200);
    }
    assert_eq!(server.count("/oauth/tokeninfo"), 1, "one question");

    // Another client's token, one that has ended, and one that the server does not know.
    let unknown = Page::json(&json!({ "error": "invalid_token" })).status(401);
    for (page, reason) in [
        (Page::json(&json!({ "sub": "ada", "azp": "other", "expires_in": 60 })), "wrong-audience"),
        (Page::json(&json!({ "sub": "ada", "azp": "mcp-client", "exp": 1 })), "expired"),
        (unknown, "inactive"),
    ] {
        server.put("/oauth/tokeninfo", page);
        let refused = call(&format!("{reason}-0123456789-abcdefghij"));
        assert_eq!(refused.refusal(), (401, 401, reason.to_owned()), "{refused:?}");
    }
    server.go_away();
    let lost = "lost-token-0123456789-abcdefghijkl";
    let away = await_some("the server to be away", || Some(call(lost)).filter(|answer| answer.status == 503));
    assert_eq!(away.refusal().2, "unavailable");
    assert_eq!(call(TOKEN).status, 200, "the answer of before still counts");
    assert!(!running.log().contains(lost), "no token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tool_needs_its_scope_or_a_wildcard() {
    let (running, _server) = serve(json!({ "scope": "mcp:tool:echo mcp:tool:list_*" }));
    let bearer = format!("Bearer {TOKEN}");
    let report = run(Client::PyMcp, &session(&running).header("Authorization", &bearer)).await;
    let mut listed = report.listed.unwrap();
    listed.sort();
    assert_eq!(listed, ["echo", "list_files"]);
    let forbidden =
        session(&running).header("Authorization", &bearer).call("get_file", json!({ "name": "x" }));
    let error = run(Client::TsClient, &forbidden).await.error.unwrap();
    let scope = error.scope.unwrap();
    assert!(scope.split(' ').any(|scope| scope == "mcp:tool:get_file"), "{scope}");
    let refused = call(&running, "get_file", json!({ "name": "x" })).bearer(TOKEN).send();
    assert_eq!(refused.refusal(), (403, 403, "insufficient-scope".to_owned()));

    let (all, _server) = serve(json!({ "scope": "mcp:tool:*" }));
    let report = run(Client::PyMcp, &session(&all).header("Authorization", &bearer)).await;
    assert_eq!(report.listed.unwrap().len(), 7);
}

#[test]
fn limits_depend_on_the_kind_of_credential_and_can_be_asked() {
    let setup = example(&server_of(&json!({ "scope": "mcp:tool:*" })));
    // Callers without a credential have the default.
    change(&setup, "[pipeline]\n", "[pipeline]\nanonymous = { roles = [\"caller\"] }\n");
    let running = setup.serve();
    let ask = |request: Request| request.send().result()["structuredContent"]["limits"].clone();
    let of_key = ask(call(&running, "limits_status", json!({})).with("X-API-Key", DEFAULT));
    let of_token = ask(call(&running, "limits_status", json!({})).bearer(TOKEN));
    let limit = |limits: &Value, name: &str| {
        let found = limits.as_array().unwrap().iter().find(|limit| limit["name"] == name);
        found.map(|limit| (limit["rate"].clone(), limit["remaining"].clone()))
    };
    assert_eq!(limit(&of_key, "calls-api-key"), Some((json!("1000/min"), json!(999))));
    assert_eq!(limit(&of_token, "calls-oauth"), Some((json!("500/min"), json!(499))));

    let output = running.setup().run(&["limits", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rates: Vec<_> = all["limits"].as_array().unwrap().iter().map(|limit| limit["rate"].clone()).collect();
    assert_eq!(rates, ["1000/min", "500/min", "100/min"], "{all}");
}

#[test]
fn a_limit_in_any_minute_is_told_as_such_and_changes_while_witgate_runs() {
    let setup = example(&server_of(&json!({})));
    let two = "rate = \"2/min\"\nper = [\"principal\"]";
    change(&setup, "preset = \"chapter-6\"", two);
    let running = setup.serve();
    let call = |key: &str| call(&running, "hello_world", json!({})).with("X-API-Key", key).send();
    let is_limited =
        |answer: &Answer| answer.result()["_meta"]["witgate/refusal"]["reason"] == "rate-limited";
    assert!(!is_limited(&call(DEFAULT)) && !is_limited(&call(DEFAULT)));
    let refused = call(DEFAULT);
    assert!(is_limited(&refused), "{refused:?}");
    let result = refused.result();
    let message = result["content"][0]["text"].as_str().unwrap();
    assert!(
        result["isError"] == true && message.starts_with("Too many calls for the limit `calls`"),
        "{message}"
    );
    assert!(!is_limited(&call(LIMITED)), "each caller has calls of their own");
    change(running.setup(), two, "rate = \"9/min\"\nper = [\"principal\"]");
    await_some("the higher limit", || (!is_limited(&call(DEFAULT))).then_some(()));
}

#[test]
fn an_address_is_blocked_while_witgate_runs_and_before_anything_else() {
    let (running, server) = serve(json!({ "scope": "mcp:tool:*" }));
    // The answer on an open connection is another one; a new connection gets none.
    let deny = running.setup().run(&["peers", "deny", "127.0.0.1"]);
    assert!(deny.status.success(), "{}", told(&deny));
    assert_eq!(call(&running, "echo", json!({ "message": "x" })).bearer(TOKEN).send().status, 0);
    assert_eq!(server.count("/oauth/tokeninfo"), 0, "nobody asks about their token");
    assert!(running.setup().run(&["peers", "allow", "127.0.0.1"]).status.success());
    assert_eq!(call(&running, "echo", json!({ "message": "x" })).bearer(TOKEN).send().status, 200);
}

#[test]
fn large_and_suspicious_messages_are_refused() {
    let (running, server) = serve(json!({ "scope": "mcp:tool:*" }));
    let large = call(&running, "echo", json!({ "message": "x".repeat(1 << 20) })).bearer(TOKEN).send();
    assert_eq!(large.refusal(), (413, 413, "too-large".to_owned()));
    assert_eq!(server.count("/oauth/tokeninfo"), 0, "the size comes before authentication");
    let reason = |arguments: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{arguments},"_meta":{}}}}}"#,
            witgate_tests::wire::meta()
        );
        let request = call(&running, "echo", json!({})).bearer(TOKEN).body(body);
        request.send().result()["_meta"]["witgate/refusal"]["reason"].clone()
    };
    for suspicious in [
        r#"{"message":"../../etc/passwd"}"#,
        r#"{"message":"<SCRIPT>"}"#,
        r#"{"message":"\u003cscript"}"#,
        r#"{"message":"1 UNION ALL SELECT 2"}"#,
        r#"{"message":"eval(x)"}"#,
    ] {
        assert_eq!(reason(suspicious), "screened", "{suspicious}");
    }
    assert_eq!(reason(r#"{"message":"good"}"#), Value::Null);
    // The list is a setting, which changes while Witgate runs.
    change(running.setup(), "'eval\\('", "'forbidden'");
    await_some("the new patterns", || (reason(r#"{"message":"forbidden"}"#) == "screened").then_some(()));
    assert_eq!(reason(r#"{"message":"eval(x)"}"#), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_calls_are_results_for_the_model_and_lines_in_the_log() {
    let (running, _server) = serve(json!({}));
    for client in [Client::TsSdk, Client::PyMcp] {
        let session = session(&running).header("X-API-Key", LIMITED);
        let report = run(client, &session.call("get_file", json!({ "name": "plan.txt" }))).await;
        let result = report.called.as_ref().unwrap_or_else(|| panic!("{report:?}"));
        assert_eq!(result["isError"], true, "{client:?}: {report:?}");
        assert!(report.text().unwrap().starts_with("Permission denied"), "{report:?}");
    }
    let log = running.await_log("reason=\"not-allowed\"");
    let line = log.lines().find(|line| line.contains("reason=\"not-allowed\"")).unwrap();
    for field in ["outcome=\"denied\"", "peer=\"127.0.0.1\"", "subject=\"limited\"", "target="] {
        assert!(line.contains(field), "{field} in {line}");
    }
}

/// A key and a value of the specification of Fernet, which means "hello".
const FERNET: [&str; 2] = [
    "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
];

#[test]
fn encrypted_settings_move_over_into_an_encrypted_store() {
    let setup = example(&server_of(&json!({})));
    let [key, value] = FERNET;
    setup.file("config/encryption.key", key);
    let former = json!({ "encrypted_database_password": value, "log_level": "INFO" });
    setup.file("config/secure_config.json", former.to_string());
    let import = ["secret", "import", "--fernet", "config/encryption.key", "config/secure_config.json"];
    let imported = setup.run(&import);
    assert!(imported.status.success(), "{}", told(&imported));
    let reveal = |name: &str| text(&setup.run(&["secret", "get", name, "--reveal"]).stdout);
    assert_eq!(reveal("database_password"), "hello\n");

    // A new one, which is in use at once.
    let mut command = setup.command(&["secret", "set", "mcp_api_key", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(READONLY.repeat(2).as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(reveal("mcp_api_key"), READONLY.repeat(2) + "\n");
    let store = fs::read(setup.dir().join("secrets.age")).unwrap();
    assert!(!text(&store).contains(READONLY) && !text(&store).contains("hello"));
    let made = fs::metadata(setup.dir().join("witgate.state/secrets.key")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o600, "the key is made with the first secret");
    change(&setup, "{ env = \"MCP_API_KEY\" }", "{ stored = \"mcp_api_key\" }");
    let running = setup.serve();
    let greeting = call(&running, "hello_world", json!({})).with("X-API-Key", &READONLY.repeat(2));
    assert_eq!(answered(&greeting), "Hello, world!");
}

#[test]
fn a_desktop_client_starts_it_and_can_have_a_log_of_debugging() {
    let setup = example(&server_of(&json!({})));
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"desktop","version":"1"}}}"#;
    for (switch, is_debug) in [("true", true), ("false", false)] {
        let mut command = setup.command(&["serve", "--transport", "stdio"]);
        command.env_remove("RUST_LOG").env("MCP_DEBUG", switch).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{initialize}").unwrap();
        let output = child.wait_with_output().unwrap();
        let opened: Value = serde_json::from_str(text(&output.stdout).lines().next().unwrap()).unwrap();
        assert_eq!(opened["result"]["serverInfo"]["name"], "chapter6-server", "{opened}");
        assert_eq!(text(&output.stderr).contains("DEBUG"), is_debug, "{}", text(&output.stderr));
    }
}

#[test]
fn a_policy_that_does_not_pass_its_cases_does_not_go_live() {
    let (running, _server) = serve(json!({ "scope": "mcp:tool:echo" }));
    assert!(running.setup().run(&["check"]).status.success());
    change(running.setup(), "unscoped_policies = [\"keys\"]\n", "");
    let checked = running.setup().run(&["check"]);
    assert!(
        !checked.status.success() && told(&checked).contains("a key needs no scope"),
        "{}",
        told(&checked)
    );
    running.await_log("a key needs no scope");
    // The former policy decides.
    let greeting = call(&running, "hello_world", json!({})).with("X-API-Key", LIMITED);
    assert_eq!(answered(&greeting), "Hello, world!");
}
