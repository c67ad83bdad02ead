//! Callers that call all the time; each answer is judged.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::caller::{Caller, Door};
use super::state::TOOLS;
use super::timeline::Timeline;

/// Interval between the calls of a connection: a steady load that leaves room on two cores.
const PACE: Duration = Duration::from_millis(5);

/// The phase of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Calls do not count.
    Between = 0,
    /// No change is going on.
    Quiet = 1,
    /// One change follows the other.
    Changing = 2,
}

/// The observations of the callers.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    /// Calls without an answer, or with one that is neither a result nor a refusal.
    pub(crate) failed: Vec<String>,
    /// Answers that agree with no state that can have been in force.
    pub(crate) wrong: Vec<String>,
    /// Times by [`Phase`].
    times: [super::figures::Times; 3],
}

impl Seen {
    /// The times of the calls in a phase.
    pub(crate) fn times(&self, phase: Phase) -> &super::figures::Times {
        let [between, quiet, changing] = &self.times;
        match phase {
            Phase::Between => between,
            Phase::Quiet => quiet,
            Phase::Changing => changing,
        }
    }
}

/// Running callers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    door: Door,
    timeline: Arc<Timeline>,
    stop: AtomicBool,
    phase: AtomicU8,
    seen: Mutex<Seen>,
}

impl Load {
    pub(crate) fn start(door: &Door, connections: usize, timeline: &Arc<Timeline>) -> Self {
        let shared = Arc::new(Shared {
            door: door.clone(),
            timeline: Arc::clone(timeline),
            stop: AtomicBool::new(false),
            phase: AtomicU8::new(0),
            seen: Mutex::default(),
        });
        let call = || {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.call())
        };
        let threads = (0..connections).map(|_| call()).collect();
        Self { shared, threads }
    }

    pub(crate) fn phase(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The observations so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    /// Ends the calls; calls that are already made get their answers.
    pub(crate) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed the reason, and made no more calls.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
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
            let start = Instant::now();
            if !self.call_once(&mut caller, tool) {
                // The connection cannot be used any more.
                caller = None;
            }
            thread::sleep(PACE.saturating_sub(start.elapsed()));
        }
    }

    fn call_once(&self, caller: &mut Option<Caller>, tool: &str) -> bool {
        let (since, phase) = (self.timeline.now(), self.phase.load(Ordering::Relaxed));
        let connected = match caller.take() {
            Some(caller) => Ok(caller),
            None => Caller::connect(&self.door),
        };
        let start = Instant::now();
        let answer = connected.and_then(|connected| caller.insert(connected).call(tool)?.verdict());
        let took = start.elapsed();
        let right = answer.as_ref().is_ok_and(|verdict| self.timeline.allows(since, tool, verdict));
        let mut seen = self.seen();
        seen.requests += 1;
        if let Some(times) = seen.times.get_mut(usize::from(phase)) {
            times.add(took);
        }
        match answer {
            Ok(verdict) if !right => seen.wrong.push(format!("{tool}: {verdict:?}")),
            Ok(_) => {}
            Err(error) => {
                seen.failed.push(format!("{tool}: {error:#}"));
                return false;
            }
        }
        true
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
