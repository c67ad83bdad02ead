//! All guests at once for seconds, each as fast as possible, and a good policy among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use witgate_tests::gateway::{Setup, component};
use witgate_tests::hostile::Guest;

use super::PATIENT;
use super::calls::callable;
use super::expectations::End;
use super::mixed_gateway::{MixedGateway, UNBROKEN};
use crate::caller::Caller;

/// Time for which the good policy is called alone, and together with the others.
const ALONE: Duration = Duration::from_secs(1);
const BESIDE: Duration = Duration::from_secs(5);

/// The number of callers of the good policy.
const GOOD: usize = 4;

/// The longest that a good call may take. What it does take is for a load run to measure, on a machine of its own.
const BOUND: Duration = Duration::from_secs(10);

/// Pause between two calls of one caller, where it is measured how long calls take: so that it is the guests that
/// make the difference, and not how many requests there are.
const PACE: Duration = Duration::from_millis(5);
const HOSTILE_PACE: Duration = Duration::from_millis(100);

/// The duration of each half of a measurement.
const MEASURED: Duration = Duration::from_secs(20);

/// Calls of the good policy for a time, all of which have to be good: how long each took, in order.
async fn good_calls(caller: Caller, time: Duration, pace: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..GOOD {
        let caller = caller.clone();
        callers.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let answer = caller.call("echo", json!({ "text": "mine" })).await;
                assert!(answer.is_result(), "{answer:?}");
                tokio::time::sleep(pace.saturating_sub(answer.took)).await;
                took.push(answer.took);
            }
            took
        });
    }
    let mut took = callers.join_all().await.concat();
    took.sort_unstable();
    took
}

