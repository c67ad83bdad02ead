//! The log of a `witgate serve` that was killed: whole lines, and one for each answered call.

use std::collections::HashSet;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use witgate_tests::gateway::{PATIENCE, Setup};

use super::{kill_under_load, kills};
use crate::caller::Upstream;

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
    let log = setup.dir().join("witgate.log");
    let answered = kill_under_load(&setup, &key, kills(share), || serve(&setup, &log), |_| ()).await;
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
