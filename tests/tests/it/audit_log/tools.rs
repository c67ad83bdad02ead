//! The commands around a log, a verifier in another language, and what no entry contains.

use std::process::{Command, Output};

use serde_json::{Value, json};
use witgate_audit::verify::LogVerdict;
use witgate_tests::clients::Clients;
use witgate_tests::gateway::{Running, Setup, await_some, workspace};

use super::{config, entries, of_kind, text, verified};
use crate::caller::Caller;

fn json_of(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Makes a log of some calls in two processes, and ends the gateway. Returns it with the key of its caller and the id of
/// a denied call.
pub(super) async fn with_calls() -> (Running, String, String) {
    let setup = Setup::new();
    config(
        &setup,
        "sync = 'before-answer'\nnode = 'gateway-1'\narguments_clear = ['/text', '/mine']\narguments_masked = ['/text']",
    );
    let key = setup.key(&["alice", "--allow", "echo"]);
    let mut running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    // What is masked is not shown, even where the configuration chooses it.
    assert!(caller.call("echo", json!({ "text": SECRET, "mine": "a note" })).await.is_result());
    let denied = caller.call("get_time", json!({})).await;
    let id = denied.body["error"]["data"]["decision"].as_str().unwrap().to_owned();
    assert_eq!(caller.clone().at("127.0.0.1").call("echo", json!({ "text": 1 })).await.status, 200);
    let stranger = Caller::new(running.url(), Some(STRANGE_KEY));
    assert_eq!(stranger.call("echo", json!({})).await.status, 401);
    end(&mut running);
    running.start_again();
    end(&mut running);
    (running, key, id)
}

pub(super) fn end(running: &mut Running) {
    // Before that line, a signal ends the process without a farewell.
    running.await_log("serving http");
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
}

/// A text in the arguments of a call.
const SECRET: &str = "correct-horse-battery-staple";

const STRANGE_KEY: &str = "sk-not-a-key-of-anybody";

#[tokio::test(flavor = "multi_thread")]
async fn no_entry_has_a_secret() {
    let (running, key, id) = with_calls().await;
    let text = text(running.setup());
    for secret in [&key, SECRET, STRANGE_KEY] {
        assert!(!text.contains(secret), "{secret} is in the log");
        let digest = witgate_base::digest::digest_text(&witgate_base::digest::sha256(secret.as_bytes()));
        assert!(!text.contains(digest.trim_start_matches("sha256:")), "a digest without a salt is guessed");
    }
    let decisions = of_kind(running.setup(), "decision");
    let outcomes: Vec<_> = decisions.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["allowed", "denied", "allowed", "refused"]);
    assert_eq!((&decisions[0]["subject"], &decisions[0]["target"]), (&json!("alice"), &json!("echo")));
    assert_eq!(decisions[0]["arguments_hmac"].as_str().map(str::len), Some(64));
    assert_ne!(decisions[0]["arguments_hmac"], decisions[2]["arguments_hmac"]);
    let masked = |text: &str| json!({ "type": "string", "length": text.chars().count() });
    assert_eq!(decisions[0]["arguments_masked"], json!({ "/text": masked(SECRET) }));
    assert_eq!(decisions[0]["arguments"], json!({ "/mine": "a note" }));
    assert_eq!((&decisions[0]["node"], &decisions[0]["upstream_status"]), (&json!("gateway-1"), &json!(200)));
    let stages = decisions[0]["stages"].as_object().unwrap();
    assert_eq!(stages.keys().collect::<Vec<_>>(), ["authenticate", "authorize", "upstream"]);
    assert_eq!(decisions[1]["stages"].as_object().unwrap().len(), 2, "a denied call has no upstream");
    assert_eq!((&decisions[1]["id"], &decisions[1]["target"]), (&json!(id), &json!("get_time")));
    let kinds: Vec<_> = entries(running.setup()).iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds[..2], ["segment", "start"]);
    assert_eq!(kinds[kinds.len() - 3..], ["stop", "start", "stop"]);
}

