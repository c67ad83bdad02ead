//! The target of the attacks: one Witgate in front of a stateful, a stateless, a child and a recording upstream.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_tests::gateway::{Running, Setup, program};
use witgate_tests::recorder::Recorder;
use witgate_tests::wire::{Answer, Request, STATEFUL, contains};

/// The paths of the upstreams; the recorder is last.
pub(super) const ENDPOINTS: [&str; 4] = ["/stateful/mcp", "/stateless/mcp", "/child/mcp", "/record/mcp"];

/// A marker in the body of every attack. Tests search for it behind Witgate.
pub(super) const MARK: &str = "FORGED";

/// The keys of the callers, and their patterns.
const KEYS: [(&str, &[&str]); 7] = [
    ("all", &["--allow", "*", "--role", "staff"]),
    ("other", &["--allow", "*", "--role", "staff"]),
    ("greeter", &["--allow", "greet"]),
    ("tester", &["--allow", "test_*", "--deny", "test_*_content*", "--deny", "test_tool_with_*"]),
    ("nobody", &["--role", "nothing"]),
    ("reader", &["--allow", "resource:test://static-*", "--allow", "prompt:test_simple_prompt"]),
    ("methods", &["--allow", "method:x/*"]),
];

pub(super) struct Testbed {
    pub(super) gateway: Running,
    pub(super) recorder: Recorder,
    keys: HashMap<&'static str, String>,
    _fixtures: [Fixture; 2],
}

impl Testbed {
    pub(super) fn new() -> Self {
        let recorder = Recorder::start();
        let (stateful, stateless) = (Fixture::start(&[]), Fixture::start(&["--stateless"]));
        let setup = Setup::new();
        let fixture = program("fixture-upstream");
        let upstreams = format!(
            "[upstreams.stateful]\nurl = '{}'\n\
             [upstreams.stateless]\nurl = '{}'\n\
             [upstreams.child]\ncommand = ['{}', '--stdio']\n\
             [upstreams.record]\nurl = '{}'\n\
             [upstreams.open]\nurl = '{}'\n\
             [upstreams.open.pipeline]\nauthenticate = ['keys']\nauthorize = ['roles']\n\
             anonymous = {{ roles = ['public'] }}\n",
            stateful.url,
            stateless.url,
            fixture.display(),
            recorder.url(),
            stateless.url,
        );
        setup.config(
            "allowed_origins = ['https://app.example.com']",
            &format!(
                "{upstreams}\
                 [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
                 [policies.roles]\nkind = 'rbac'\n\
                 [policies.roles.config.roles]\npublic = {{ allow = ['greet'] }}\nstaff = {{ allow = ['*'] }}\n\
                 [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n"
            ),
        );
        let key = |(name, arguments): (&'static str, &[&str])| {
            (name, setup.key(&[&[name, "--policy", "keys"], arguments].concat()))
        };
        let keys = KEYS.into_iter().map(key).collect();
        Self { gateway: setup.serve(), recorder, keys, _fixtures: [stateful, stateless] }
    }

    pub(super) fn key(&self, name: &str) -> &str {
        &self.keys[name]
    }

    /// A message without changes, by a caller who may do everything.
    pub(super) fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::post(&self.gateway.address(), path, body).bearer(self.key("all"))
    }

    pub(super) fn stateless(&self, key: &str, path: &str, method: &str, params: Value) -> Request {
        Request::stateless(&self.gateway.address(), path, method, params).bearer(self.key(key))
    }

    pub(super) fn stateful(&self, key: &str, path: &str, method: &str, params: Value) -> Request {
        Request::stateful(&self.gateway.address(), path, method, params).bearer(self.key(key))
    }

    pub(super) fn bodiless(&self, key: &str, method: &str, path: &str, session: &str) -> Request {
        Request::new(method, &self.gateway.address(), path)
            .with("Accept", "text/event-stream")
            .with("MCP-Protocol-Version", STATEFUL)
            .with("Mcp-Session-Id", session)
            .bearer(self.key(key))
    }

