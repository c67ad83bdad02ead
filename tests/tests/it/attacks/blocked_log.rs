//! A standard error that nobody reads, and a `RUST_LOG` that silences the log. Expected: no call waits for the log;
//! lost records are counted and reported, or calls are denied, as the configuration says; health checks always answer;
//! the audit does not depend on `RUST_LOG`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use witgate_tests::gateway::{PATIENCE, Setup, await_some};

/// More lines than a pipe and the queue of the audit hold together.
const LINES: usize = 9_600;

/// Requests that are sent without waiting for an answer.
const BATCH: usize = 100;

/// A Witgate whose standard error is a pipe that nobody reads.
struct Blocked {
    setup: Setup,
    child: Child,
    stderr: ChildStderr,
    admin: String,
    key: String,
}

impl Blocked {
    fn serve(server: &str) -> Self {
        let setup = Setup::new();
        let config = setup.config(
            server,
            "[upstreams.own]\nown_tools = true\n\
             [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
        );
        let text = std::fs::read_to_string(config).unwrap();
        let admin = text.split("admin_listen = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let key = setup.key(&["user", "--allow", "*"]);
        let mut serve = setup.command(&["serve", "--json"]);
        serve.env("RUST_LOG", "warn").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = serve.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        await_some("it to listen", || TcpStream::connect(setup.address()).ok());
        Self { setup, child, stderr, admin, key }
    }

    /// Sends this number of requests, and counts the statuses and reasons of the answers.
    fn flood(&self, key: Option<&str>, requests: usize) -> BTreeMap<String, usize> {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        let credential = key.map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/list\r\n{credential}Content-Length: {}\r\n\r\n{body}",
            self.setup.address(),
            body.len()
        );
        let mut stream = TcpStream::connect(self.setup.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut outcomes = BTreeMap::new();
        for batch in 0..requests.div_ceil(BATCH) {
            let many = BATCH.min(requests - batch * BATCH);
            stream.write_all(request.repeat(many).as_bytes()).unwrap();
            for answer in answers(&mut stream, many) {
                *outcomes.entry(answer).or_default() += 1;
            }
        }
        outcomes
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }

    fn lost(&self) -> u64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find(|line| line.starts_with("witgate_audit_lines_lost_total"));
        line.unwrap_or_else(|| panic!("{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Reads everything up to a line with `text`.
    fn read_until(&mut self, text: &str) -> String {
        let (mut log, mut part) = (Vec::new(), [0; 1 << 16]);
        while !String::from_utf8_lossy(&log).contains(text) {
            let read = self.stderr.read(&mut part).unwrap();
            assert!(read > 0, "the log has ended without {text}");
            log.extend_from_slice(&part[..read]);
        }
        String::from_utf8(log).unwrap()
    }

    fn signal(&self, name: &str) {
        let mut kill = std::process::Command::new("kill");
        assert!(kill.arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap().success());
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next answers on a connection: status, and the reason of a refusal.
fn answers(stream: &mut TcpStream, many: usize) -> Vec<String> {
    let (mut read, mut found, mut part) = (Vec::new(), Vec::new(), [0; 1 << 16]);
    while found.len() < many {
        while let Some(head) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            let length = text.split("content-length: ").nth(1).unwrap_or_else(|| panic!("{text}"));
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if read.len() < head + 4 + length {
                break;
            }
            let body = String::from_utf8_lossy(&read[head + 4..head + 4 + length]).into_owned();
            let reason = body.split("\"reason\":\"").nth(1).and_then(|rest| rest.split('"').next());
            found.push(format!("{} {}", &text[9..12], reason.unwrap_or("none")));
            read.drain(..head + 4 + length);
        }
        if found.len() < many {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "{} of {many} answers, then the end", found.len());
            read.extend_from_slice(&part[..length]);
        }
    }
    found
}

#[test]
fn calls_and_health_are_answered_and_lost_lines_are_counted_and_reported() {
    let mut blocked = Blocked::serve("");
    let key = blocked.key.clone();
    let outcomes = blocked.flood(None, LINES);
    assert_eq!(outcomes, BTreeMap::from([("401 no-credential".to_owned(), LINES)]));
    // Without an answer in time, reading it fails.
    assert_eq!(blocked.flood(Some(&key), 10), BTreeMap::from([("200 none".to_owned(), 10)]));
    let lost = blocked.lost();
    assert!(lost > 0, "the pipe and the queue hold fewer than {LINES} lines");
    blocked.get("/healthz");
    blocked.get("/readyz");
    let log = blocked.read_until("lines were lost");
    let notice = log.lines().find(|line| line.contains("lines were lost")).unwrap();
    let notice: serde_json::Value = serde_json::from_str(notice).unwrap();
    assert_eq!((&notice["target"], &notice["level"]), (&"witgate::audit".into(), &"WARN".into()));
    assert_eq!(notice["fields"]["lost"], lost);
    assert!(log.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "whole lines only");
    assert!(blocked.flood(Some(&key), 1).contains_key("200 none"));
    blocked.read_until("\"outcome\":\"allowed\"");
    assert_eq!(blocked.lost(), lost);
}

#[test]
fn calls_are_denied_while_the_audit_is_blocked_if_configured() {
    let mut blocked = Blocked::serve("audit_overflow = 'deny'");
    let key = blocked.key.clone();
    let outcomes = blocked.flood(None, LINES);
    assert_eq!(outcomes.values().sum::<usize>(), LINES);
    assert!(outcomes["401 no-credential"] > 8_000, "{outcomes:?}");
    let denied = BTreeMap::from([("503 audit-unavailable".to_owned(), 10)]);
    assert_eq!(blocked.flood(Some(&key), 10), denied, "nobody gets anything unrecorded");
    blocked.get("/healthz");
    let lost = blocked.lost();
    let log = blocked.read_until("lines were lost");
    let recorded = log.lines().filter(|line| line.contains("\"no-credential\"")).count();
    assert_eq!(recorded, outcomes["401 no-credential"], "what was answered before is recorded");
    assert!(lost >= 10, "{lost}");
    assert_eq!(blocked.flood(Some(&key), 10), BTreeMap::from([("200 none".to_owned(), 10)]));
}

#[test]
fn a_signal_ends_witgate_in_time_while_the_log_is_blocked() {
    for signals in [&["TERM"][..], &["INT", "INT"]] {
        let mut blocked = Blocked::serve("shutdown_grace_s = 1");
        blocked.flood(None, 500);
        let start = Instant::now();
        for signal in signals {
            blocked.signal(signal);
            std::thread::sleep(Duration::from_millis(200));
        }
        await_some("the end", || blocked.child.try_wait().unwrap());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}

#[test]
fn waiting_lines_are_written_at_the_end() {
    let mut blocked = Blocked::serve("");
    blocked.flood(None, 2_000);
    blocked.signal("INT");
    let mut log = String::new();
    blocked.stderr.read_to_string(&mut log).unwrap();
    assert_eq!(blocked.child.wait().unwrap().code(), Some(0));
    assert_eq!(log.lines().filter(|line| line.contains("\"no-credential\"")).count(), 2_000);
}

#[test]
fn no_level_silences_the_audit_and_an_invalid_level_is_reported() {
    for (level, lines) in [
        ("warn", None),
        ("off", None),
        ("debgu", Some("did you mean `debug`?")),
        ("witgate=inof", Some("did you mean `info`?")),
    ] {
        let setup = Setup::new().env("RUST_LOG", level);
        setup.config(
            "",
            "[upstreams.own]\nown_tools = true\n[policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n",
        );
        setup.key(&["user", "--allow", "*"]);
        let running = setup.serve();
        let mut stream = TcpStream::connect(running.address()).unwrap();
        write!(stream, "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", running.address())
            .unwrap();
        let log = running.await_log("witgate::audit: outcome=\"malformed\"");
        assert_eq!(log.contains("RUST_LOG"), lines.is_some(), "{level}: {log}");
        assert!(lines.is_none_or(|lines| log.contains(lines)), "{level}: {log}");
        // What counts in its place is `info`.
        assert_eq!(log.contains(" INFO witgate::serve: "), lines.is_some(), "{level}: {log}");
    }
}
