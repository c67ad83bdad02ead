//! A gateway that is killed under load: the log is intact each time, and with `before-answer` no answered call is
//! missing.

use std::collections::HashSet;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use witgate_audit::verify::LogVerdict;
use witgate_tests::gateway::{Setup, await_some};

use super::{config, entries, verified};
use crate::caller::Caller;
use crate::kill::{Chance, kills};

const CALLERS: usize = 4;

/// Long enough for hundreds of calls.
const LONGEST: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_log_before_the_answer_has_every_answered_call() {
    let (answered, recorded) = kill_often(20, "sync = 'before-answer'").await;
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), answered.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batched_log_is_intact_after_each_kill() {
    let (answered, recorded) = kill_often(10, "").await;
    let missing = answered.difference(&recorded).count();
    assert!(missing < answered.len(), "all {missing} answered calls are missing");
}

/// Starts and kills a gateway under load. Returns the ids of the calls that were answered, and those in the log.
async fn kill_often(share: u64, settings: &str) -> (HashSet<String>, HashSet<String>) {
    let setup = Setup::new();
    config(&setup, settings);
    let key = setup.key(&["user", "--allow", "*"]);
    let (mut chance, answered) = (Chance(0xa0d17), Arc::new(Mutex::new(HashSet::new())));
    let number = Arc::new(AtomicU64::new(0));
    for round in 0..kills(share) {
        let mut child = serve(&setup);
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (stop, number, answered) = (Arc::clone(&stop), Arc::clone(&number), Arc::clone(&answered));
            callers.spawn(call(Caller::new(setup.url(), Some(&key)), stop, number, answered));
        }
        tokio::time::sleep(chance.within(LONGEST)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        while callers.join_next().await.is_some() {}
        let verification = verified(&setup);
        assert_eq!(verification.verdict, LogVerdict::Intact, "kill {round}: {verification:?}");
    }
    let answered = std::mem::take(&mut *answered.lock().unwrap());
    assert!(!answered.is_empty(), "no call was answered");
    // The last process has left an incomplete end, which the next one cuts.
    let mut child = serve(&setup);
    child.kill().unwrap();
    child.wait().unwrap();
    let entries = entries(&setup);
    let recorded = entries.iter().filter_map(|entry| Some(entry["target"].as_str()?.to_owned()));
    (answered, recorded.collect())
}

fn serve(setup: &Setup) -> Child {
    let mut serve = setup.command(&["serve"]);
    let mut child = serve.env("RUST_LOG", "off").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    await_some("it to listen", || {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::net::TcpStream::connect(setup.address()).ok()
    });
    child
}

/// Calls tools whose names nobody else calls. Most of these calls are refused, which is an answer, too.
async fn call(
    caller: Caller,
    stop: Arc<AtomicBool>,
    number: Arc<AtomicU64>,
    answered: Arc<Mutex<HashSet<String>>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let tool = format!("call-{}", number.fetch_add(1, Ordering::Relaxed));
        match caller.try_call(&tool, json!({})).await {
            Ok(answer) if answer.body.is_object() => drop(answered.lock().unwrap().insert(tool)),
            // The connection broke in the middle of an answer, or was never made.
            _ => return,
        }
    }
}