    /// Opens a session.
    pub(super) fn session(&self, key: &str, path: &str) -> String {
        let params = json!({
            "protocolVersion": STATEFUL,
            "capabilities": {},
            "clientInfo": { "name": "attacker", "version": "1" },
        });
        let answer = self.stateful(key, path, "initialize", params).send();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let session = answer.header("mcp-session-id").unwrap_or_else(|| panic!("{path}: {answer:?}"));
        let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
        let initialized = Request::post(&self.gateway.address(), path, body)
            .with("MCP-Protocol-Version", STATEFUL)
            .with("Mcp-Session-Id", session)
            .bearer(self.key(key));
        assert_eq!(initialized.send().status, 202);
        session.to_owned()
    }

    /// Asserts that nothing of an attack has arrived behind Witgate.
    pub(super) fn nothing_forged_arrived(&self) {
        let record = self.recorder.seen();
        assert!(!contains(&record, MARK.as_bytes()), "arrived: {}", String::from_utf8_lossy(&record));
    }
}

/// A collection of failures, so that one run shows all of them.
#[derive(Default)]
pub(super) struct Findings(Vec<String>);

impl Findings {
    /// Records a failure unless `answer` is this refusal; returns true if it is.
    pub(super) fn expect(&mut self, what: &str, answer: &Answer, expected: (u16, i64, &str)) {
        let (status, code, reason) = answer.refusal();
        if (status, code, reason.as_str()) != expected {
            self.add(format!("{what}: {:?} instead of {expected:?}: {}", answer.refusal(), answer.text()));
        }
        let about_credential = matches!(expected.0, 401 | 403) || expected.2 == "bad-credential";
        if !about_credential && answer.header("www-authenticate").is_some() {
            self.add(format!("{what}: a challenge where a credential is not the matter: {answer:?}"));
        }
    }

    /// As [`Findings::expect`], with a challenge.
    pub(super) fn expect_challenge(
        &mut self,
        what: &str,
        answer: &Answer,
        expected: (u16, i64, &str),
        challenge: Option<&str>,
    ) {
        self.expect(what, answer, expected);
        self.check(what, answer.header("www-authenticate") == challenge, answer);
    }

    pub(super) fn check(&mut self, what: &str, is_right: bool, answer: &Answer) {
        if !is_right {
            self.add(format!("{what}: {} {}", answer.status, answer.text()));
        }
    }

    pub(super) fn add(&mut self, finding: String) {
        self.0.push(finding.chars().take(900).collect());
    }

    #[track_caller]
    pub(super) fn report(self) {
        assert!(self.0.is_empty(), "{} findings:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Sends lines to a Witgate over stdio, by a caller who may do everything. Returns the answer to each, and what has
/// arrived at the child.
pub(super) fn over_stdio<'a>(lines: impl Iterator<Item = &'a [u8]>) -> (Vec<Value>, String) {
    let setup = Setup::new();
    setup.file(
        "witgate.toml",
        format!(
            "[server]\ntransport = 'stdio'\n[upstreams.child]\ncommand = ['{}', 'recorded.txt']\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
            program("recording-upstream").display()
        ),
    );
    let key = setup.key(&["all", "--allow", "*", "--allow", "method:*"]);
    let setup = setup.env("MCP_API_KEY", &key);
    let mut command = setup.command(&["serve"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<u8> = lines.flat_map(|line| [line, b"\n"].concat()).collect();
    let writer = std::thread::spawn(move || stdin.write_all(&lines).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let arrived = std::fs::read(setup.dir().join("recorded.txt")).unwrap_or_default();
    (answers, String::from_utf8_lossy(&arrived).into_owned())
}

/// A fixture upstream over HTTP. Ends with its standard input.
struct Fixture {
    child: Child,
    url: String,
}

impl Fixture {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(program("fixture-upstream"));
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening ").unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end && self.child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
