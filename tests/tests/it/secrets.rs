//! The caller's credential stays in Witgate: no upstream, log or answer contains it.

mod core_dumps;

use std::io::{BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use witgate_audit::KEY_FILE;
use witgate_tests::gateway::{Running, Setup, await_some, program};
use witgate_tests::issuer::{Issuer, Page};
use witgate_tests::possession::{Holder, now};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::{Request, STATEFUL, contains, exchange};

const JWT_SECRET: &str = "jwt-secret-0123456789-abcdefghijklmnop";
const UPSTREAM_SECRET: &str = "upstream-secret-0123456789-abcdefghij";
const PRINTED: &str = "printed-secret-0123456789-abcdefghijklm";
const CREDENTIAL: &str = "credential-of-systemd-0123456789-abcdef";
const STORED: &str = "stored-secret-0123456789-abcdefghijklmn";
const PASSWORD: &str = "password-of-basic-0123456789-abcdefghij";
const ENV_KEY: &str = "env-api-key-0123456789-abcdefghijklmnop";
const ENV_BEARER: &str = "env-bearer-0123456789-abcdefghijklmnop";
const STRAY: &str = "stray-secret-0123456789-abcdefghijklmno";
const CLIENT_SECRET: &str = "client-secret-0123456789-abcdefghijklmno";
const OPAQUE: &str = "opaque-token-0123456789-abcdefghijklmnop";
const WRONG_OPAQUE: &str = "wrong-opaque-0123456789-abcdefghijklmnop";
const COOKIE: &str = "cookie-0123456789-abcdefghijklmnopqrstuv";
const IDENTITY: &str = "witgate.state/secrets.key";
const AUDIENCE: &str = "https://mcp.example.com/record/mcp";

/// All credentials of the caller, and all secrets of Witgate.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    /// The secrets in `bytes`: the whole of a short one, and any telling part of a longer one.
    fn found_in(&self, bytes: &[u8]) -> Vec<&'static str> {
        let is_there = |secret: &str| {
            let parts = secret.split('.').filter(|part| part.len() > 20);
            parts.chain([secret]).any(|part| contains(bytes, part.as_bytes()))
        };
        self.0.iter().filter(|(_, secret)| is_there(secret)).map(|(name, _)| *name).collect()
    }
}

