//! A disk without room, and a directory that is gone: calls are denied in time, nothing answered is lost, and Witgate
//! recovers by itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use witgate_audit::verify::LogVerdict;
use witgate_tests::gateway::{PATIENCE, Running, Setup};

use super::{config, directory, of_kind, verified};
use crate::caller::Caller;

/// A shell that limits the size of files, in units of 512 bytes, before it starts the gateway. As on a full disk, the
/// write that exceeds it fails; the signal is ignored. Only the soft limit is set, so that it can be raised again.
const WITHIN: [&str; 4] = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 64; exec \"$@\"", "sh"];

/// Calls until one is denied because the audit cannot be written, and returns the names of the tools that were called
/// with an answer.
async fn call_until_denied(caller: &Caller, name: &str) -> HashSet<String> {
    let mut answered = HashSet::new();
    let end = Instant::now() + PATIENCE;
    for number in 0.. {
        assert!(Instant::now() < end, "no call was denied");
        let tool = format!("{name}-{number}");
        let answer = caller.call(&tool, json!({})).await;
        assert!(answer.took < Duration::from_secs(10), "a deadline holds: {answer:?}");
        if answer.reason() == Some("audit-unavailable") {
            assert_eq!((answer.status, answer.retry_after), (503, Some(1)), "{answer:?}");
            break;
        }
        answered.insert(tool);
    }
    answered
}

/// Calls until a call passes again.
async fn await_recovery(caller: &Caller) {
    let end = Instant::now() + PATIENCE;
    while caller.call("echo", json!({ "text": "x" })).await.reason() == Some("audit-unavailable") {
        assert!(Instant::now() < end, "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Ends the gateway, and checks that its log is intact and has these calls.
fn assert_complete(mut running: Running, answered: &HashSet<String>) {
    running.await_log("serving http");
    running.signal("TERM");
    assert_eq!(running.wait(), Some(0));
    let setup = running.setup();
    assert_eq!(verified(setup).verdict, LogVerdict::Intact);
    let decisions = of_kind(setup, "decision");
    let recorded: HashSet<_> = decisions.iter().filter_map(|entry| entry["target"].as_str()).collect();
    let missing: Vec<_> = answered.iter().filter(|tool| !recorded.contains(tool.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} of {}", answered.len());
    assert!(!of_kind(setup, "recovered").is_empty(), "the log says that it has recovered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_denies_until_there_is_room_again() {
    for sync in ["before-answer", "batched"] {
        let setup = Setup::new().within(&WITHIN);
        config(&setup, &format!("sync = '{sync}'"));
        let key = setup.key(&["user", "--allow", "*"]);
        let running = setup.serve();
        let caller = Caller::new(running.url(), Some(&key));
        let answered = call_until_denied(&caller, sync).await;
        assert!(answered.len() > 10, "{} calls fit", answered.len());
        let pid = Pid::from_raw(running.pid().try_into().unwrap());
        let limit = Rlimit { current: None, maximum: None };
        prlimit(pid, Resource::Fsize, limit).unwrap();
        await_recovery(&caller).await;
        assert_complete(running, &answered);
    }
}

/// Root may write to a directory without permission, so the directory is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_gone_denies_until_it_returns() {
    let setup = Setup::new();
    config(&setup, "sync = 'before-answer'");
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let mut answered = HashSet::new();
    for number in 0..5 {
        caller.call(&format!("first-{number}"), json!({})).await;
        answered.insert(format!("first-{number}"));
    }
    let (log, away) = (directory(running.setup()), running.setup().dir().join("away"));
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "").unwrap();
    answered.extend(call_until_denied(&caller, "gone").await);
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
    await_recovery(&caller).await;
    assert_complete(running, &answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_log_need_no_lines_until_it_cannot_be_written() {
    let setup = Setup::new();
    config(&setup, "unavailable = 'count'\nlines = 'refusals'");
    let key = setup.key(&["user", "--allow", "echo"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    assert!(caller.call("echo", json!({ "text": "x" })).await.is_result());
    assert_eq!(caller.call("add", json!({ "a": 1, "b": 2 })).await.status, 403);
    let log = running.await_log("outcome=\"denied\"");
    assert!(!log.contains("outcome=\"allowed\""), "{log}");
    let directory = directory(running.setup());
    std::fs::rename(&directory, running.setup().dir().join("away")).unwrap();
    std::fs::write(&directory, "").unwrap();
    // Entries still reach a file that is open; the log is unavailable once it cannot be signed for some seconds.
    for _ in 0..600 {
        assert!(caller.call("echo", json!({ "text": "x" })).await.is_result());
        if running.log().contains("outcome=\"allowed\"") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no line of an allowed call:\n{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_without_a_log_if_configured() {
    let setup = Setup::new();
    config(&setup, "unavailable = 'count'");
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let caller = Caller::new(running.url(), Some(&key));
    let log = directory(running.setup());
    std::fs::rename(&log, running.setup().dir().join("away")).unwrap();
    std::fs::write(&log, "").unwrap();
    running.await_log("the audit cannot be written");
    for _ in 0..20 {
        assert!(caller.call("echo", json!({ "text": "x" })).await.is_result());
    }
}
