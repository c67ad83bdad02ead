//! Entries about changes of operators, about ends and about refusals before there is a message; and the id of a
//! decision, which is the same wherever it stands.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use witgate_audit::verify::LogVerdict;
use witgate_base::digest::{digest_text, sha256};
use witgate_tests::gateway::{Running, Setup, await_some};
use witgate_tests::pki::{Authority, Order};
use witgate_tests::wire::{Answer, Request};

use super::{config, directory, of_kind, verified};
use crate::caller::Caller;

/// Runs a command, which succeeds.
fn done(running: &Running, command: &[&str]) {
    let output = running.setup().run(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn await_entry(setup: &Setup, kind: &str) -> Value {
    await_some(&format!("an entry {kind}"), || of_kind(setup, kind).pop())
}

#[test]
fn changes_of_operators_say_who_made_them() {
    let setup = Setup::new();
    config(&setup, "");
    setup.key(&["alice", "--allow", "*"]);
    let running = setup.serve();
    let uid = rustix::process::getuid().as_raw();
    let by_command = |command: &[&str], kind: &str| {
        done(&running, command);
        let entry = await_entry(running.setup(), kind);
        assert_eq!(entry["by"]["uid"], uid, "{entry}");
        assert!(entry["by"]["pid"].as_i64().unwrap() > 1 && entry["by"].get("address").is_none(), "{entry}");
        entry
    };
    let level = by_command(&["log", "level", "info,witgate=trace"], "log-level");
    assert_eq!(
        (&level["level"], &level["before"]),
        (&json!("witgate=trace,info"), &json!("witgate=debug,off"))
    );
    let denied = by_command(&["peers", "deny", "192.0.2.0/24"], "peers-denied");
    assert_eq!(denied["network"], "192.0.2.0/24");
    let allowed = by_command(&["peers", "allow", "192.0.2.0/24"], "peers-allowed");
    assert_eq!(allowed["network"], "192.0.2.0/24");
    let cleared = by_command(&["lockout", "clear", "192.0.2.1"], "lockout-cleared");
    assert_eq!((&cleared["cleared"], &cleared["address"]), (&json!(0), &json!("192.0.2.1")));
    let forgotten = by_command(&["token", "forget", "some-token"], "token-forgotten");
    assert_eq!(forgotten["policies"], json!([]));

    // The same event, from an authorization server or whoever reaches the admin listener.
    let admin = running.admin_url();
    let revoke = Request::new("POST", admin.trim_start_matches("http://"), "/revoke")
        .with("Content-Type", "application/x-www-form-urlencoded")
        .body("token=secret-token-of-somebody");
    assert_eq!(revoke.send().status, 200);
    let revoked = await_some("an entry", || {
        of_kind(running.setup(), "token-forgotten").into_iter().find(|entry| entry["by"]["uid"].is_null())
    });
    assert_eq!(revoked["by"], json!({ "address": "127.0.0.1" }));
    assert!(!super::text(running.setup()).contains("secret-token-of-somebody"));
}

#[test]
fn a_reload_has_its_duration_and_the_digests_of_components() {
    let setup = Setup::new();
    let component = setup.component("rbac");
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n\
         [policies.rules]\nkind = 'rbac'\ncomponent = 'plugins/rbac.wasm'\n\
         config = { roles = { guest = { allow = ['*'] } } }\n\
         [pipeline]\nanonymous = { roles = ['guest'] }\nauthorize = ['rules']\n[audit]\ndirectory = 'log'\n",
    );
    let running = setup.serve();
    let path = running.setup().dir().join("witgate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}# A comment.\n")).unwrap();
    let reload = await_entry(running.setup(), "reload");
    assert!(reload["micros"].as_u64().unwrap() > 0, "{reload}");
    assert_eq!((&reload["before"], &reload["generation"]), (&json!(1), &json!(2)));
    let digest = digest_text(&sha256(&std::fs::read(component).unwrap()));
    let policy = &reload["policies"][0];
    assert_eq!((&policy["name"], &policy["decides"]), (&json!("rules"), &json!(digest)), "{reload}");
    let start = await_entry(running.setup(), "start");
    assert_eq!(start["policies"], reload["policies"]);
    assert_ne!(start["config_digest"], reload["config_digest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_policy_that_would_have_decided_otherwise_has_an_entry() {
    let setup = Setup::new();
    setup.config(
        "",
        "[upstreams.own]\nown_tools = true\n\
         [policies.keys]\nkind = 'api-key'\nconfig = { store = 'keys.toml' }\n\
         [policies.stricter]\nkind = 'rbac'\nmode = 'shadow'\n\
         config = { roles = { other = { allow = ['*'] } } }\n\
         [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys', 'stricter']\n[audit]\ndirectory = 'log'\n",
    );
    let key = setup.key(&["alice", "--allow", "echo"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("echo", json!({ "text": "x" })).await.is_result());
    let shadow = await_entry(running.setup(), "shadow");
    let decision = await_entry(running.setup(), "decision");
    assert_eq!(
        (&decision["outcome"], &decision["target"]),
        (&json!("allowed"), &json!("echo")),
        "{decision}"
    );
    assert_eq!((&decision["policy"], &decision["rule"]), (&json!("keys"), &json!("key:alice")), "{decision}");
    assert_eq!(
        (&shadow["method"], &decision["method"]),
        (&json!("tools/call"), &json!("tools/call")),
        "{shadow}"
    );
    assert_eq!((&shadow["id"], &shadow["generation"]), (&decision["id"], &json!(1)), "{shadow}");
    assert_eq!((&shadow["policy"], &shadow["target"]), (&json!("stricter"), &json!("echo")), "{shadow}");
    assert_eq!((&shadow["live"], &shadow["shadow"]), (&json!("allow"), &json!("deny")), "{shadow}");
    // Both agree about this one.
    assert_eq!(caller.call("get_time", json!({})).await.reason(), Some("not-allowed"));
    await_some("the second decision", || (of_kind(running.setup(), "decision").len() == 2).then_some(()));
    assert_eq!(of_kind(running.setup(), "shadow").len(), 1);
}

/// The entry about refusals for this reason, after the stop.
fn refused(setup: &Setup, reason: &str) -> Value {
    let all = of_kind(setup, "refusals");
    let found: Vec<_> = all.iter().filter(|entry| entry["reason"] == reason).collect();
    assert_eq!(found.len(), 1, "{all:?}");
    found[0].clone()
}

#[test]
fn failed_handshakes_are_counted() {
    let setup = Setup::new();
    let server = Authority::new("Servers CA").issue(&Order::server("127.0.0.1"));
    setup.file("server.pem", &server.pem);
    let key = setup.file("server.key", &server.key);
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    config(&setup, "[server.tls]\ncertificate = 'server.pem'\nkey = { file = 'server.key' }\n");
    setup.key(&["alice", "--allow", "*"]);
    let mut running = setup.serve();
    running.await_log("serving https");
    for _ in 0..3 {
        let mut stream = TcpStream::connect(running.address()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        // An alert, or the end.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    let refused = refused(running.setup(), "tls-handshake");
    // The test that waited for the port has closed its connection, too.
    assert!(refused["count"].as_u64() >= Some(3), "{refused}");
    assert_eq!(
        (&refused["outcome"], &refused["peer"]),
        (&json!("malformed"), &json!("127.0.0.1")),
        "{refused}"
    );
}

#[test]
fn connections_beyond_the_share_of_an_address_are_counted() {
    let setup = Setup::new();
    // An upstream that accepts calls and never answers, so that none of the connections can be closed.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    setup.config(
        "max_connections = 100\nmax_connections_per_peer = 2\nshutdown_grace_s = 1",
        &format!(
            "[upstreams.silent]\nurl = 'http://{}/mcp'\n\
             [policies.keys]\nkind = 'api-key'\nconfig = {{ store = 'keys.toml' }}\n\
             [pipeline]\nauthenticate = ['keys']\nauthorize = ['keys']\n[audit]\ndirectory = 'log'\n",
            silent.local_addr().unwrap()
        ),
    );
    let key = setup.key(&["alice", "--allow", "*"]);
    let mut running = setup.serve();
    let address = running.address();
    let call = Request::stateful(&address, "/mcp", "tools/call", json!({ "name": "x" })).bearer(&key);
    let held: Vec<_> = (0..2).map(|_| (call.open(), silent.accept().unwrap())).collect();
    let answers = [(); 2].map(|()| Request::new("GET", &address, "/nothing").send());
    drop(held);
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    let refused = refused(running.setup(), "too-many-connections");
    assert_eq!((&refused["count"], &refused["outcome"]), (&json!(2), &json!("rate-limited")), "{refused}");
    for answer in &answers {
        assert_eq!((answer.status, ids(answer).0.as_str()), (503, refused["id"].as_str().unwrap()));
    }
}

/// The ids in the header and in the error.
fn ids(answer: &Answer) -> (String, Option<String>) {
    let header = answer.header("witgate-decision").unwrap_or_else(|| panic!("no id: {answer:?}")).to_owned();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (header, body["error"]["data"]["decision"].as_str().map(str::to_owned))
}

#[test]
fn the_id_of_a_decision_is_the_same_in_header_error_and_entry() {
    let setup = Setup::new();
    config(
        &setup,
        "sync = 'before-answer'\n[limits.few]\non = ['echo']\nrate = '1/h'\nper = ['principal']\n",
    );
    let key = setup.key(&["alice", "--allow", "echo"]);
    let mut running = setup.serve();
    let address = running.address();
    let call = |tool: &str| {
        let params = json!({ "name": tool, "arguments": { "text": "x" } });
        Request::stateless(&address, "/mcp", "tools/call", params).with("X-API-Key", &key)
    };
    let unread = call("echo").body("{");
    let get = Request::new("PUT", &address, "/mcp");
    let foreign = call("echo").with("Origin", "https://attacker.example");
    let answers = [
        ("allowed", 200, call("echo").send()),
        ("rate-limited", 429, call("echo").send()),
        ("denied", 403, call("get_time").send()),
        ("malformed", 400, unread.send()),
        ("malformed", 405, get.send()),
        ("malformed", 403, foreign.send()),
    ];
    let nowhere = Request::new("GET", &address, "/elsewhere");
    let nowhere = [nowhere.send(), nowhere.send()];
    done(&running, &["peers", "deny", "127.0.0.0/8"]);
    assert_eq!(call("echo").send().status, 0, "a denied peer gets no answer");
    done(&running, &["peers", "allow", "127.0.0.0/8"]);
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));

    let setup = running.setup();
    let decisions = of_kind(setup, "decision");
    for (outcome, status, answer) in &answers {
        assert_eq!(answer.status, *status, "{answer:?}");
        let (header, error) = ids(answer);
        assert_eq!(error.as_ref(), (*outcome != "allowed").then_some(&header), "{answer:?}");
        let entry = decisions.iter().find(|entry| entry["id"] == header.as_str());
        let entry = entry.unwrap_or_else(|| panic!("no entry for {answer:?}"));
        assert_eq!(entry["outcome"], *outcome, "{entry}");
        assert_eq!(entry["peer"], "127.0.0.1", "{entry}");
    }
    assert_eq!(decisions.len(), answers.len());
    let limited = decisions.iter().find(|entry| entry["outcome"] == "rate-limited").unwrap();
    assert_eq!(
        (&limited["limit"], &limited["reason"], &limited["target"]),
        (&json!("few"), &json!("rate-limited"), &json!("echo"))
    );

    let refusals = of_kind(setup, "refusals");
    let of = |reason: &str| {
        let found: Vec<_> = refusals.iter().filter(|entry| entry["reason"] == reason).collect();
        assert_eq!(found.len(), 1, "{refusals:?}");
        found[0]
    };
    let (unknown, denied) = (of("unknown-path"), of("denied-peer"));
    assert_eq!((&unknown["count"], &unknown["outcome"]), (&json!(2), &json!("malformed")));
    assert_eq!((&denied["count"], &denied["outcome"]), (&json!(1), &json!("denied")));
    assert_eq!((&unknown["peer"], &denied["peer"]), (&json!("127.0.0.1"), &json!("127.0.0.1")));
    for answer in &nowhere {
        assert_eq!((answer.status, ids(answer).0.as_str()), (404, unknown["id"].as_str().unwrap()));
    }
    let shown = setup.run(&["audit", "show", unknown["id"].as_str().unwrap()]);
    assert!(shown.status.success(), "{shown:?}");
}

#[test]
fn an_end_that_is_not_graceful_and_a_cut_are_recorded() {
    let setup = Setup::new();
    config(&setup, "sync = 'before-answer'");
    setup.key(&["alice", "--allow", "*"]);
    let mut running = setup.serve();
    running.await_log("serving http");
    // A request without its end keeps the gateway from stopping.
    let mut held = TcpStream::connect(running.address()).unwrap();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Accept: application/json, text/event-stream\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n";
    held.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 12];
    held.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100");
    running.signal("TERM");
    running.await_log("a second signal ends them");
    running.signal("TERM");
    assert_eq!(running.wait(), Some(130));
    assert_eq!(of_kind(running.setup(), "stop").pop().unwrap()["is_graceful"], false);
    assert_eq!(verified(running.setup()).verdict, LogVerdict::Intact);

    // A line that a kill has left incomplete.
    let segment = directory(running.setup()).join("00000000000000000000.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(segment).unwrap();
    file.write_all(br#"{"prev":"00"#).unwrap();
    drop(file);
    running.start_again();
    let start = await_some("the second start", || {
        Some(of_kind(running.setup(), "start")).filter(|starts| starts.len() == 2)?.pop()
    });
    assert_eq!(start["cut_bytes"], 11, "{start}");
    assert_eq!(verified(running.setup()).verdict, LogVerdict::Intact);
}