fn percentile(took: &[Duration], percent: usize) -> Duration {
    took[(took.len() * percent / 100).min(took.len() - 1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_policy_beside_hostile_ones_has_no_error() {
    let callable = callable();
    let gateway = MixedGateway::with(&callable.iter().map(|(guest, _)| *guest).collect::<Vec<_>>());
    let stop = Arc::new(AtomicBool::new(false));
    let alone = good_calls(gateway.good(), ALONE, Duration::ZERO).await;
    let hostile = hostile_calls(&gateway, callable, &stop, Duration::ZERO);
    let beside = good_calls(gateway.good(), BESIDE, Duration::ZERO).await;
    stop.store(true, Ordering::Relaxed);
    let counts = hostile.join_all().await;
    report(&gateway, &alone, &beside, &counts);
    assert!(counts.iter().all(|(_, count)| *count > 0), "somebody was not called: {counts:?}");
    assert!(beside.len() > GOOD && beside.last().unwrap() < &BOUND, "{:?}", beside.last());
    assert!(gateway.elsewhere.requests().is_empty(), "{:?}", gateway.elsewhere.requests());
    let after = gateway.good().call("echo", json!({ "text": "mine" })).await;
    assert!(after.is_result(), "{after:?}");
}

/// The start of one of many callers with the same pace: spread over it, so that they do not call all at once.
async fn begin(number: usize, many: usize, pace: Duration) {
    tokio::time::sleep(pace.mul_f64(number as f64 / many as f64)).await;
}

/// Everybody calls as fast as it can, or so often.
fn hostile_calls(
    gateway: &MixedGateway,
    callable: Vec<(Guest, &'static [(&'static str, End)])>,
    stop: &Arc<AtomicBool>,
    pace: Duration,
) -> JoinSet<(Guest, usize)> {
    let mut hostile = JoinSet::new();
    let many = callable.len();
    for (number, (guest, calls)) in callable.into_iter().enumerate() {
        let calls: Vec<_> = calls.iter().map(|(what, _)| gateway.hostile(guest, what)).collect();
        let stop = Arc::clone(stop);
        hostile.spawn(async move {
            let mut count = 0_usize;
            begin(number, many, pace).await;
            while !stop.load(Ordering::Relaxed) {
                let (caller, tool) = &calls[count % calls.len()];
                let answer = caller.call(tool, json!({ "text": "mine" })).await;
                assert!([200, 401, 403, 429, 503].contains(&answer.status), "{}: {answer:?}", guest.name());
                tokio::time::sleep(pace.saturating_sub(answer.took)).await;
                count += 1;
            }
            (guest, count)
        });
    }
    hostile
}

fn report(gateway: &MixedGateway, alone: &[Duration], beside: &[Duration], counts: &[(Guest, usize)]) {
    for (name, took) in [("alone", alone), ("beside", beside)] {
        eprintln!(
            "{name}: {} calls, p50 {:?}, p99 {:?}",
            took.len(),
            percentile(took, 50),
            percentile(took, 99)
        );
    }
    let total: usize = counts.iter().map(|(_, count)| count).sum();
    eprintln!(
        "{} guests: {total} calls, {} MiB, {} files",
        counts.len(),
        gateway.peak_memory(),
        gateway.open_files()
    );
}

/// The measurement of `cargo xtask interference`, in a release build: figures for docs/performance.md. The guests
/// have the limits and the breaker that a policy has by default; then each of their calls is let through to
/// them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, of a minute and a half"]
async fn duration_of_good_calls_beside_hostile_policies() {
    for (breaker, what) in [("", "with the usual breaker"), (UNBROKEN, "without a breaker")] {
        let callable = callable();
        let gateway =
            MixedGateway::breaking(&callable.iter().map(|(guest, _)| *guest).collect::<Vec<_>>(), breaker);
        let stop = Arc::new(AtomicBool::new(false));
        let alone = good_calls(gateway.good(), MEASURED, PACE).await;
        let hostile = hostile_calls(&gateway, callable, &stop, HOSTILE_PACE);
        let beside = good_calls(gateway.good(), MEASURED, PACE).await;
        stop.store(true, Ordering::Relaxed);
        let counts = hostile.join_all().await;
        eprintln!("{what}:");
        report(&gateway, &alone, &beside, &counts);
        let crowd = Arc::new(AtomicBool::new(false));
        let others = harmless_calls(&gateway, counts.len(), &crowd);
        let crowded = good_calls(gateway.good(), MEASURED, PACE).await;
        crowd.store(true, Ordering::Relaxed);
        others.join_all().await;
        for (name, before) in [("alone", &alone), ("beside as many that hurt nobody", &crowded)] {
            let ratio = |percent| {
                percentile(&beside, percent).as_secs_f64() / percentile(before, percent).as_secs_f64()
            };
            eprintln!("against {name}: p50 {:.2}, p99 {:.2}", ratio(50), ratio(99));
        }
    }
}

/// As many calls by another caller that do no harm.
fn harmless_calls(gateway: &MixedGateway, callers: usize, stop: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut harmless = JoinSet::new();
    for number in 0..callers {
        let (caller, stop) = (gateway.good(), Arc::clone(stop));
        harmless.spawn(async move {
            begin(number, callers, HOSTILE_PACE).await;
            while !stop.load(Ordering::Relaxed) {
                let answer = caller.call("echo", json!({ "text": "mine" })).await;
                tokio::time::sleep(HOSTILE_PACE.saturating_sub(answer.took)).await;
            }
        });
    }
    harmless
}

/// All policies have their instances from one supply.
#[tokio::test(flavor = "multi_thread")]
async fn memory_of_one_policy_is_not_missing_to_another() {
    let setup = Setup::new();
    setup.config(
        "",
        &format!(
            "[upstreams.good]\nown_tools = true\n[upstreams.hostile]\nown_tools = true\n\
             [upstreams.hostile.pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"hoards\"]\n\
             [policies.keys]\nkind = \"api-key\"\nconfig = {{ store = \"keys.toml\" }}\n\
             [policies.hoards]\nkind = \"custom\"\ncomponent = \"{}\"\n{PATIENT}\n\
             [policies.good]\nkind = \"custom\"\ncomponent = \"{}\"\nisolation = \"per-call\"\n{PATIENT}\n\
             [pipeline]\nauthenticate = [\"keys\"]\nauthorize = [\"good\"]\n",
            Guest::HoardsMemories.file().display(),
            component("tests/faulty").display(),
        ),
    );
    let key = setup.key(&["user", "--allow", "*"]);
    let running = setup.serve();
    let caller = |name: &str| Caller::new(format!("http://{}/{name}/mcp", running.address()), Some(&key));
    let (good, hostile) = (caller("good"), caller("hostile"));
    let mut calls = JoinSet::new();
    for _ in 0..80 {
        let hostile = hostile.clone();
        calls.spawn(async move { hostile.call("echo", json!({ "text": "mine" })).await });
    }
    let (mut good_count, mut passed) = (0, 0);
    while good_count < 5 || !calls.is_empty() {
        // Each needs an instance of its own.
        let answer = good.call("echo", json!({ "text": "mine" })).await;
        assert!(answer.is_result(), "after {good_count} good calls and {passed} others: {answer:?}");
        good_count += 1;
        while let Some(answer) = calls.try_join_next() {
            passed += usize::from(answer.unwrap().is_result());
        }
    }
    assert!(passed > 5, "{passed}");
}
