//! Components that are small, and take the compiler very long.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_tests::hostile::Guest;

use super::expectations::{Expected, case};
use super::refusals::{Gateway, PATIENCE};
use crate::caller::{Caller, until_late};
use crate::swap::rename_over;

/// The longest time of a call meanwhile.
const BOUND: Duration = Duration::from_secs(20);

/// Calls until told to stop; all calls must succeed.
async fn calls(caller: Caller, stop: Arc<AtomicBool>) -> (usize, Duration) {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let answer = caller.call("echo", json!({ "text": "mine" })).await;
        assert!(answer.is_result(), "{answer:?}");
        (count, slowest) = (count + 1, slowest.max(answer.took));
    }
    (count, slowest)
}

/// Runs `work` on a guest while calls are made, which must all succeed.
async fn meanwhile<T>(gateway: &mut Gateway, guest: Guest, what: impl AsyncFnOnce(&mut Gateway) -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let caller = tokio::spawn(calls(gateway.caller(), Arc::clone(&stop)));
    let start = Instant::now();
    let outcome = what(gateway).await;
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (count, slowest) = caller.await.unwrap();
    eprintln!("{}: {took:?}; {count} calls meanwhile, the slowest {slowest:?}", guest.name());
    assert!(count > 5 && slowest < BOUND, "{}: {count} calls, the slowest {slowest:?}", guest.name());
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_compiles_for_ever_is_refused_while_the_live_generation_serves() {
    let mut gateway = Gateway::new();
    for guest in Guest::ALL {
        let Expected::NotCompiled = case(guest).expected else { continue };
        let content = fs::read(guest.file()).unwrap();
        let why = meanwhile(&mut gateway, guest, async |gateway| {
            gateway.refuses(guest.name(), |file| rename_over(file, &content)).await
        });
        let why = why.await;
        assert!(why.contains("compil"), "{}: {why}", guest.name());
        gateway.goes_on(guest.name()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_compiles_slowly_goes_live_when_it_is_compiled() {
    for guest in Guest::ALL {
        let Expected::TakesOver = case(guest).expected else { continue };
        let mut gateway = Gateway::new();
        // With another digest than in the run before, whose compiled code is kept.
        let mut content = fs::read(guest.file()).unwrap();
        content.extend([&[0, 17], random().as_slice()].concat());
        meanwhile(&mut gateway, guest, async |gateway| {
            rename_over(&gateway.running.setup().dir().join("plugins/rules.wasm"), &content);
            let live = async || (gateway.running.plugins()["generation"] == 2).then_some(());
            until_late("the slow one", PATIENCE, live).await;
        })
        .await;
        let answer = gateway.caller().call("echo", json!({ "text": "mine" })).await;
        assert!(answer.is_result(), "{answer:?}");
    }
}

/// A custom section's content: a name of no bytes, and something that was not there before.
fn random() -> [u8; 17] {
    let mut content = [0; 17];
    content[1..].copy_from_slice(
        &std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos().to_be_bytes(),
    );
    content
}
