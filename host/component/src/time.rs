//! The wall-clock time of a hook, and the part of it in which the hook waited for others.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;
use crate::failure::Failure;

/// The time of one hook. Clones share it, for the task that waits for the hook and for the hook's host.
#[derive(Clone, Debug)]
pub(super) struct HookTime(Arc<HookTimeState>);

#[derive(Debug)]
struct HookTimeState {
    started: Instant,
    deadline: Instant,
    waits: Mutex<Waits>,
}

/// The times in which a hook waited for something outside its component.
#[derive(Debug, Default)]
struct Waits {
    /// The last wait, which may still be running.
    last: Option<WaitKind>,
    /// The start of the running wait.
    since: Option<Instant>,
    /// The total length of earlier waits.
    over: Duration,
}

/// The target of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitKind {
    /// An instance, while all are at work.
    Instance,
    /// A server that the hook asks, or that the host asks for keys.
    Server,
    /// The check of a password.
    Password,
}

impl HookTime {
    /// A time that starts now.
    pub(super) fn of(length: Duration) -> Self {
        let started = Instant::now();
        Self(Arc::new(HookTimeState { started, deadline: started + length, waits: Mutex::default() }))
    }

    pub(super) fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// Ends `work` when the time is over. A component that sleeps in an import runs no code of its own, so the epochs
    /// could not end it.
    ///
    /// # Errors
    /// With the fault, which names the cause.
    pub(super) async fn bounds<T>(&self, work: impl Future<Output = T>) -> Result<T, Fault> {
        timeout_at(self.0.deadline, work).await.map_err(|_| self.overrun())
    }

    /// Waits for `work` outside the component, until the hook's time is over.
    ///
    /// # Errors
    /// As [`HookTime::bounds`].
    pub(super) async fn waits<T>(&self, wait: WaitKind, work: impl Future<Output = T>) -> Result<T, Fault> {
        let _waiting = WaitGuard::begin(&self.0, wait);
        self.bounds(work).await
    }

    /// The fault of a hook whose time is over.
    fn overrun(&self) -> Fault {
        let own = || {
            Fault::new(
                Failure::Timeout,
                "it gave no answer within its wall-clock time, which includes waiting",
            )
        };
        self.excuse().unwrap_or_else(own)
    }

    /// The fault of a hook whose time is over, if the component is not the cause.
    pub(super) fn excuse(&self) -> Option<Fault> {
        let HookTimeState { started, deadline, waits } = &*self.0;
        waits.lock().excuse(*deadline - *started, Instant::now()).map(WaitKind::fault)
    }
}

impl Waits {
    fn begin(&mut self, wait: WaitKind, now: Instant) {
        (self.last, self.since) = (Some(wait), Some(now));
    }

    fn end(&mut self, now: Instant) {
        self.over += self.under_way(now);
        self.since = None;
    }

    fn under_way(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The wait that used up a time of this `length`, if the component is not the cause: it has not started, or at
    /// least half of the time was waiting. Otherwise somebody who makes a server slow, or uses all instances, could
    /// have the component paused for all callers.
    fn excuse(&self, length: Duration, now: Instant) -> Option<WaitKind> {
        let has_begun = self.since.is_none() || self.last != Some(WaitKind::Instance);
        let waited = self.over + self.under_way(now);
        self.last.filter(|_| !has_begun || waited >= length / 2)
    }
}

impl WaitKind {
    fn fault(self) -> Fault {
        match self {
            Self::Instance => Fault::new(Failure::Busy, "all instances of the policy were at work"),
            Self::Password => {
                Fault::new(Failure::Unavailable, "its time ended while a password was checked, or soon after")
            }
            Self::Server => {
                Fault::new(Failure::Unavailable, "its time ended while it waited for a server, or soon after")
            }
        }
    }
}

/// A running wait, which ends when this is dropped.
struct WaitGuard<'t>(&'t HookTimeState);

impl<'t> WaitGuard<'t> {
    fn begin(time: &'t HookTimeState, wait: WaitKind) -> Self {
        time.waits.lock().begin(wait, Instant::now());
        Self(time)
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.waits.lock().end(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(6);

    /// Waits with these start and end seconds, the last of which may still be running, and the result after six
    /// seconds.
    fn excuse(waits: &[(WaitKind, u64, Option<u64>)]) -> Option<WaitKind> {
        let started = Instant::now();
        let at = |second| started + Duration::from_secs(second);
        let mut all = Waits::default();
        for (wait, from, to) in waits {
            all.begin(*wait, at(*from));
            if let Some(to) = to {
                all.end(at(*to));
            }
        }
        all.excuse(LENGTH, at(6))
    }

    #[test]
    fn a_hook_that_hardly_waits_is_too_slow_itself() {
        assert_eq!(excuse(&[]), None);
        assert_eq!(excuse(&[(WaitKind::Server, 0, Some(2))]), None);
        assert_eq!(excuse(&[(WaitKind::Server, 4, None)]), None);
        assert_eq!(excuse(&[(WaitKind::Instance, 0, Some(1)), (WaitKind::Server, 5, None)]), None);
    }

    #[test]
    fn a_hook_that_mostly_waits_is_not_too_slow_itself() {
        for wait in [WaitKind::Server, WaitKind::Instance] {
            assert_eq!(excuse(&[(wait, 0, None)]), Some(wait));
            assert_eq!(excuse(&[(wait, 0, Some(3))]), Some(wait));
        }
        let both = [(WaitKind::Instance, 0, Some(2)), (WaitKind::Server, 5, None)];
        assert_eq!(excuse(&both), Some(WaitKind::Server));
    }

    #[test]
    fn a_hook_that_got_no_instance_has_not_begun() {
        assert_eq!(excuse(&[(WaitKind::Instance, 5, None)]), Some(WaitKind::Instance));
    }

    #[tokio::test]
    async fn a_time_limit_outside_the_hook_gives_the_same_failure() {
        for (wait, failure) in [(WaitKind::Server, Failure::Unavailable), (WaitKind::Instance, Failure::Busy)]
        {
            let time = HookTime::of(Duration::ZERO);
            let inside = time.waits(wait, pending::<()>());
            assert_eq!(inside.await.unwrap_err().failure, failure);
            let outside = time.bounds(pending::<()>());
            assert_eq!(outside.await.unwrap_err().failure, failure);
        }
        let nothing = HookTime::of(Duration::ZERO).bounds(pending::<()>()).await;
        assert_eq!(nothing.unwrap_err().failure, Failure::Timeout);
    }
}
