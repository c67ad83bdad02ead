//! Refusals of locked-out senders, which wait before they are sent. A sender who needs the answer cannot guess fast
//! then, and costs little: the next request on the connection is not read in the meantime.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;
use witgate_flow::reject::Rejection;

/// The time that a refusal waits.
const WAIT: Duration = Duration::from_secs(1);

/// Refusals that wait at the same time. Others are sent at once: each one that waits takes a few kilobytes.
const PLACES: usize = 4096;

/// The refusals that wait.
#[derive(Debug)]
pub(super) struct HeldRefusals {
    places: Semaphore,
}

impl Default for HeldRefusals {
    fn default() -> Self {
        Self { places: Semaphore::new(PLACES) }
    }
}

impl HeldRefusals {
    /// Waits before the answer to a locked-out sender. Others have their answer at once.
    pub(super) async fn hold(&self, rejection: &Rejection) {
        if !matches!(rejection, Rejection::LockedOut { .. }) {
            return;
        }
        if let Ok(_place) = self.places.try_acquire() {
            sleep(WAIT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::future::{join, join_all};
    use tokio::time::timeout;

    use super::*;

    const LOCKED_OUT: Rejection = Rejection::LockedOut { retry_after: 5 };

    #[tokio::test]
    async fn only_refusals_of_locked_out_senders_wait() {
        let held = HeldRefusals::default();
        let begin = Instant::now();
        join(held.hold(&LOCKED_OUT), async {
            let at_once = timeout(WAIT / 2, held.hold(&Rejection::Unrecorded)).await;
            assert!(at_once.is_ok());
        })
        .await;
        assert!(begin.elapsed() >= WAIT);
    }

    #[tokio::test]
    async fn a_refusal_without_a_place_is_sent_at_once_and_one_that_is_abandoned_leaves_its_place() {
        let held = HeldRefusals::default();
        let mut all = Box::pin(join_all((0..PLACES).map(|_| held.hold(&LOCKED_OUT))));
        assert!(timeout(WAIT / 20, &mut all).await.is_err(), "all wait");
        assert!(timeout(WAIT / 20, held.hold(&LOCKED_OUT)).await.is_ok());
        drop(all);
        assert_eq!(held.places.available_permits(), PLACES);
    }
}
