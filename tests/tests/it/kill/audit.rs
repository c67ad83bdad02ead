//! The log of a `witgate serve` that was killed: whole lines, and one for each answered call.

use std::collections::HashSet;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use witgate_tests::gateway::{PATIENCE, Setup};

use super::{Chance, kills};
use crate::caller::{Caller, Upstream};

const CALLERS: usize = 4;

/// Long enough for hundreds of calls.
const LONGEST: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn each_answered_call_has_its_complete_audit_line() {
    let (answered, recorded) = kill_often(20, "audit_write = \"before-answer\"").await;
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "{} of {} have no line: {missing:?}", missing.len(), answered.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_no_more_than_a_batch_for_each_processor() {
    let (answered, recorded) = kill_often(10, "").await;
    let missing = answered.difference(&recorded).count();
    let workers = std::thread::available_parallelism().unwrap().get();
    // A line has more than 256 bytes.
    let most = kills(10) as usize * workers * (16 << 10) / 256;
    assert!(missing <= most && missing < answered.len(), "{missing} of {}", answered.len());
}

/// Starts and kills a gateway under load. Returns the calls that were answered, and those that have a line.
async fn kill_often(share: u64, server: &str) -> (HashSet<String>, HashSet<String>) {
    let upstream = Upstream::start();
    let setup = Setup::new();
    let config = crate::swap::config(&upstream, "", "config = { roles = { user = { allow = [\"*\"] } } }");
    setup.config(server, &config);
    let key = setup.key(&["user", "--allow", "*", "--role", "user"]);
    let (mut chance, answered) = (Chance(0xa0d17), Arc::new(Mutex::new(HashSet::new())));
    let log = setup.dir().join("witgate.log");
    let number = Arc::new(AtomicU64::new(0));
    for _ in 0..kills(share) {
        let mut child = serve(&setup, &log);
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
    }
    let answered = std::mem::take(&mut *answered.lock().unwrap());
    assert!(!answered.is_empty(), "no call was answered");
    (answered, recorded(&fs::read_to_string(&log).unwrap()))
}

fn serve(setup: &Setup, log: &std::path::Path) -> Child {
    let file = File::options().create(true).append(true).open(log).unwrap();
    let mut serve = setup.command(&["serve", "--json"]);
    let mut child = serve.env("RUST_LOG", "info").stdout(Stdio::null()).stderr(file).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(setup.address()).is_err() {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "it does not serve");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

/// Calls tools whose names nobody else calls.
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

/// The tools with a line in the log. Every line is whole, except for the last one of each process: a kill may end the
/// kernel's write between two pages, and then the next process begins in the same line. No client got that call's
/// answer.
fn recorded(log: &str) -> HashSet<String> {
    let (whole, _) = log.rsplit_once('\n').unwrap();
    let lines = whole.lines().map(|line| {
        let line = &line[line.rfind("{\"timestamp\":").unwrap_or(0)..];
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("half a line ({error}): {line}"))
    });
    let targets =
        lines.filter_map(|line| Some(line["fields"]["target"].as_str()?.rsplit(':').next()?.to_owned()));
    targets.collect()
}
