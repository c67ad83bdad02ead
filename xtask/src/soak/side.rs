//! Callers of the pipelines whose answers depend on other failures. For each caller it is known which answers would be
//! wrong.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::authorization_server::GOOD;
use super::hostile::FAULTY;
use crate::stress::caller::{Answer, Caller, Door};
use crate::stress::gateway::Place;
use crate::stress::state::Verdict;

/// Interval between calls.
const PACE: Duration = Duration::from_millis(10);

/// The callers' observations.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) failed: Vec<String>,
    pub(super) wrong: Vec<String>,
}

/// The state that callers share with the task that makes changes.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// The malicious component in use. None: it is being replaced.
    hostile: Mutex<Option<String>>,
    tally: Mutex<Tally>,
    stop: AtomicBool,
}

pub(super) struct Sides {
    live: Arc<Live>,
    threads: Vec<JoinHandle<()>>,
}

/// A kind of call, with the answers that would be wrong.
struct Side {
    door: Door,
    tool: &'static str,
    is_wrong: fn(&Answer, &Verdict) -> bool,
    /// The component that must be live for this call. None: any.
    under: Option<&'static str>,
}

impl Live {
    pub(super) fn set_hostile(&self, name: Option<&str>) {
        *self.hostile() = name.map(str::to_owned);
    }

    pub(super) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    pub(super) fn note_wrong(&self, what: String) {
        self.lock().wrong.push(what);
    }

    fn hostile(&self) -> MutexGuard<'_, Option<String>> {
        self.hostile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sides {
    pub(super) fn start(place: &Place) -> Self {
        let live = Arc::new(Live::default());
        live.set_hostile(Some(FAULTY));
        let threads = sides(place)
            .into_iter()
            .map(|group| {
                let live = Arc::clone(&live);
                thread::spawn(move || call(&group, &live))
            })
            .collect();
        Self { live, threads }
    }

    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    pub(super) fn stop(&mut self) {
        self.live.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Sides {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The calls of each thread.
fn sides(place: &Place) -> Vec<Vec<Side>> {
    let person = place.person().to_owned();
    let door = |path: &str, name: &str, value: &str| Door {
        address: place.door.address.clone(),
        path: path.to_owned(),
        credential: (name.to_owned(), value.to_owned()),
    };
    let side = |door, tool, is_wrong| Side { door, tool, is_wrong, under: None };
    let allowed: fn(&Answer, &Verdict) -> bool = |_, verdict| *verdict == Verdict::Allowed;
    let not_denied: fn(&Answer, &Verdict) -> bool = |_, verdict| *verdict != Verdict::refused("denied");
    let denied: fn(&Answer, &Verdict) -> bool = |_, verdict| *verdict == Verdict::refused("denied");
    let unauthorized: fn(&Answer, &Verdict) -> bool = |answer, _| matches!(answer.status, 401 | 403);
    let harmful = ["loops", "traps", "eats-memory", "talks-nonsense"].map(|tool| Side {
        under: Some(FAULTY),
        ..side(door("/hostile", "X-API-Key", &person), tool, allowed)
    });
    let mut harmful = Vec::from(harmful);
    // For any component, because without a key no call gets that far.
    harmful.push(side(
        door("/hostile", "X-API-Key", "wg_not-a-key-that-anybody-was-given"),
        "greet",
        allowed,
    ));
    let crashing = vec![
        side(door("/crashing", "X-API-Key", &person), "never", not_denied),
        side(door("/crashing", "X-API-Key", &person), "anything", denied),
    ];
    let bearer = |token: &str| door("/asked", "Authorization", &format!("Bearer {token}"));
    let calls = vec![
        side(bearer(GOOD), "anything", unauthorized),
        side(bearer(GOOD), "never", allowed),
        side(bearer("a-token-of-nobody"), "anything", allowed),
    ];
    vec![harmful, crashing, calls]
}

fn call(group: &[Side], live: &Live) {
    let mut callers: Vec<Option<Caller>> = group.iter().map(|_| None).collect();
    while !live.stop.load(Ordering::Relaxed) {
        for (side, caller) in group.iter().zip(&mut callers) {
            call_once(side, caller, live);
            thread::sleep(PACE);
        }
    }
}

fn call_once(side: &Side, caller: &mut Option<Caller>, live: &Live) {
    let before = live.hostile().clone();
    let connected = match caller.take() {
        Some(caller) => Ok(caller),
        None => Caller::connect(&side.door),
    };
    let answer = connected.and_then(|connected| caller.insert(connected).call(side.tool));
    let outcome = answer.and_then(|answer| Ok((answer.verdict()?, answer)));
    let same = before == *live.hostile();
    let counts = side.under.is_none_or(|name| same && before.as_deref() == Some(name));
    let mut tally = live.lock();
    tally.requests += 1;
    let what = || format!("{} {}", side.door.path, side.tool);
    match outcome {
        Ok((verdict, answer)) if counts && (side.is_wrong)(&answer, &verdict) => {
            tally.wrong.push(format!("{}: {answer:?}", what()));
        }
        Ok(_) => {}
        Err(error) => {
            *caller = None;
            tally.failed.push(format!("{}: {error:#}", what()));
        }
    }
}
