//! The requests that tell an upstream the end of sessions. Nobody waits for them but the stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use witgate_services::network::CONNECT;

use super::line::UpstreamLine;
use super::outgoing::Outgoing;

/// Maximum number of them at a time, so that a stop with many sessions does not flood the server.
const AT_ONCE: usize = 16;

/// Maximum time that a stop waits for all of them. The upstream would notice by itself, and a dead one must not delay the
/// stop.
const LONGEST_STOP: Duration = Duration::from_secs(1);

/// The requests that are being sent.
#[derive(Debug)]
pub(super) struct Farewells {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Default for Farewells {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), tasks: TaskTracker::new() }
    }
}

impl Farewells {
    /// Sends one in the background. Its answer does not matter.
    pub(super) fn send(&self, line: UpstreamLine, farewell: Outgoing) {
        let places = Arc::clone(&self.places);
        self.tasks.spawn(timeout(CONNECT, async move {
            let _place = places.acquire_owned().await;
            drop(line.request(farewell).await);
        }));
    }

    /// Waits until all are sent, but no longer than a stop may take.
    pub(super) async fn settle(&self) {
        self.tasks.close();
        // Those that are late would be of no use.
        drop(timeout(LONGEST_STOP, self.tasks.wait()).await);
    }
}
