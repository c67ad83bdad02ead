//! Callers that call all the time, each answer judged.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::caller::{Caller, Door};
use super::state::TOOLS;
use super::timeline::Timeline;

/// From one call of a connection to its next: a steady load that leaves room on two cores.
const PACE: Duration = Duration::from_millis(5);

/// The phase of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing that counts.
    Between = 0,
    /// No change.
    Quiet = 1,
    /// One change after the other.
    Changing = 2,
}

/// The observations of the callers.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    /// Calls that got no answer, or one that is neither a result nor a refusal.
    pub(crate) failed: Vec<String>,
    /// Answers that are of no state that can have been in force.
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

/// Callers at work.
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

    /// Ends the calls; each that was made gets its answer.
    pub(crate) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has printed why, and called no more.
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
                // The connection is of no more use.
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
