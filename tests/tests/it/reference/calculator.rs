//! A calculator with credentials in arguments, over HTTP: `examples/replace-calculator`.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use witgate_tests::clients::{Client, Clients, Report, Session};
use witgate_tests::gateway::{PATIENCE, Running, Setup, await_some, workspace};
use witgate_tests::issuer::{Issuer, Page};
use witgate_tests::pki::{Authority, Order};
use witgate_tests::possession::now;
use witgate_tests::tls_client::TlsClient;
use witgate_tests::wire::{Answer, Request};

/// The key in the environment, as `secrets.token_urlsafe(32)` makes it.
const KEY: &str = "hWcZ3b0w1xkq2T6mV9pY4sN7dR8fG5jLaQeU0iOvBnE";

/// The secret of the tokens of before.
const JWT_SECRET: &str = "a-former-secret-of-more-than-32-bytes";

/// The secret of the tokens of `issue_token`.
const ISSUED_SECRET: &str = "a-new-secret-only-for-the-tool-issue_token";

const PASSWORD: &str = "correct horse battery";

/// The example with its variables. The server's input is also in `requests.log`.
fn example() -> Setup {
    let setup = Setup::new()
        .env("CALCULATOR_API_KEY", KEY)
        .env("JWT_SECRET", JWT_SECRET)
        .env("ISSUED_TOKENS_SECRET", ISSUED_SECRET);
    configure(&setup, "", |text| text);
    let added =
        run_with(&setup, &["user", "add", "admin", "--role", "everything", "--password-stdin"], PASSWORD);
    assert!(added.status.success(), "{}", text(&added.stderr));
    setup.key(&["ada", "--role", "everything"]);
    setup
}

/// Writes the example's configuration with changes, and without its limit unless that is the point.
fn configure(setup: &Setup, server: &str, change: impl Fn(String) -> String) {
    let directory = workspace().join("examples/replace-calculator");
    let script = fs::read_to_string(directory.join("mcp_server.py")).unwrap();
    let script = setup.file("mcp_server.py", script);
    let config = fs::read_to_string(directory.join("witgate.toml")).unwrap();
    let config = config.replace("rate = \"10/min\"", "rate = \"10000/min\"");
    setup.file("revoked.jsonl", "");
    let python = Clients::installed().unwrap().python();
    let log = setup.dir().join("requests.log");
    let command = format!("tee -a {} | exec {} {}", log.display(), python.display(), script.display());
    let from = "command = [\"python3\", \"mcp_server.py\"]";
    assert!(config.contains(from), "{config}");
    let config = config.replace(from, &format!("command = [\"/bin/sh\", \"-c\", {command:?}]"));
    setup.config(server, &change(config));
}

