//! The requests that tell an upstream the end of sessions. Nobody waits for them but the stop.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Uri};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use witgate_services::network::CONNECT;

use super::bound_session::BoundSession;
use super::line::UpstreamLine;
use super::outgoing::{self, Outgoing};
use crate::identity::RequestSender;
use witgate_base::party::Principal;

/// Maximum number of them at a time, so that a stop with many sessions does not flood the server.
const AT_ONCE: usize = 16;

/// Maximum time that a stop waits for all of them. The upstream would notice by itself, and a dead one must not delay the
/// stop.
const LONGEST_STOP: Duration = Duration::from_secs(1);

/// The requests that are being sent, and the way to their upstream.
#[derive(Clone)]
pub(super) struct Farewells {
    line: UpstreamLine,
    uri: Uri,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Farewells {
    /// None yet, to the upstream at `uri`.
    pub(super) fn new(line: UpstreamLine, uri: Uri) -> Self {
        Self { line, uri, places: Arc::new(Semaphore::new(AT_ONCE)), tasks: TaskTracker::new() }
    }

    /// The request that ends a session of `owner`, with the headers and the credential of that session. It is worth no
    /// renewal of a token: without one in memory that lives and belongs to the login of the session, there is none.
    pub(super) fn compose(
        &self,
        sender: RequestSender<'_>,
        session: &BoundSession,
        owner: Option<&Principal>,
        callers: &HeaderMap,
    ) -> Option<Outgoing> {
        let (id, given) = (session.id()?, session.given());
        let draft = |uri: &Uri, own: &HeaderMap| outgoing::delete(uri, own, callers, id);
        let mut outgoing = given.introduced((&self.line, &self.uri), sender, draft).ok()?;
        let (headers, token) = (outgoing.headers_mut(), session.token());
        let credential = given.credential.as_ref();
        let is_complete =
            credential.is_none_or(|credential| credential.add_living(headers, owner, token.as_ref()));
        is_complete.then_some(outgoing)
    }

    /// Tells the upstream that a session of `owner` has ended. Nobody waits for the answer, which does not matter.
    pub(super) fn say(&self, session: &BoundSession, owner: Option<&Principal>) {
        let farewell = self.compose(RequestSender::Witgate, session, owner, &HeaderMap::new());
        let Some(farewell) = farewell else { return };
        let (line, places) = (self.line.clone(), Arc::clone(&self.places));
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
