//! Threads for the hooks of components that run for long: everybody else goes before them. A guest that loops then
//! holds up no worker of the gateway, and takes no processor that anybody else has use for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, thread};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// The threads that a hook runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lane {
    /// Those that have the request.
    #[default]
    Fast,
    /// Those of the slow lane.
    Slow,
}

/// The threads.
#[derive(Debug)]
pub(super) struct SlowLane {
    /// None: it is going.
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

    /// Runs `work` here, until it is done or nobody waits for it any more. None: it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let runtime = self.runtime.as_ref()?;
        AbortOnDropHandle::new(runtime.spawn(work)).await.ok()
    }
}

/// Lets everybody go before the thread that calls this. Priority alone is not enough on Linux: who wakes up still waits
/// for the slice of whoever runs, which is milliseconds. Idle threads (`sched(7)`) are put aside at once.
/// Where the system does not allow it, they are slow among equals.
fn step_back() {
    #[cfg(target_os = "linux")]
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    #[cfg(not(target_os = "linux"))]
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
}

impl Drop for SlowLane {
    /// Does not wait: each hook in this lane is ended by its own limits.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The recent speed of a component's hooks: after a long one, the next go into the slow lane, until they are
/// quick for a while.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    /// The weight of one long hook against short ones: a component of which one hook in eight is long is a
    /// slow one.
    const LONG: u32 = 8;
    /// From here on it is slow: after one long hook. A machine that stood still sends one short hook the slow way,
    /// which costs nothing where there is a processor to spare; each second long hook of many components costs everybody.
    const SLOW: u32 = Self::LONG;
    /// So many short hooks, and it is quick again.
    const MOST: u32 = 6 * Self::SLOW;

    pub(super) fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::SLOW
    }

    /// Notes whether a hook was long.
    pub(super) fn note(&self, long: bool) {
        let now = self.0.load(Ordering::Relaxed);
        let next = if long { (now + Self::LONG).min(Self::MOST) } else { now.saturating_sub(1) };
        // Hooks that end at the same moment may overwrite each other: it is a tendency. Quick ones write nothing.
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
