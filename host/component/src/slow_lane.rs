//! Threads of the lowest priority for components with long-running hooks. A guest that loops on them blocks no worker
//! of the gateway, and takes no processor time that others need.

use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, thread};

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use witgate_runtime::priority::step_back;

/// The threads of a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lane {
    /// The threads of the request.
    #[default]
    Fast,
    /// The threads of the slow lane.
    Slow,
}

/// The threads of the slow lane.
#[derive(Debug)]
pub(super) struct SlowLane {
    /// None: it is shutting down.
    runtime: Option<Runtime>,
}

impl SlowLane {
    pub(super) fn new() -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("witgate-slow")
            .on_thread_start(step_back)
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` in the slow lane, until it is done or nobody waits for it. None: it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let runtime = self.runtime.as_ref()?;
        AbortOnDropHandle::new(runtime.spawn(work)).await.ok()
    }
}

impl Drop for SlowLane {
    /// Does not wait, because each hook is ended by its own limits.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The recent speed of a component's hooks. After a long hook, the next ones run in the slow lane, until they are
/// quick for a while.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    /// The weight of one long hook compared with short ones: a component is slow if one of eight hooks is long.
    const LONG: u32 = 8;
    /// The value from which a component is slow: after one long hook. After a pause of the machine, one short hook
    /// runs in the slow lane, which costs nothing if a processor is idle. But many components with long hooks would
    /// cost all others.
    const SLOW: u32 = Self::LONG;
    /// The number of short hooks after which the component is quick again.
    const MOST: u32 = 6 * Self::SLOW;

    pub(super) fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::SLOW
    }

    /// Records whether a hook was long.
    pub(super) fn note(&self, long: bool) {
        let now = self.0.load(Ordering::Relaxed);
        let next = if long { (now + Self::LONG).min(Self::MOST) } else { now.saturating_sub(1) };
        // Hooks that end at the same moment may overwrite each other, because only a tendency is needed. Quick hooks
        // write nothing.
        if next != now {
            self.0.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn a_slow_policy_stays_in_the_slow_lane_until_it_is_quick_for_a_while() {
        let pace = Pace::default();
        assert!(!pace.is_slow());
        for _ in 0..100 {
            pace.note(true);
            assert!(pace.is_slow());
        }
        for hook in 0..Pace::MOST {
            assert_eq!(pace.is_slow(), Pace::MOST - hook >= Pace::SLOW);
            pace.note(false);
        }
    }

    #[test]
    fn a_policy_that_is_slow_once_in_ten_calls_uses_the_slow_lane_once_in_ten_calls() {
        let pace = Pace::default();
        let slow = (0..1000).filter(|hook| {
            pace.note(hook % 10 == 0);
            pace.is_slow()
        });
        assert_eq!(slow.count(), 100);
    }
}