/// A verifier that was written from `docs/audit.md`, in Python.
#[tokio::test(flavor = "multi_thread")]
async fn another_program_verifies_a_log_and_a_proof() {
    let (running, _, id) = with_calls().await;
    let setup = running.setup();
    assert_eq!(verified(setup).verdict, LogVerdict::Intact);
    let proof = setup.run(&["audit", "prove", &id, "--output", "a.tlog-proof"]);
    assert!(proof.status.success(), "{proof:?}");
    let python = || {
        let mut python = Command::new(Clients::installed().unwrap().python());
        python.arg(workspace().join("tests/judges/audit_log.py")).args([
            "log",
            "log/public-key",
            "a.tlog-proof",
        ]);
        python.current_dir(setup.dir()).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
    };
    let judged = python();
    assert!(judged.status.success(), "{judged:?}");
    let lines = entries(setup).len();
    assert_eq!((&json_of(&judged)["lines"], &json_of(&judged)["proofs"]), (&json!(lines), &json!(1)));
    let segment = super::directory(setup).join("00000000000000000000.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("\"denied\"", "\"allowed\"", 1)).unwrap();
    let judged = python();
    assert_eq!(judged.status.code(), Some(1), "{judged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_verify_prove_and_find() {
    let (running, _, id) = with_calls().await;
    let setup = running.setup();
    let run = |arguments: &[&str]| setup.run(&[&["--json"], arguments].concat());
    let verified = run(&["audit", "verify"]);
    assert_eq!((verified.status.code(), &json_of(&verified)["verdict"]), (Some(0), &json!("intact")));
    let shown = json_of(&run(&["audit", "show", &id]));
    assert_eq!((&shown["outcome"], &shown["subject"]), (&json!("denied"), &json!("alice")));
    let start = of_kind(setup, "start").remove(0);
    let with = &shown["decided_with"];
    assert_eq!((&with["config_digest"], &with["policies"]), (&start["config_digest"], &start["policies"]));
    let found = run(&["audit", "query", "--subject", "alice", "--tool", "echo", "--since", "1h"]);
    assert_eq!(String::from_utf8_lossy(&found.stdout).lines().count(), 2, "{found:?}");
    assert_eq!(run(&["audit", "query", "--subject", "bob"]).status.code(), Some(1));
    let tail = run(&["audit", "tail", "-n", "1"]);
    assert_eq!(json_of(&tail)["kind"], "stop");
    let exported = run(&["audit", "export", "--outcome", "denied"]);
    assert_eq!(json_of(&exported)["class_uid"], 6003);
    setup.file("a.tlog-proof", run(&["audit", "prove", &id]).stdout);
    std::fs::copy(setup.dir().join("log/public-key"), setup.dir().join("public-key")).unwrap();
    let checked = run(&["audit", "check", "a.tlog-proof", "--key", "public-key"]);
    assert_eq!((checked.status.code(), &json_of(&checked)["entry"]["id"]), (Some(0), &json!(id)));

    // Each attack has its exit code.
    let segment = super::directory(setup).join("00000000000000000000.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("alice", "mallory", 1)).unwrap();
    let altered = run(&["audit", "verify"]);
    assert_eq!((altered.status.code(), &json_of(&altered)["verdict"]), (Some(1), &json!("altered")));
    let lines: Vec<_> = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    std::fs::write(&segment, lines.concat()).unwrap();
    let truncated = run(&["audit", "verify"]);
    assert_eq!((truncated.status.code(), &json_of(&truncated)["verdict"]), (Some(3), &json!("truncated")));
    let start = setup.run(&["serve"]);
    assert_eq!(start.status.code(), Some(78), "it does not continue a log with missing lines");
    std::fs::remove_dir_all(super::directory(setup)).unwrap();
    assert_eq!(run(&["audit", "verify", "--key", "public-key"]).status.code(), Some(69));
}

#[test]
fn changes_are_recorded_and_a_directory_has_one_owner() {
    let setup = Setup::new();
    config(&setup, "sync = 'before-answer'");
    setup.key(&["alice", "--allow", "*"]);
    let running = setup.serve();
    let setup = running.setup();
    let path = setup.dir().join("witgate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("authorize = ['keys']", "authorize = ['kays']")).unwrap();
    let refused = await_some("an entry", || of_kind(setup, "reload-refused").pop());
    assert!(refused["reasons"][0].as_str().unwrap().contains("kays"), "{refused}");
    setup.key(&["bob", "--allow", "*"]);
    let changed = await_some("an entry", || of_kind(setup, "reload").pop());
    let store = &changed["policies"][0]["files"];
    let now = witgate_base::digest::sha256(&std::fs::read(setup.dir().join("keys.toml")).unwrap());
    let digests: Vec<_> = store.as_object().unwrap().values().collect();
    assert_eq!(digests, [&json!(witgate_base::digest::digest_text(&now))], "{changed}");
    std::fs::write(&path, format!("{text}# A comment.\n")).unwrap();
    let is_other = |entry: &Value| entry["config_digest"] != changed["config_digest"];
    let reload = await_some("an entry", || of_kind(setup, "reload").pop().filter(is_other));
    assert!(reload["config_digest"].as_str().unwrap().starts_with("sha256:"), "{reload}");
    let rollback = setup.run(&["plugin", "rollback"]);
    assert!(rollback.status.success(), "{rollback:?}");
    await_some("an entry", || of_kind(setup, "rollback").pop());

    let other = Setup::new();
    config(&other, "");
    let text = std::fs::read_to_string(other.dir().join("witgate.toml")).unwrap();
    let shared = text.replace("'log'", &format!("'{}'", super::directory(setup).display()));
    other.file("witgate.toml", shared);
    other.key(&["alice", "--allow", "*"]);
    for command in ["check", "serve"] {
        let output = other.run(&[command]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains("another process"), "{command}: {errors}");
    }
}
