//! Places for connections. Any program of this machine can connect, so that a connection has a place of the processes
//! only once it has shown the secret of an API. Before, it has one of few others, and seconds.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Connections that have shown no secret, at a time. The oldest one goes for a new one.
const MOST_NEWCOMERS: usize = 128;

/// Time that a connection has to show a secret, at most, and at least if there are many.
const LONGEST_PROOF: Duration = Duration::from_secs(5);
const SHORTEST_PROOF: Duration = Duration::from_millis(100);

/// Connections of the processes of one upstream at a time. As many further ones wait.
const MOST_CONNECTIONS: usize = 256;

/// The places of a listener.
pub(super) struct ConnectionPlaces {
    newcomers: Mutex<Newcomers>,
    /// A newcomer has left.
    left: Notify,
    served: Arc<Semaphore>,
    /// Those that are served or wait for that.
    proven: Arc<Semaphore>,
}

#[derive(Default)]
struct Newcomers {
    /// The oldest one first.
    all: VecDeque<Newcomer>,
    next: u64,
}

struct Newcomer {
    number: u64,
    since: Instant,
    end: CancellationToken,
}

/// The place of one connection.
pub(super) struct ConnectionPlace {
    places: Arc<ConnectionPlaces>,
    number: u64,
    end: CancellationToken,
    proven: Mutex<ProvenPlace>,
}

#[derive(Default)]
struct ProvenPlace {
    is_proven: bool,
    permits: Vec<OwnedSemaphorePermit>,
}

impl ConnectionPlaces {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            newcomers: Mutex::default(),
            left: Notify::new(),
            served: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            proven: Arc::new(Semaphore::new(2 * MOST_CONNECTIONS)),
        })
    }

    /// A place for a new connection, at the latest after the shortest time of the oldest newcomer.
    pub(super) async fn enter(self: &Arc<Self>) -> ConnectionPlace {
        loop {
            match self.try_enter() {
                Ok(place) => return place,
                Err(pause) => drop(timeout(pause, self.left.notified()).await),
            }
        }
    }

    fn try_enter(self: &Arc<Self>) -> Result<ConnectionPlace, Duration> {
        let mut newcomers = self.newcomers.lock();
        if newcomers.all.len() >= MOST_NEWCOMERS
            && let Some(oldest) = newcomers.all.front()
        {
            let rest = SHORTEST_PROOF.saturating_sub(oldest.since.elapsed());
            if !rest.is_zero() {
                return Err(rest);
            }
            oldest.end.cancel();
            newcomers.all.pop_front();
        }
        let (number, end) = (newcomers.next, CancellationToken::new());
        newcomers.next += 1;
        newcomers.all.push_back(Newcomer { number, since: Instant::now(), end: end.clone() });
        Ok(ConnectionPlace { places: Arc::clone(self), number, end, proven: Mutex::default() })
    }

    /// True if it was a newcomer.
    fn leave(&self, number: u64) -> bool {
        let mut newcomers = self.newcomers.lock();
        let found = newcomers.all.binary_search_by_key(&number, |newcomer| newcomer.number);
        if let Ok(index) = found {
            newcomers.all.remove(index);
            self.left.notify_one();
        }
        found.is_ok()
    }
}

impl ConnectionPlace {
    /// Gives the connection, which has shown a secret, a place among those of the processes, as soon as there is one.
    /// False: too many wait already.
    pub(super) async fn prove(&self) -> bool {
        {
            let mut proven = self.proven.lock();
            if proven.is_proven {
                return true;
            }
            let Ok(permit) = Arc::clone(&self.places.proven).try_acquire_owned() else { return false };
            if !self.places.leave(self.number) {
                return false;
            }
            proven.is_proven = true;
            proven.permits.push(permit);
        }
        // The semaphore is never closed.
        let served = Arc::clone(&self.places.served).acquire_owned().await;
        self.proven.lock().permits.extend(served);
        true
    }

    /// Waits until the connection has to go, because it has shown no secret.
    pub(super) async fn ended(&self) {
        tokio::select! {
            () = self.end.cancelled() => {}
            () = sleep(LONGEST_PROOF) => {}
        }
        if self.proven.lock().is_proven {
            pending::<()>().await;
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.places.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_newcomer_goes_for_others_and_a_process_stays() {
        let places = ConnectionPlaces::new();
        let process = places.enter().await;
        assert!(process.prove().await);
        let begin = Instant::now();
        let mut newcomers = VecDeque::new();
        for _ in 0..MOST_NEWCOMERS {
            newcomers.push_back(places.enter().await);
        }
        let next = places.enter().await;
        assert!(begin.elapsed() >= SHORTEST_PROOF && begin.elapsed() < LONGEST_PROOF);
        let oldest = newcomers.pop_front().unwrap();
        oldest.ended().await;
        assert!(begin.elapsed() < LONGEST_PROOF, "it goes for another one");
        assert!(!oldest.prove().await, "it is too late");
        drop(newcomers);
        let stays = timeout(LONGEST_PROOF + SHORTEST_PROOF * 10, process.ended());
        let (stays, ()) = tokio::join!(stays, next.ended());
        assert!(stays.is_err(), "a process has shown its secret");
    }

    #[tokio::test]
    async fn processes_wait_for_a_place_and_too_many_are_refused() {
        let places = ConnectionPlaces::new();
        let mut served = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            let place = places.enter().await;
            assert!(place.prove().await);
            served.push(place);
        }
        let mut waiting = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            let place = places.enter().await;
            assert_eq!(place.prove().now_or_never(), None);
            waiting.push(place);
        }
        assert!(!places.enter().await.prove().await);
        drop(served);
        drop(waiting);
        assert!(places.enter().await.prove().await);
    }
}
