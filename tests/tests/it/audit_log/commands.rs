//! The commands around a log: searches, proofs without the configuration, and a log that somebody has signed anew.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use witgate_audit::{KEY_FILE, PUBLIC_KEY_FILE};
use witgate_tests::gateway::{Setup, await_some};

use super::tools::{end, with_calls};
use super::{config, directory, text};
use crate::caller::Caller;

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The output as one JSON value.
fn whole(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_reason_generation_and_time() {
    let (running, _, id) = with_calls().await;
    let setup = running.setup();
    let query = |arguments: &[&str]| lines(&setup.run(&[&["--json", "audit", "query"], arguments].concat()));
    let denied = query(&["--reason", "not-allowed"]);
    assert_eq!(denied.iter().map(|entry| &entry["id"]).collect::<Vec<_>>(), [&json!(id)]);
    assert_eq!(query(&["--generation", "1", "--kind", "decision"]).len(), 4);
    assert_eq!(query(&["--generation", "7"]).len(), 0);
    let all = query(&["--kind", "decision"]);
    let second = all[1]["time"].as_str().unwrap();
    assert_eq!(query(&["--kind", "decision", "--until", second]), all[..1]);
    assert_eq!(query(&["--kind", "decision", "--since", second]), all[1..]);
    assert_eq!(query(&["--kind", "decision", "--until", "1h"]).len(), 0, "all are younger");
    assert_eq!(query(&["--until", "2000-01-01"]).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_follows_a_log_while_it_is_written() {
    let setup = Setup::new();
    config(&setup, "");
    let key = setup.key(&["alice", "--allow", "echo"]);
    let running = setup.serve();
    await_some("an entry", || text(running.setup()).contains("\"start\"").then_some(()));
    let mut command = running.setup().command(&["--json", "audit", "tail", "--follow", "-n", "1"]);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&shown.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["kind"], "start");
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("echo", json!({ "text": "x" })).await.is_result());
    let decision = next();
    assert_eq!((&decision["outcome"], &decision["target"]), (&json!("allowed"), &json!("echo")));
    tail.kill().unwrap();
    tail.wait().unwrap();
}

/// A proof is for somebody who has neither the configuration nor the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_made_and_checked_without_the_configuration() {
    let (running, _, id) = with_calls().await;
    let log = directory(running.setup());
    let elsewhere = Setup::new();
    let log_option = log.to_str().unwrap();
    // The checkpoint that covers the line comes within a second.
    await_some("a proof", || {
        let made =
            elsewhere.run(&["audit", "prove", &id, "--directory", log_option, "--output", "a.tlog-proof"]);
        made.status.success().then_some(())
    });
    let unknown = elsewhere.run(&["audit", "prove", &"0".repeat(32), "--directory", log_option]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let without = elsewhere.run(&["audit", "prove", &id]);
    assert!(!without.status.success() && String::from_utf8_lossy(&without.stderr).contains("--directory"));
    std::fs::copy(log.join(PUBLIC_KEY_FILE), elsewhere.dir().join("kept")).unwrap();
    let check = |proof: &str| elsewhere.run(&["--json", "audit", "check", proof, "--key", "kept"]);
    let good = check("a.tlog-proof");
    assert_eq!((good.status.code(), &whole(&good)["entry"]["id"]), (Some(0), &json!(id)));

    // Another line under the same path of hashes, another path, and another signer.
    let proof = std::fs::read_to_string(elsewhere.dir().join("a.tlog-proof")).unwrap();
    let index = proof.lines().find(|line| line.starts_with("index ")).unwrap();
    let others = [
        proof.replace(index, "index 0"),
        proof.replacen("extra ", "extra AAAA", 1),
        proof.lines().filter(|line| !line.starts_with('—')).map(|line| format!("{line}\n")).collect(),
        String::new(),
    ];
    for (number, other) in others.iter().enumerate() {
        assert_ne!(*other, proof);
        elsewhere.file("other", other);
        let checked = check("other");
        assert_eq!((checked.status.code(), &whole(&checked)["valid"]), (Some(1), &json!(false)), "{number}");
    }
    let stranger = Setup::new();
    config(&stranger, "");
    stranger.key(&["alice", "--allow", "*"]);
    let mut stranger = stranger.serve();
    end(&mut stranger);
    let key = directory(stranger.setup()).join(PUBLIC_KEY_FILE);
    let checked =
        elsewhere.run(&["--json", "audit", "check", "a.tlog-proof", "--key", key.to_str().unwrap()]);
    assert_eq!((checked.status.code(), &whole(&checked)["valid"]), (Some(1), &json!(false)));
}

/// Somebody writes the whole log anew with a key of their own, and puts its public key in the directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_signed_anew_is_noticed_by_a_kept_key() {
    let (running, _, _) = with_calls().await;
    let setup = running.setup();
    std::fs::copy(directory(setup).join(PUBLIC_KEY_FILE), setup.dir().join("kept")).unwrap();
    let (forged, _, _) = with_calls().await;
    std::fs::remove_dir_all(directory(setup)).unwrap();
    std::fs::create_dir(directory(setup)).unwrap();
    for entry in std::fs::read_dir(directory(forged.setup())).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.is_file());
        std::fs::copy(&path, directory(setup).join(path.file_name().unwrap())).unwrap();
    }
    assert!(directory(setup).join(KEY_FILE).exists());
    let log = directory(setup);
    let own = setup.run(&["--json", "audit", "verify", "--directory", log.to_str().unwrap()]);
    assert_eq!(own.status.code(), Some(0), "the key in the directory says nothing: {own:?}");
    let log = ["--json", "audit", "verify", "--directory", log.to_str().unwrap(), "--key", "kept"];
    let kept = setup.run(&log);
    assert_eq!((kept.status.code(), &whole(&kept)["verdict"]), (Some(1), &json!("altered")), "{kept:?}");
    // Nor does it fit the checkpoints elsewhere.
    let known = setup.run(&["--json", "audit", "verify"]);
    assert_ne!(known.status.code(), Some(0), "{known:?}");
}
