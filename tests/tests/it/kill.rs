//! A gateway and commands that are killed at random moments: confirmed changes are kept, and the next process starts.
//!
//! `WITGATE_KILLS` sets the total number of kills; the default is a few dozen.

mod audit;
mod keys;
mod serve;

use std::collections::HashSet;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use witgate_tests::gateway::Setup;

use crate::caller::Caller;

/// The number of callers of a gateway that is killed.
const CALLERS: usize = 4;

/// The longest life of a gateway that is killed: long enough for hundreds of calls.
const LONGEST: Duration = Duration::from_millis(300);

/// The number of kills in one test, by its share of a hundred.
pub(crate) fn kills(share: u64) -> u64 {
    let all = std::env::var("WITGATE_KILLS").ok().and_then(|all| all.parse::<u64>().ok()).unwrap_or(60);
    (all * share / 100).max(1)
}

/// Pseudo-random moments that are the same in every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // The xorshift64 generator.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn within(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(longest.as_micros()).unwrap().max(1)))
    }
}

/// Starts a gateway, and kills it under load, again and again. `after` looks at what each kill leaves. Returns the tools
/// whose calls were answered; nobody else calls them.
pub(crate) async fn kill_under_load(
    setup: &Setup,
    key: &str,
    kills: u64,
    start: impl Fn() -> Child,
    mut after: impl FnMut(u64),
) -> HashSet<String> {
    let (mut chance, answered) = (Chance(0xa0d17), Arc::new(Mutex::new(HashSet::new())));
    let number = Arc::new(AtomicU64::new(0));
    for round in 0..kills {
        let mut child = start();
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (stop, number, answered) = (Arc::clone(&stop), Arc::clone(&number), Arc::clone(&answered));
            callers.spawn(call(Caller::new(setup.url(), Some(key)), stop, number, answered));
        }
        tokio::time::sleep(chance.within(LONGEST)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        while callers.join_next().await.is_some() {}
        after(round);
    }
    let answered = std::mem::take(&mut *answered.lock().unwrap());
    assert!(!answered.is_empty(), "no call was answered");
    answered
}

/// Calls tools whose names nobody else calls. A refusal is an answer, too.
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