fn jwt(secret: &str, subject: &str, holder: Option<&Holder>) -> String {
    let mut claims = json!({ "sub": subject, "aud": AUDIENCE, "exp": 4_102_444_800_u64, "iss": "https://idp", "roles": ["staff"] });
    if let Some(holder) = holder {
        claims["cnf"] = json!({ "jkt": holder.thumbprint() });
    }
    let key = EncodingKey::from_secret(secret.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

/// A gateway with everything that writes: the audit log, traces for `collector`, and all lines of the log.
fn setup(recorder: &Recorder, collector: &Recorder, issuer: &Issuer) -> Setup {
    let setup = Setup::new()
        .env("RUST_LOG", "trace")
        .env("JWT_SECRET_OF_TEST", JWT_SECRET)
        .env("UPSTREAM_SECRET", UPSTREAM_SECRET)
        .env("CLIENT_SECRET_OF_TEST", CLIENT_SECRET)
        .env("MCP_BEARER_TOKEN", ENV_BEARER)
        .env("AWS_SECRET_ACCESS_KEY", STRAY);
    let printer = setup.file("sources/print", format!("#!/bin/sh\necho {PRINTED}; echo {PRINTED} >&2\n"));
    std::fs::set_permissions(printer, std::fs::Permissions::from_mode(0o700)).unwrap();
    setup.file("sources/credential", CREDENTIAL);
    setup.file("sources/password", PASSWORD);
    let directory = setup.dir().join("sources").display().to_string();
    let setup = setup.env("CREDENTIALS_DIRECTORY", &directory);
    let recording = program("recording-upstream");
    setup.config(
        "resource = 'https://mcp.example.com/mcp'",
        &format!(
            "[upstreams.record]\nurl = '{}'\nheaders = {{ X-Upstream = {{ env = 'UPSTREAM_SECRET' }},\n\
             X-Printed = {{ exec = ['sources/print'] }}, X-Credential = {{ credential = 'credential' }},\n\
             X-Stored = {{ stored = 'upstream' }},\n\
             X-Basic = {{ basic = {{ user = 'gate', password = {{ file = 'sources/password' }} }} }} }}\n\
             resource = '{AUDIENCE}'\n\
             [upstreams.child]\ncommand = ['{}', 'recorded.txt']\nenv = {{ OWN = {{ env = 'UPSTREAM_SECRET' }} }}\n\
             resource = '{AUDIENCE}'\n\
             [keys.session]\nsecret = {{ env = 'JWT_SECRET_OF_TEST' }}\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [policies.tokens]\nkind = 'jwt'\n\
             config = {{ keys = ['session'], algorithms = ['HS256'], issuer = 'https://idp', roles_claim = 'roles',\n\
             dpop = 'optional' }}\n\
             [policies.opaque]\nkind = 'oauth2-introspection'\n[policies.opaque.config]\nroles_claim = 'roles'\n\
             endpoint = '{}/introspect'\nclient_id = 'gate'\nclient_secret = {{ env = 'CLIENT_SECRET_OF_TEST' }}\n\
             [audit]\ndirectory = 'log'\ncheckpoint_to = 'checkpoints'\nrotate_size_mib = 1\n\
             [telemetry]\notlp_endpoint = '{}'\n\
             [policies.anybody]\nkind = 'rbac'\n\
             config = {{ roles = {{ staff = {{ allow = ['*'] }} }} }}\n\
             [pipeline]\nauthenticate = ['keys', 'tokens', 'opaque']\nauthorize = ['anybody']\n",
            recorder.url(),
            recording.display(),
            issuer.url(),
            collector.url(),
        ),
    );
    keep(&setup, "upstream", STORED);
    setup
}

/// Keeps a secret in the encrypted store.
fn keep(setup: &Setup, name: &str, secret: &str) {
    let mut command = setup.command(&["secret", "set", name, "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The identity that decrypts the store.
fn identity(setup: &Setup) -> String {
    let text = std::fs::read_to_string(setup.dir().join(IDENTITY)).unwrap();
    text.lines().find(|line| !line.starts_with('#')).unwrap().to_owned()
}

/// Sends one request for each way to send a credential; the answers do not matter.
fn show_everything(running: &Running, secrets: &Secrets, proofs: &mut Proofs) -> Vec<String> {
    let address = running.address();
    let get = |name: &str| secrets.0.iter().find(|(other, _)| *other == name).unwrap().1.as_str();
    let mut answers = Vec::new();
    for path in ["/record/mcp", "/child/mcp"] {
        let call = |method: &str| {
            let params = match method {
                "initialize" => {
                    json!({ "protocolVersion": STATEFUL, "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } })
                }
                _ => json!({ "name": "echo", "arguments": {} }),
            };
            Request::stateful(&address, path, method, params)
                .with("Cookie", &format!("session={COOKIE}"))
                .with("Proxy-Authorization", &format!("Bearer {COOKIE}"))
                .with("X-Forwarded-Authorization", COOKIE)
                .with("X-Unknown", COOKIE)
        };
        let basic = get("Basic");
        let outputs: Vec<(&str, String)> = vec![
            ("X-API-Key", get("key").to_owned()),
            ("Authorization", format!("Bearer {}", get("key"))),
            ("Authorization", format!("Bearer {}", get("JWT"))),
            ("X-API-Key", get("wrong key").to_owned()),
            ("Authorization", format!("Bearer {}", get("wrong key"))),
            ("Authorization", format!("Bearer {}", get("wrong JWT"))),
            ("Authorization", format!("Basic {basic}")),
            ("Authorization", format!("DPoP {}", get("wrong JWT"))),
            ("Authorization", format!("Digest {}", get("wrong key"))),
            ("Authorization", format!("Bearer {}", get("opaque token"))),
            ("Authorization", format!("Bearer {}", get("wrong opaque token"))),
            ("Authorization", get("wrong key").to_owned()),
            ("Authorization", format!("Bearer {} {}", get("wrong key"), get("JWT"))),
        ];
        for (name, value) in &outputs {
            let opened = call("initialize").with(name, value).send();
            answers.push(opened.text());
            let session = opened.header("mcp-session-id").unwrap_or("none").to_owned();
            for method in ["tools/list", "tools/call", "nothing/known"] {
                let request = call(method).with(name, value).with("Mcp-Session-Id", &session);
                answers.push(request.send().text());
                answers.push(request.with(name, value).send().text());
            }
            let delete = Request::new("DELETE", &address, path).with("Mcp-Session-Id", &session);
            answers.push(delete.with(name, value).send().text());
            let broken = call("tools/call").with(name, value).body(&b"{\"jsonrpc\":"[..]);
            answers.push(broken.send().text());
        }
        for _ in 0..2 {
            let call = call("tools/call").set("Authorization", &format!("DPoP {}", proofs.token));
            answers.push(call.clone().with("DPoP", &proofs.next()).send().text());
            answers.push(call.with("DPoP", &format!("{}A", proofs.next())).send().text());
        }
        for secret in ["key", "JWT", "wrong key", "opaque token"] {
            let target = format!("{path}?access_token={}", get(secret));
            answers.push(call("tools/list").target(&target).send().text());
            let elsewhere = format!("/elsewhere/{}?token={}", get(secret), get(secret));
            answers.push(call("tools/list").target(&elsewhere).send().text());
            // Requests that are not even valid HTTP.
            let raw = format!(
                "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization : Bearer {}\r\n\r\n",
                get(secret)
            );
            answers.push(exchange(&address, raw.as_bytes()).text());
        }
    }
    answers
}

/// Makes proofs of possession, and remembers them.
struct Proofs {
    holder: Holder,
    token: String,
    made: Vec<String>,
}

impl Proofs {
    fn new() -> Self {
        let holder = Holder::new();
        let token = jwt(JWT_SECRET, "holder", Some(&holder));
        Self { holder, token, made: Vec::new() }
    }

    fn next(&mut self) -> String {
        let proof = self.holder.proof(AUDIENCE, &self.token).signed();
        self.made.push(proof.clone());
        proof
    }
}

/// Calls with long names until a segment of the audit log is compressed.
fn fill_a_segment(running: &Running, key: &str) {
    let is_compressed = || {
        let files = std::fs::read_dir(running.setup().dir().join("log")).unwrap();
        files.flatten().any(|file| file.path().extension().is_some_and(|extension| extension == "gz"))
    };
    let params = json!({ "name": "x".repeat(4000), "arguments": {} });
    let call = Request::stateless(&running.address(), "/record/mcp", "tools/call", params);
    for _ in 0..2000 {
        assert_eq!(call.clone().with("X-API-Key", key).send().status, 200);
        if is_compressed() {
            return;
        }
    }
    await_some("a compressed segment", || is_compressed().then_some(()));
}

/// All files below `directory`, in the form that readers see.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            let mut content = std::fs::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "gz") {
                let compressed = std::mem::take(&mut content);
                MultiGzDecoder::new(compressed.as_slice()).read_to_end(&mut content).unwrap();
            }
            found.push((path, content));
        }
    }
    found
}

#[test]
fn credentials_stay_with_witgate() {
    let (recorder, collector, issuer) = (Recorder::start(), Recorder::start(), Issuer::start());
    let answer =
        json!({ "active": true, "sub": "opaque", "aud": AUDIENCE, "exp": now() + 600, "roles": ["staff"] });
    issuer.put("/introspect", Page::json(&answer));
    let setup = setup(&recorder, &collector, &issuer);
    let key = setup.key(&["caller", "--role", "staff", "--allow", "*"]);
    let wrong = format!("{}AAAA", &key[..key.len() - 4]);
    let file = setup.dir().join("recorded.txt");
    let mut running = setup.serve();
    let token = jwt(JWT_SECRET, "caller", None);
    let parts: Vec<&str> = token.split('.').collect();
    let wrong_token = jwt("another-secret-0123456789-abcdefghijkl", "intruder", None);
    let wrong_parts: Vec<&str> = wrong_token.split('.').collect();
    let secrets = Secrets(vec![
        ("key", key.clone()),
        ("wrong key", wrong),
        ("JWT", token.clone()),
        ("its signature", parts[2].to_owned()),
        ("wrong JWT", wrong_token.clone()),
        ("its signature", wrong_parts[2].to_owned()),
        ("Basic", STANDARD.encode("caller:basic-password-0123456789")),
        ("the password", "basic-password-0123456789".to_owned()),
        ("cookie", COOKIE.to_owned()),
        ("JWT_SECRET", JWT_SECRET.to_owned()),
        ("environment", ENV_BEARER.to_owned()),
        ("stray", STRAY.to_owned()),
        ("client secret", CLIENT_SECRET.to_owned()),
        ("client secret, encoded", STANDARD.encode(format!("gate:{CLIENT_SECRET}"))),
        ("opaque token", OPAQUE.to_owned()),
        ("wrong opaque token", WRONG_OPAQUE.to_owned()),
        ("key of the audit", audit_key(running.setup())),
        ("identity of the store", identity(running.setup())),
    ]);
    let mut proofs = Proofs::new();
    let recording = record(&running);
    let answers = show_everything(&running, &secrets, &mut proofs);
    let recording = recording.wait_with_output().unwrap();
    assert!(recording.status.success(), "{recording:?}");
    fill_a_segment(&running, &key);
    let bound = proofs.made.into_iter().map(|proof| ("DPoP proof", proof));
    let bound = bound.chain([("bound JWT", proofs.token)]).collect();
    let secrets = Secrets([secrets.0, bound].concat());
    let recorded = || std::fs::read(&file).unwrap_or_default();
    let child = await_some("the child's record", || {
        Some(recorded()).filter(|record| contains(record, b"tools/call"))
    });
    let http = recorder.seen();
    // The test is not vacuous: calls with a key and with a token arrived, with the upstream's own credential.
    let basic = STANDARD.encode(format!("gate:{PASSWORD}"));
    assert!(contains(&http, b"tools/call"));
    for secret in [UPSTREAM_SECRET, PRINTED, CREDENTIAL, STORED, &basic] {
        assert!(contains(&http, secret.as_bytes()), "{}", String::from_utf8_lossy(&http));
    }
    for secret in [PRINTED, CREDENTIAL, STORED, PASSWORD, &basic] {
        assert!(!contains(&child, secret.as_bytes()), "{}", String::from_utf8_lossy(&child));
    }
    assert!(contains(&child, format!("env OWN={UPSTREAM_SECRET}").as_bytes()));
    let good = answers.iter().filter(|answer| answer.contains("recorded")).count();
    assert!(good >= 10, "five good credentials before two upstreams: {good}");

    assert_eq!(secrets.found_in(&http), [""; 0], "HTTP upstream:\n{}", String::from_utf8_lossy(&http));
    assert_eq!(secrets.found_in(&child), [""; 0], "child:\n{}", String::from_utf8_lossy(&child));
    assert!(!contains(&http.to_ascii_lowercase(), b"authorization"), "{}", String::from_utf8_lossy(&http));
    assert!(!contains(&http.to_ascii_lowercase(), b"x-api-key"));
    for name in
        ["MCP_API_KEY", "MCP_BEARER_TOKEN", "JWT_SECRET", "UPSTREAM_SECRET=", "AWS_", "RUST_LOG", "WITGATE"]
    {
        assert!(!contains(&child, format!("env {name}").as_bytes()), "{}", String::from_utf8_lossy(&child));
    }

    let upstreams = [UPSTREAM_SECRET, PRINTED, CREDENTIAL, STORED, PASSWORD, &basic];
    let upstreams = upstreams.map(|secret| ("the upstream's", secret.to_owned())).to_vec();
    let secrets = Secrets([secrets.0, upstreams].concat());
    for answer in &answers {
        assert_eq!(secrets.found_in(answer.as_bytes()), [""; 0], "answer: {answer}");
    }
    let admin = running.admin_url();
    let admin = admin.strip_prefix("http://").unwrap();
    let metrics = Request::new("GET", admin, "/metrics").send();
    assert!(metrics.status == 200 && metrics.text().contains("witgate"), "{metrics:?}");
    let plugins = running.plugins().to_string();
    assert!(plugins.contains("tokens"), "{plugins}");
    let commands = [
        &["plugin", "list"] as &[_],
        &["key", "list", "--json"],
        &["config", "show"],
        &["check"],
        &["status", "--json"],
        &["credential", "list"],
        &["secret", "list"],
        &["secret", "get", "upstream"],
        &["secret", "recipients", "list"],
    ];
    let said = |command: &&[&str]| {
        let output = running.setup().run(command);
        (command.join(" "), [output.stdout, output.stderr].concat())
    };
    let commands: Vec<_> = commands.iter().map(said).collect();
    assert!(commands.iter().all(|(_, said)| !said.is_empty()), "{commands:?}");
    let log = running.await_log("unsupported-scheme");
    assert!(log.contains("TRACE") && log.contains("subject=\"caller\""), "{log}");
    let others = [
        ("metrics".to_owned(), metrics.text().into_bytes()),
        ("plugin list --json".to_owned(), plugins.into_bytes()),
        ("log".to_owned(), log.clone().into_bytes()),
    ];
    for (what, text) in commands.into_iter().chain(others) {
        let lines = String::from_utf8_lossy(&text);
        let guilty: Vec<_> =
            lines.lines().filter(|line| !secrets.found_in(line.as_bytes()).is_empty()).collect();
        assert_eq!(secrets.found_in(&text), [""; 0], "{what}: {guilty:#?}");
    }
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    let spans = collector.seen();
    assert!(contains(&spans, b"tools/call echo"), "{}", String::from_utf8_lossy(&spans));
    assert_eq!(secrets.found_in(&spans), [""; 0], "traces: {}", String::from_utf8_lossy(&spans));
    // Nor does any file that Witgate has written contain one.
    let files = files(running.setup().dir());
    let has = |what: &str| files.iter().any(|(path, _)| path.to_string_lossy().contains(what));
    for what in
        [".jsonl.gz", ".jsonl", "log/public-key", ".checkpoints", "checkpoints", "recordings/", "secrets.age"]
    {
        assert!(has(what), "no {what}: {:?}", files.iter().map(|(path, _)| path).collect::<Vec<_>>());
    }
    for (path, content) in &files {
        let is_a_source = path.starts_with(running.setup().dir().join("sources")) || path.ends_with(IDENTITY);
        if path != &file && !path.ends_with(KEY_FILE) && !is_a_source {
            assert_eq!(secrets.found_in(content), [""; 0], "{}", path.display());
        }
    }
}

/// The private key of the audit log, in base64.
fn audit_key(setup: &Setup) -> String {
    let pem = std::fs::read_to_string(setup.dir().join("log").join(KEY_FILE)).unwrap();
    pem.lines().find(|line| !line.starts_with('-')).unwrap().to_owned()
}

/// Records some decisions about tokens.
fn record(running: &Running) -> std::process::Child {
    let arguments = ["plugin", "record", "--policy", "tokens", "--calls", "10", "--out", "recordings"];
    let mut command = running.setup().command(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.await_log("RECORDING: the calls of the policy");
    child
}

/// Sends lines to a Witgate over stdio, and returns its answers and its log.
fn over_stdio(setup: &Setup, messages: &[Value]) -> (String, String) {
    let mut command = setup.command(&["serve"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut answers = String::new();
    for message in messages {
        writeln!(stdin, "{message}").unwrap();
        if message.get("id").is_some() {
            stdout.read_line(&mut answers).unwrap();
        }
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (answers, String::from_utf8(output.stderr).unwrap())
}

fn conversation() -> Vec<Value> {
    let request = |id: u32, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let initialize = json!({ "protocolVersion": STATEFUL, "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    vec![
        request(1, "initialize", initialize),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        request(2, "tools/call", json!({ "name": "echo", "arguments": {} })),
        request(3, "nothing/known", json!({})),
    ]
}

fn stdio_config(setup: &Setup) {
    let recording = program("recording-upstream");
    let config = format!(
        "[server]\ntransport = 'stdio'\n[upstreams.child]\ncommand = ['{}', 'recorded.txt']\n\
         [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
        recording.display()
    );
    setup.file("witgate.toml", config);
}

fn recorded(setup: &Setup) -> Vec<u8> {
    std::fs::read(setup.dir().join("recorded.txt")).unwrap_or_default()
}

#[test]
fn credentials_of_the_environment_stay_with_witgate() {
    let plain = Setup::new();
    stdio_config(&plain);
    let key = plain.key(&["caller", "--allow", "*"]);
    let store = std::fs::read(plain.dir().join("keys.toml")).unwrap();
    let with = |name: &str, value: &str| {
        let setup = Setup::new().env(name, value).env("JWT_SECRET", JWT_SECRET).env("RUST_LOG", "trace");
        stdio_config(&setup);
        setup.file("keys.toml", &store);
        setup
    };
    for name in ["MCP_API_KEY", "MCP_BEARER_TOKEN"] {
        let setup = with(name, &key).env("AWS_SECRET_ACCESS_KEY", STRAY);
        let (answers, log) = over_stdio(&setup, &conversation());
        assert!(answers.contains("recorded"), "{answers}\n{log}");
        let record = recorded(&setup);
        assert!(contains(&record, b"tools/call") && contains(&record, b"env PATH="));
        let secrets = Secrets(vec![
            ("key", key.clone()),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
            ("stray", STRAY.to_owned()),
        ]);
        for (what, text) in
            [("child", record.as_slice()), ("answers", answers.as_bytes()), ("log", log.as_bytes())]
        {
            assert_eq!(secrets.found_in(text), [""; 0], "{name}, {what}: {}", String::from_utf8_lossy(text));
        }
        for variable in ["MCP_API_KEY", "MCP_BEARER_TOKEN", "JWT_SECRET", "AWS_"] {
            assert!(!contains(&record, format!("env {variable}").as_bytes()), "{variable}");
        }
    }
    // A key that is not in the store counts as invalid, at any length, and does not appear either.
    for (name, value) in [("MCP_API_KEY", ENV_KEY), ("MCP_BEARER_TOKEN", ENV_BEARER), ("MCP_API_KEY", "")] {
        let setup = with(name, value);
        let (answers, log) = over_stdio(&setup, &conversation());
        let reasons: Vec<Value> = answers
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["error"]["data"]["reason"].clone())
            .collect();
        let is_refused = |reason: &Value| match value {
            "" => reason == "no-credential",
            _ => reason.is_string() && reason != "no-credential",
        };
        assert!(reasons.len() == 3 && reasons.iter().all(is_refused), "{name}: {reasons:?} {answers}");
        let record = recorded(&setup);
        assert!(!contains(&record, b"tools/call"), "{}", String::from_utf8_lossy(&record));
        let secrets = Secrets(vec![("key", ENV_KEY.to_owned()), ("bearer", ENV_BEARER.to_owned())]);
        for text in [record.as_slice(), answers.as_bytes(), log.as_bytes()] {
            assert_eq!(secrets.found_in(text), [""; 0], "{}", String::from_utf8_lossy(text));
        }
    }
    assert!(Path::new(&program("recording-upstream")).is_file());
}
