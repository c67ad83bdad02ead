//! The clock of hooks: it counts an epoch each millisecond, for as long as a hook may run. In between it sleeps.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The grain of deadlines. One millisecond is the smallest that a limit can name.
const TICK: Duration = Duration::from_millis(1);

/// Time after a hook's deadline in which the clock goes on. A hook that reaches its deadline is ended by the next tick.
const MARGIN: u64 = 20;

/// Time for which a hook keeps the clock going beyond that, so that the next ones need not.
const AHEAD: u64 = 100;

/// The interval at which a sleeping clock looks whether its engine is gone.
const LOOK: Duration = Duration::from_secs(1);

/// The clock.
#[derive(Debug)]
pub(super) struct Epochs {
    started: Instant,
    /// It goes on until so many milliseconds after its start.
    until: AtomicU64,
    is_asleep: AtomicBool,
    thread: OnceLock<Thread>,
    ticks: AtomicU64,
}

impl Epochs {
    /// Counts the epochs of `engine` for as long as it lives.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn count(engine: &wasmtime::Engine) -> std::io::Result<Arc<Self>> {
        let epochs = Arc::new(Self {
            started: Instant::now(),
            until: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            thread: OnceLock::new(),
            ticks: AtomicU64::new(0),
        });
        let (engine, clock) = (engine.weak(), Arc::clone(&epochs));
        let thread = thread::Builder::new().name("witgate-epochs".to_owned());
        let spawned = thread.spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                clock.ticks.fetch_add(1, Ordering::Relaxed);
                clock.pause();
            }
        })?;
        _ = epochs.thread.set(spawned.thread().clone());
        Ok(epochs)
    }

    /// Keeps the clock going for a hook with this deadline.
    pub(super) fn go_on_until(&self, deadline: Instant) {
        let needed = self.milliseconds(deadline) + MARGIN;
        if self.until.load(Ordering::Relaxed) >= needed {
            return;
        }
        self.until.fetch_max(needed + AHEAD, Ordering::SeqCst);
        // The clock says that it sleeps, and then looks at the time once more, so that no hook falls between.
        if self.is_asleep.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Waits for the next tick.
    fn pause(&self) {
        if self.is_needed() {
            return thread::sleep(TICK);
        }
        self.is_asleep.store(true, Ordering::SeqCst);
        if !self.is_needed() {
            thread::park_timeout(LOOK);
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    fn is_needed(&self) -> bool {
        self.milliseconds(Instant::now()) <= self.until.load(Ordering::SeqCst)
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_ticks_while_a_hook_may_run_and_sleeps_otherwise() {
        let engine = wasmtime::Engine::default();
        let epochs = Epochs::count(&engine).unwrap();
        for _ in 0..3 {
            while !epochs.is_asleep.load(Ordering::SeqCst) {
                thread::sleep(TICK);
            }
            let before = epochs.ticks.load(Ordering::Relaxed);
            thread::sleep(Duration::from_millis(100));
            assert!(epochs.ticks.load(Ordering::Relaxed) <= before + 2, "it sleeps");
            let before = epochs.ticks.load(Ordering::Relaxed);
            epochs.go_on_until(Instant::now() + Duration::from_millis(30));
            let begun = Instant::now();
            while epochs.ticks.load(Ordering::Relaxed) < before + 20 {
                assert!(begun.elapsed() < Duration::from_secs(20), "it was not woken");
                thread::sleep(TICK);
            }
        }
    }
}