fn run_with(setup: &Setup, arguments: &[&str], input: &str) -> Output {
    let mut command = setup.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{input}").unwrap();
    child.wait_with_output().unwrap()
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// A session of a client. The first call of each caller starts a server of their own, which takes its time.
fn session(running: &Running) -> Session {
    Session::http(running.url()).limit(PATIENCE)
}

async fn run(client: Client, session: &Session) -> Report {
    Clients::installed().unwrap().run(client, session).await.unwrap()
}

/// A call of a tool with two numbers and these further arguments.
fn call(running: &Running, tool: &str, more: &Value) -> Request {
    let mut arguments = json!({ "a": 2, "b": 3 });
    for (name, value) in more.as_object().unwrap() {
        arguments[name] = value.clone();
    }
    let params = json!({ "name": tool, "arguments": arguments });
    Request::stateless(&running.address(), "/mcp", "tools/call", params)
}

fn add(running: &Running, more: &Value) -> Request {
    call(running, "add", more)
}

#[track_caller]
fn is_sum(answer: &Answer) {
    assert_eq!((answer.status, &answer.result()["content"][0]["text"]), (200, &json!("5.0")), "{answer:?}");
}

/// Status, reason and message of a refusal.
fn refusal(answer: &Answer) -> (u16, String, String) {
    let (status, _, reason) = answer.refusal();
    (status, reason, answer.message()["error"]["message"].as_str().unwrap_or_default().to_owned())
}

/// A token with these claims.
fn token(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A token as the former server made them: no `sub`, no `aud`, no `iss`.
fn former_token(permissions: &[&str], seconds: i64) -> String {
    let end = i64::try_from(now()).unwrap() + seconds;
    token(JWT_SECRET, &json!({ "user_id": "bob", "permissions": permissions, "exp": end }))
}

/// Everything that the server has got.
fn requests(running: &Running) -> String {
    fs::read_to_string(running.setup().dir().join("requests.log")).unwrap()
}

fn metrics(running: &Running) -> String {
    let address = running.admin_url().replace("http://", "");
    Request::new("GET", &address, "/metrics").send().text()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_send_their_key_in_an_argument() {
    let running = example().serve();
    for client in [Client::TsSdk, Client::PyMcp] {
        let session = session(&running).call("add", json!({ "a": 2, "auth_token": KEY, "b": 3 }));
        let report = run(client, &session).await;
        assert_eq!((report.error.as_ref(), report.text().as_deref()), (None, Some("5.0")), "{report:?}");
    }
    let received = requests(&running);
    assert!(received.contains("\"add\"") && !received.contains("auth_token"), "{received}");
    assert!(!received.contains(KEY) && !running.log().contains(KEY), "the key is nowhere");
    let metrics = metrics(&running);
    let counted = "witgate_authentications_total{upstream=\"calculator\",scheme=\"argument\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

/// The server before the change: it requires the argument and compares it.
const FORMER_SERVER: &str = r#"
import os
try:
    from mcp.server.mcpserver import MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server
server = Server("calculator")
@server.tool()
def add(a: float, b: float, auth_token: str) -> float:
    if auth_token != os.environ["SERVER_KEY"]:
        raise ValueError("Authentication failed")
    return a + b
server.run("stdio")
"#;

#[test]
fn a_server_that_requires_the_argument_gets_its_own() {
    const SERVER_KEY: &str = "the-key-that-only-the-server-knows";
    let setup = example().env("SERVER_KEY", SERVER_KEY);
    let with = |inject: &str| {
        let audit = "[audit]\ndirectory = \"audit\"\narguments_clear = [\"/auth_token\", \"/a\"]";
        configure(&setup, audit, |text| {
            let env = "env = { SERVER_KEY = { env = \"SERVER_KEY\" } }\nown_tools";
            text.replace("argument = \"auth_token\"", inject).replacen("own_tools", env, 1)
        });
        setup.file("mcp_server.py", FORMER_SERVER);
    };
    with("argument = { name = \"auth_token\", inject = { env = \"SERVER_KEY\" } }");
    let running = setup.serve();
    is_sum(&add(&running, &json!({ "auth_token": KEY })).send());
    is_sum(&add(&running, &json!({})).with("api-key", KEY).send());
    let received = requests(&running);
    assert!(received.contains(SERVER_KEY) && !received.contains(KEY), "{received}");
    let listed = Request::stateless(&running.address(), "/mcp", "tools/list", json!({})).send();
    assert!(!listed.text().contains(SERVER_KEY));
    // The value is in no record, line or metric.
    let entries = text(&running.setup().run(&["audit", "query", "--json"]).stdout);
    assert!(entries.contains("\"/a\""), "{entries}");
    for output in
        [entries, running.log(), metrics(&running), text(&running.setup().run(&["config", "show"]).stdout)]
    {
        assert!(!output.contains(SERVER_KEY) && !output.contains(KEY), "{output}");
    }
}

#[test]
fn a_tool_that_requires_what_is_taken_out_is_reported() {
    let setup = example().env("SERVER_KEY", "the-key-that-only-the-server-knows");
    setup.file("mcp_server.py", FORMER_SERVER);
    let running = setup.serve();
    let list = Request::stateless(&running.address(), "/mcp", "tools/list", json!({}));
    list.send();
    let log = running.await_log("requires the argument, which Witgate takes out");
    assert!(log.contains("tool=\"add\"") && log.contains("argument=\"auth_token\""), "{log}");
}

#[test]
fn the_schema_shows_the_argument_to_those_who_need_it() {
    let running = example().serve();
    let schema = |request: Request| {
        let tools = request.send().result()["tools"].clone();
        let tools = tools.as_array().unwrap().iter();
        let add = tools.clone().find(|tool| tool["name"] == "add").unwrap_or_else(|| panic!("{tools:?}"));
        add["inputSchema"]["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let list = || Request::stateless(&running.address(), "/mcp", "tools/list", json!({}));
    let shown = schema(list());
    for name in ["a", "b", "auth_token", "jwt_token"] {
        assert!(shown.iter().any(|shown| shown == name), "{shown:?}");
    }
    assert_eq!(schema(list().with("X-API-Key", KEY)), ["a", "b"]);
}

#[test]
fn refusals_have_three_texts() {
    let running = example().serve();
    let wrong = refusal(&add(&running, &json!({ "auth_token": "no-such-key" })).send());
    assert_eq!((wrong.0, wrong.1.as_str()), (401, "unrecognised"), "{wrong:?}");
    let missing = add(&running, &json!({})).send();
    assert!(missing.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
    let missing = refusal(&missing);
    assert_eq!((missing.0, missing.1.as_str()), (401, "no-credential"), "{missing:?}");
    for (_, _, message) in [wrong, missing] {
        assert!(message.starts_with("Authentication failed"), "{message}");
    }
    let expired = former_token(&["add"], -3600);
    let forged =
        token("another-secret-of-more-than-32-bytes!!", &json!({ "user_id": "eve", "exp": now() + 60 }));
    for (text, expected) in [(&expired, "expired"), (&forged, "bad-signature")] {
        let (status, reason, message) = refusal(&add(&running, &json!({ "jwt_token": text })).send());
        assert_eq!((status, reason.as_str()), (401, expected));
        assert!(message.starts_with("Invalid or expired token"), "{message}");
    }
    let weak = former_token(&["add"], 60);
    let (status, reason, message) =
        refusal(&call(&running, "multiply", &json!({ "jwt_token": weak })).send());
    assert_eq!((status, reason.as_str()), (403, "not-allowed"));
    assert!(message.starts_with("Permission denied"), "{message}");
}

#[test]
fn tokens_of_before_stay_valid() {
    let running = example().serve();
    let former = former_token(&["add"], 3600);
    is_sum(&add(&running, &json!({ "jwt_token": former })).send());
    is_sum(&add(&running, &json!({})).bearer(&former).send());
    let both = former_token(&["add", "multiply"], 3600);
    let product = call(&running, "multiply", &json!({ "jwt_token": both })).send();
    assert_eq!(product.result()["content"][0]["text"], "6.0", "each permission is a role");
    assert_eq!(call(&running, "divide", &json!({ "jwt_token": both })).send().status, 403);
    assert!(!requests(&running).contains("jwt_token"));
}

/// The answer of `issue_token`.
fn issue(running: &Running, arguments: Value) -> Request {
    let params = json!({ "name": "issue_token", "arguments": arguments });
    Request::stateless(&running.address(), "/mcp", "tools/call", params)
}

#[test]
fn a_tool_makes_a_token_for_the_caller() {
    let setup = example();
    configure(&setup, "[audit]\ndirectory = \"audit\"", |text| text);
    let running = setup.serve();
    let issued = issue(&running, json!({ "auth_token": KEY })).send().result()["structuredContent"].clone();
    assert_eq!(
        (&issued["token_type"], &issued["expires_in"]),
        (&json!("Bearer"), &json!(86_400)),
        "{issued}"
    );
    let new = issued["access_token"].as_str().unwrap().to_owned();
    is_sum(&add(&running, &json!({ "jwt_token": new })).send());
    is_sum(&add(&running, &json!({})).bearer(&new).send());
    let short = issue(&running, json!({ "expires_in": 60 })).with("api-key", KEY).send();
    assert_eq!(short.result()["structuredContent"]["expires_in"], 60, "{short:?}");

    // Neither for others nor from another credential, and the tool is only in the list of those who can use it.
    let for_another = issue(&running, json!({ "user_id": "root" })).with("api-key", KEY).send();
    assert_eq!(for_another.message()["error"]["code"], -32602, "{for_another:?}");
    let former = former_token(&["everything"], 3600);
    for (name, value) in [
        ("Authorization", format!("Bearer {new}")),
        ("Authorization", format!("Bearer {former}")),
        ("Authorization", basic(PASSWORD)),
    ] {
        let refused = issue(&running, json!({})).with(name, &value).send();
        assert_eq!(refusal(&refused).1, "not-allowed", "{refused:?}");
        let listed =
            Request::stateless(&running.address(), "/mcp", "tools/list", json!({})).with(name, &value).send();
        assert_eq!(listed.names("tools", "name"), ["add", "multiply", "divide"]);
    }
    assert_eq!(issue(&running, json!({})).send().status, 401);
    let listed =
        Request::stateless(&running.address(), "/mcp", "tools/list", json!({})).with("api-key", KEY).send();
    assert!(listed.names("tools", "name").contains(&"issue_token".to_owned()));

    // The audit log has the id, and not the token.
    let entries = text(&running.setup().run(&["audit", "query", "--json"]).stdout);
    assert!(entries.contains(issued["id"].as_str().unwrap()) && !entries.contains(&new), "{entries}");
    assert!(!running.log().contains(&new) && !requests(&running).contains(&new));
}

#[test]
fn a_token_ends_with_its_key() {
    let setup = example();
    let key = setup.key(&["eve", "--role", "everything", "--expires", "1h"]);
    let running = setup.serve();
    let issued = issue(&running, json!({})).with("api-key", &key).send();
    let seconds = issued.result()["structuredContent"]["expires_in"].as_u64().unwrap();
    assert!((3_000..=3_600 - 60).contains(&seconds), "the policy accepts it a minute longer: {seconds}");
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("admin:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_come_in_headers() {
    let running = example().serve();
    let bearer = format!("Bearer {}", former_token(&["add"], 3600));
    for (name, value) in [("api-key", KEY), ("X-API-Key", KEY), ("Authorization", &bearer)] {
        let session = session(&running).header(name, value).call("add", json!({ "a": 2, "b": 3 }));
        let report = run(Client::TsSdk, &session).await;
        assert_eq!(
            (report.error.as_ref(), report.text().as_deref()),
            (None, Some("5.0")),
            "{name}: {report:?}"
        );
    }
    let two = add(&running, &json!({})).with("api-key", KEY).with("X-API-Key", KEY).send();
    is_sum(&two);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_log_in_with_a_password() {
    let running = example().serve();
    let login = |password: &str| {
        session(&running).header("Authorization", &basic(password)).call("add", json!({ "a": 2, "b": 3 }))
    };
    let report = run(Client::PyMcp, &login(PASSWORD)).await;
    assert_eq!((report.error.as_ref(), report.text().as_deref()), (None, Some("5.0")), "{report:?}");
    let wrong = add(&running, &json!({})).with("Authorization", &basic("secret")).send();
    let challenges = wrong.all("www-authenticate");
    assert!(
        challenges.iter().any(|challenge| challenge.starts_with("Basic realm=\"calculator\"")),
        "{challenges:?}"
    );
    assert_eq!(refusal(&wrong).1, "invalid-credentials");
    let users = fs::read_to_string(running.setup().dir().join("users.toml")).unwrap();
    assert!(users.contains("$argon2id$") && !users.contains(PASSWORD), "{users}");
}

#[test]
fn tokens_of_a_provider_are_verified() {
    let provider = Issuer::start();
    let person = json!({ "sub": "carol", "azp": "calculator", "permissions": ["add"] });
    provider.put("/userinfo", Page::json(&person));
    let setup = example();
    configure(&setup, "", |text| {
        let policy = format!(
            "[policies.provider]\nkind = \"oauth2-introspection\"\n[policies.provider.config]\nstyle = \"userinfo\"\n\
             endpoint = \"{}/userinfo\"\nclient_id = \"calculator\"\naudience_claim = \"azp\"\nroles_claim = \"permissions\"\n\
             [pipeline]",
            provider.url()
        );
        text.replace("[pipeline]", &policy).replace("\"tokens\", \"people\"]", "\"provider\", \"people\"]")
    });
    let running = setup.serve();
    is_sum(&add(&running, &json!({})).bearer("an-opaque-token-of-the-provider").send());
    assert_eq!(
        call(&running, "multiply", &json!({})).bearer("an-opaque-token-of-the-provider").send().status,
        403
    );
    // A token of another client of the provider.
    provider
        .put("/userinfo", Page::json(&json!({ "sub": "carol", "azp": "another", "permissions": ["add"] })));
    let refused = add(&running, &json!({})).bearer("another-token-of-the-provider").send();
    assert_eq!(refusal(&refused).1, "wrong-audience");
}

#[test]
fn the_limit_is_ten_calls_a_minute() {
    let setup = example();
    configure(&setup, "", |text| text.replace("rate = \"10000/min\"", "rate = \"10/min\""));
    let running = setup.serve();
    let (begin, mut admitted) = (Instant::now(), 0);
    let limited = loop {
        let answer = add(&running, &json!({ "auth_token": KEY })).send();
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
    };
    // One more every six seconds, on a slow machine.
    let more = begin.elapsed().as_secs() / 6;
    assert!((10..=10 + more).contains(&admitted), "{admitted} calls");
    assert_eq!((limited.status, refusal(&limited).1.as_str()), (429, "rate-limited"));
    assert!(limited.header("retry-after").is_some(), "{limited:?}");
}

#[test]
fn the_check_can_be_switched_off() {
    let setup = example();
    configure(&setup, "", |text| {
        text.replace("anonymous = { lists = [\"*\"] }", "anonymous = { roles = [\"everything\"] }")
    });
    let running = setup.serve();
    is_sum(&add(&running, &json!({})).send());
    assert!(running.await_log("tools/call").contains("proven_by=\"anonymous\""), "{}", running.log());
}

#[test]
fn the_clients_settings_have_the_key_and_a_switch() {
    let setup = Setup::new();
    let init = ["init", "--json", "--server-name", "calculator", "--client", "kiro", "--command", "/bin/cat"];
    let output = setup.run(&init);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let server = &made["client_settings"]["mcpServers"]["calculator"];
    assert_eq!(server["disabled"], false, "{made}");
    assert!(server["env"]["MCP_API_KEY"].as_str().is_some_and(|key| key.starts_with("wgk_")));
}

#[test]
fn variables_come_out_of_a_file() {
    let setup = Setup::new();
    setup.file(
        ".env",
        format!("CALCULATOR_API_KEY={KEY}\nexport JWT_SECRET=\"{JWT_SECRET}\"\nISSUED_TOKENS_SECRET={ISSUED_SECRET}\n"),
    );
    setup.file("users.toml", "version = 1\n");
    setup.file("keys.toml", "version = 1\n");
    configure(&setup, "env_file = \".env\"", |text| text);
    let running = setup.serve();
    is_sum(&add(&running, &json!({ "auth_token": KEY })).send());
}

#[test]
fn secrets_come_from_a_program() {
    let setup = example();
    let program = setup.file("vault", format!("#!/bin/sh\nprintf %s {KEY:?}\n"));
    make_executable(&program);
    configure(&setup, "", |text| {
        let from = format!("key = {{ exec = [{program:?}] }}");
        text.replace("key = { env = \"CALCULATOR_API_KEY\" }", &from)
    });
    let running = setup.serve();
    is_sum(&add(&running, &json!({ "auth_token": KEY })).send());
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn passwords_and_tokens_cross_a_network_by_tls_only() {
    let setup = example();
    let open = |text: String| text;
    configure(&setup, "", open);
    let config = fs::read_to_string(setup.dir().join("witgate.toml")).unwrap();
    let public = config.replace(&setup.address(), "0.0.0.0:8787");
    let public = public.replace("[server]", "[server]\nresource = \"https://calculator.example/mcp\"");
    setup.file("public.toml", public);
    let refused = setup.run(&["check", "--config", "public.toml"]);
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && told.contains("cross the network in clear"), "{told}");

    let authority = Authority::new("Servers CA");
    let issued = authority.issue(&Order::server("127.0.0.1"));
    setup.file("server.pem", &issued.pem);
    let key = setup.file("server.key", &issued.key);
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    configure(&setup, "[server.tls]\ncertificate = \"server.pem\"\nkey = { file = \"server.key\" }", open);
    let running = setup.serve();
    let answer = TlsClient::new(&authority, None)
        .send(&add(&running, &json!({})).with("Authorization", &basic(PASSWORD)));
    is_sum(&answer.unwrap());
}

#[test]
fn short_keys_are_marked() {
    let setup = example().env("CALCULATOR_API_KEY", "test-key-123");
    let refused = setup.run(&["check"]);
    let told = text(&refused.stderr);
    assert!(!refused.status.success() && told.contains("at least 32"), "{told}");
    assert!(!told.contains("test-key-123"), "{told}");
    configure(&setup, "", |text| {
        text.replace("roles = [\"everything\"] }]", "roles = [\"everything\"], weak = true }]")
    });
    let running = setup.serve();
    is_sum(&add(&running, &json!({ "auth_token": "test-key-123" })).send());
    assert!(running.log().contains("WARN"), "{}", running.log());
}

#[test]
fn short_secrets_of_tokens_are_refused() {
    for secret in ["your-secret-key-here-12345", "secret-key-13"] {
        let setup = example().env("JWT_SECRET", secret);
        let refused = setup.run(&["check"]);
        let told = text(&refused.stderr);
        assert!(!refused.status.success() && told.contains("at least 32 (RFC 7518"), "{told}");
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn attempts_are_in_the_log_without_the_credential() {
    let running = example().serve();
    is_sum(&add(&running, &json!({ "auth_token": KEY })).send());
    add(&running, &json!({ "auth_token": "a-wrong-key-of-somebody-else" })).send();
    let log = running.await_log("unrecognised");
    assert!(log.contains("subject=\"default\"") && log.contains("proven_by=\"keys\""), "{log}");
    assert!(!log.contains(KEY) && !log.contains("a-wrong-key-of-somebody-else"), "{log}");
}

#[test]
fn secrets_are_rotated() {
    let setup = example();
    setup.file("jwt-secret", JWT_SECRET);
    configure(&setup, "", |text| text.replace("{ env = \"JWT_SECRET\" }", "{ file = \"jwt-secret\" }"));
    let running = setup.serve();
    let former = former_token(&["add"], 3600);
    is_sum(&add(&running, &json!({ "jwt_token": former })).send());
    running.setup().file("jwt-secret", "the-next-secret-of-more-than-32-bytes");
    await_some("the former secret to be refused", || {
        let answer = add(&running, &json!({ "jwt_token": former })).send();
        (answer.status == 401).then_some(())
    });
    let rotated = running.setup().run(&["key", "rotate", "ada", "--overlap", "1h", "--json"]);
    let key: Value = serde_json::from_slice(&rotated.stdout).unwrap();
    is_sum(&add(&running, &json!({ "auth_token": key["key"] })).send());
}
