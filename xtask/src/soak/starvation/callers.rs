//! Callers that call all the time. During a shortage the gateway may refuse them for that reason. It must never allow
//! a call that no possible state allows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::stress::caller::{Answer, Caller, Door};
use crate::stress::state::{TOOLS, Verdict};
use crate::stress::timeline::Timeline;

const CONNECTIONS: usize = 3;

/// Interval between the calls of a connection.
const PACE: Duration = Duration::from_millis(10);

/// Longest time for an answer: the length of a shortage, and some more.
const HANGS: Duration = Duration::from_secs(20);

/// The statuses of refusals because of a shortage: 408, 429 and 503.
const SHORT: [u16; 3] = [408, 429, 503];

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) calls: u64,
    /// Number of refusals because of a shortage, by reason.
    pub(super) short: BTreeMap<String, u64>,
    /// The longest time from the end of a shortage to such a refusal.
    pub(super) longest_short: Duration,
    pub(super) unanswered: u64,
    pub(super) hung: Vec<String>,
    pub(super) wrong: Vec<String>,
    /// The end of the last shortage. None: a shortage is going on.
    ended: Option<Instant>,
}

pub(super) struct Callers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    door: Door,
    timeline: Arc<Timeline>,
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

impl Callers {
    pub(super) fn start(door: &Door, timeline: &Arc<Timeline>) -> Self {
        let (door, timeline) = (door.clone(), Arc::clone(timeline));
        let shared =
            Arc::new(Shared { door, timeline, stop: AtomicBool::new(false), seen: Mutex::default() });
        let call = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.call())
        };
        let threads = (0..CONNECTIONS).map(call).collect();
        Self { shared, threads }
    }

    pub(super) fn shortage_begins(&self) {
        self.seen().ended = None;
    }

    pub(super) fn shortage_ends(&self) {
        self.seen().ended = Some(Instant::now());
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    pub(super) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed the reason, and made no more calls.
            let _ = thread.join();
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn call(&self) {
        let mut caller = None;
        for tool in TOOLS.into_iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            self.call_once(&mut caller, tool);
            thread::sleep(PACE);
        }
    }

    fn call_once(&self, caller: &mut Option<Caller>, tool: &str) {
        let (since, start) = (self.timeline.now(), Instant::now());
        let connected = match caller.take() {
            Some(caller) => Ok(caller),
            None => Caller::connect(&self.door),
        };
        let answer = connected.and_then(|mut connected| {
            let answer = connected.call(tool)?;
            *caller = Some(connected);
            Ok((answer.verdict()?, answer))
        });
        let right = answer.as_ref().is_ok_and(|(verdict, _)| self.timeline.allows(since, tool, verdict));
        let mut seen = self.seen();
        seen.calls += 1;
        if start.elapsed() > HANGS {
            seen.hung.push(format!("{tool}: {:?} to {answer:?}", start.elapsed()));
        }
        match answer {
            Ok(_) if right => {}
            Ok((Verdict::Refused(reason), answer)) if is_short(&reason, &answer) => seen.was_short(reason),
            Ok((verdict, _)) => seen.wrong.push(format!("{tool}: {verdict:?}")),
            Err(_) => seen.unanswered += 1,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn was_short(&mut self, reason: String) {
        *self.short.entry(reason).or_default() += 1;
        let since = self.ended.map(|end| end.elapsed()).unwrap_or_default();
        self.longest_short = self.longest_short.max(since);
    }
}

/// True if a refusal comes from a shortage, here or on the route to the upstream.
fn is_short(reason: &str, answer: &Answer) -> bool {
    SHORT.contains(&answer.status) || reason.starts_with("upstream-")
}
