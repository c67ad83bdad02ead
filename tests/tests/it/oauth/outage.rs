//! An authorization server that is killed under load and recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use witgate_tests::oauth::Make;

use super::{GUARDED, Making, READ, Testbed, hello};
use crate::caller::{Answer, Caller, until};

/// Time for which the server is down.
const AWAY: Duration = Duration::from_secs(6);

/// Time for which an answer is cached here, with a reserve for a busy machine.
const REMEMBERED: Duration = Duration::from_secs(2);

/// Time limit for each call.
const BOUND: Duration = Duration::from_secs(15);

/// Calls without a pause until told to stop. Returns the start and the outcome of each call.
fn load(caller: Caller, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<(Instant, Answer)>> {
    tokio::spawn(async move {
        let mut answers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            answers.push((start, caller.call("echo", hello()).await));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        answers
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_recover_after_a_restart_of_the_authorization_server() {
    for make in Make::ALL {
        let mut testbed = Making::of(make).introspecting("cache_ttl_s = 1\nnegative_ttl_s = 1").start();
        let stop = Arc::new(AtomicBool::new(false));
        let mut loads = Vec::new();
        for (upstream, ..) in GUARDED {
            let caller = testbed.caller(upstream, READ).await;
            assert!(caller.call("echo", hello()).await.is_result(), "{make:?}, {upstream}");
            loads.push((upstream, caller.clone(), load(caller, Arc::clone(&stop))));
        }
        let outage = interrupt(&mut testbed).await;
        for (upstream, caller, _) in &loads {
            until(upstream, async || caller.call("echo", hello()).await.is_result().then_some(())).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.store(true, Ordering::Relaxed);
        for (upstream, _, load) in loads {
            let answers = load.await.unwrap();
            let what = format!("{make:?}, {upstream}");
            match upstream.starts_with("signed") {
                true => assert!(answers.iter().all(|(_, answer)| answer.is_result()), "{what}: {answers:?}"),
                false => assert_denied_meanwhile(&what, &answers, &outage),
            }
        }
    }
}

/// The outage of a server, which began and ended between two moments each.
struct Outage {
    begins_after: Instant,
    begun: Instant,
    ends_after: Instant,
}

async fn interrupt(testbed: &mut Testbed) -> Outage {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begins_after = Instant::now();
    testbed.server.kill();
    let begun = Instant::now();
    tokio::time::sleep(AWAY).await;
    let ends_after = Instant::now();
    testbed.server.start_again().unwrap();
    Outage { begins_after, begun, ends_after }
}

/// Asserts that each call was allowed, or denied as unavailable. No call was allowed on an expired answer, and in the
/// end all were allowed.
fn assert_denied_meanwhile(what: &str, answers: &[(Instant, Answer)], outage: &Outage) {
    let mut denied = 0;
    for (start, answer) in answers {
        assert!(answer.took < BOUND, "{what}: {answer:?}");
        if answer.is_result() {
            let unknown = *start > outage.begun + REMEMBERED && *start + answer.took < outage.ends_after;
            assert!(!unknown, "{what}: allowed {:?} after the end", start.duration_since(outage.begun));
            continue;
        }
        let found = (answer.status, answer.reason(), answer.retry_after.is_some());
        assert_eq!(found, (503, Some("unavailable"), true), "{what}: {answer:?}");
        assert!(
            *start + answer.took > outage.begins_after,
            "{what}: denied before anything happened: {answer:?}"
        );
        denied += 1;
    }
    assert!(denied > 10, "{what}: {denied} of {} denied: is there no outage?", answers.len());
    assert!(answers.last().is_some_and(|(_, answer)| answer.is_result()), "{what}: it does not heal");
}
