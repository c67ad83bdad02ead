//! A place for one child. Its child is started when it is needed, with the handshake of its era, and started again
//! after it has ended. If a child ends soon, the next start is delayed, each time for longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::audience::ChildSessions;
use super::capacity::PROCESSES;
use super::connection::{ChildConnection, ConversationTerms};
use super::conversation::fault;
use super::pending_requests::{Asker, ChildReply, NoResponse};
use super::pipes::Launch;
use super::process::ENDING;
use super::tools::ChildTools;
use super::wire::{Incoming, MessageType};
use crate::bridge::InitializeAnswer;
use witgate_base::party::{Party, Principal};
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_message::json::splice;
use witgate_runtime::shares::{Share, Shares};
use witgate_runtime::workers;

/// The delay of the first restart, which a person does not notice. Each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A child that has lived this long did not fail at the start.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// Maximum time that a call waits for a restart. Beyond that, the caller gets the time of the next attempt.
const WORTH_WAITING: Duration = Duration::from_secs(2);

/// The settings for starting children of an upstream.
pub(super) struct Start {
    pub(super) name: Arc<str>,
    pub(super) launcher: Mutex<Arc<dyn Launch>>,
    /// The limit of the handshake, which a first `npx` makes long.
    pub(super) timeout: Duration,
    /// The largest line that is a message, in bytes.
    pub(super) max_message: usize,
    /// Starts at the same time, which are limited because they are expensive.
    pub(super) starting: Shares,
    /// Seats of processes, each taken before the start until the end of the process.
    pub(super) seats: Shares,
}

impl Start {
    /// The launcher of the next child.
    pub(super) fn launcher(&self) -> Arc<dyn Launch> {
        Arc::clone(&self.launcher.lock())
    }

    /// A seat for a process of `party`. There are as many seats as places, so if none is free, a process is ending.
    ///
    /// # Errors
    /// `Full`, if that takes longer than a process may take to end.
    pub(super) async fn seat(&self, party: &Party) -> Result<Share, Rejection> {
        let seat = timeout(ENDING, self.seats.wait_for_one(party)).await;
        seat.map_err(|_| Rejection::Full { what: PROCESSES, retry_after: ENDING.as_secs() as u32 })
    }
}

/// The handshake with a child.
#[derive(Debug)]
pub(super) enum Handshake {
    /// No handshake: 2026-07-28.
    Stateless,
    /// With `initialize` and `notifications/initialized`.
    Handshake {
        /// An `initialize` request.
        request: Bytes,
        /// The position of its id.
        id: std::ops::Range<usize>,
        /// True if the second half is sent here. The first time, the client sends it.
        complete: AtomicBool,
    },
}

/// A place for one child.
pub(super) struct Slot {
    start: Arc<Start>,
    opening: Handshake,
    /// The time since which the place exists.
    pub(super) began: Instant,
    /// The party whose share is used. `Everybody`: the child may work on calls of several callers.
    pub(super) party: Party,
    /// The only principal of the child. None: it serves several.
    principal: Option<Principal>,
    pub(super) audience: Arc<ChildSessions>,
    pub(super) tools: ChildTools,
    live: Arc<tokio::sync::Mutex<SlotState>>,
    seen: Mutex<SlotView>,
    /// Cancelled when the place is removed: nothing starts in it any more, and what has started ends.
    closing: CancellationToken,
    /// True if the child has former settings: no session or request starts on it.
    outdated: AtomicBool,
}

#[derive(Default)]
struct SlotState {
    connection: Option<ChildConnection>,
    failures: u32,
    not_before: Option<Instant>,
}

/// The state that is visible during a start.
struct SlotView {
    connection: Option<ChildConnection>,
    opened: Option<Arc<InitializeAnswer>>,
    used: Instant,
}

/// The result of a handshake.
pub(super) enum HandshakeResult {
    /// The child is ready.
    Ready(ChildConnection),
    /// The child answered `initialize` with this error.
    Refused(Bytes),
}

impl Slot {
    pub(super) fn new(
        start: Arc<Start>,
        opening: Handshake,
        party: Party,
        principal: Option<Principal>,
    ) -> Self {
        let seen = SlotView { connection: None, opened: None, used: Instant::now() };
        Self {
            start,
            opening,
            began: Instant::now(),
            party,
            principal,
            audience: Arc::default(),
            tools: ChildTools::default(),
            live: Arc::default(),
            seen: Mutex::new(seen),
            closing: CancellationToken::new(),
            outdated: AtomicBool::new(false),
        }
    }

    /// The child, started if needed.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<ChildConnection, Rejection> {
        match self.greeted().await? {
            HandshakeResult::Ready(connection) => Ok(connection),
            HandshakeResult::Refused(_) => {
                Err(fault(UpstreamFault::BadAnswer, "the upstream refused the handshake"))
            }
        }
    }

    /// The child, or its error in the handshake.
    pub(super) async fn greeted(self: &Arc<Self>) -> Result<HandshakeResult, Rejection> {
        self.touch();
        if let Some(connection) = self.running() {
            return Ok(HandshakeResult::Ready(connection));
        }
        self.closing.run_until_cancelled(self.started()).await.unwrap_or_else(|| Err(stopped()))
    }

    async fn started(self: &Arc<Self>) -> Result<HandshakeResult, Rejection> {
        let mut live = Arc::clone(&self.live).lock_owned().await;
        match live.connection.take() {
            Some(connection) if connection.ended().is_none() => {
                live.connection = Some(connection.clone());
                return Ok(HandshakeResult::Ready(connection));
            }
            Some(ended) => live.note_end(ended.inner.started.elapsed()),
            None => {}
        }
        live.wait().await?;
        let seat = self.start.seat(&self.party).await?;
        let turn = self.start.starting.wait_for_one(&self.party).await;
        // From here on there may be a process. A separate task ends it, even if the caller disconnects.
        let slot = Arc::clone(self);
        let began = workers::background().spawn(async move {
            let began = slot.begin(live, seat).await;
            drop(turn);
            began
        });
        began.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn begin(
        &self,
        mut live: OwnedMutexGuard<SlotState>,
        seat: Share,
    ) -> Result<HandshakeResult, Rejection> {
        let began = self.start_one(seat).await;
        match &began {
            Ok(HandshakeResult::Ready(connection)) => {
                live.connection = Some(connection.clone());
                self.seen.lock().connection = Some(connection.clone());
                // Closing a place first cancels, and then looks for a connection.
                if self.closing.is_cancelled() {
                    connection.end();
                    return Err(stopped());
                }
            }
            Ok(HandshakeResult::Refused(_)) => {}
            Err(_) => live.note_end(Duration::ZERO),
        }
        began
    }

    async fn start_one(&self, seat: Share) -> Result<HandshakeResult, Rejection> {
        let launcher = self.start.launcher();
        if launcher.has_expired() {
            return Err(Rejection::secret_expired());
        }
        let pipes = launcher.launch(seat, self.principal.as_ref()).await.map_err(|why| {
            tracing::error!(upstream = %self.start.name, "{why}");
            fault(UpstreamFault::Unreachable, "the upstream cannot be started")
        })?;
        let terms = ConversationTerms {
            name: Arc::clone(&self.start.name),
            audience: Arc::clone(&self.audience),
            modern: matches!(self.opening, Handshake::Stateless),
            common: self.party == Party::Everybody,
            max_message: self.start.max_message,
        };
        let connection = ChildConnection::begin(pipes, terms);
        let greeted = self.closing.run_until_cancelled(self.greet(&connection)).await;
        match greeted.unwrap_or_else(|| Err(stopped())) {
            Ok(None) => Ok(HandshakeResult::Ready(connection)),
            refused => {
                connection.end();
                refused.map(|refusal| HandshakeResult::Refused(refusal.unwrap_or_default()))
            }
        }
    }

    /// Makes the handshake of the child's era. Some: the error in the child's answer.
    async fn greet(&self, connection: &ChildConnection) -> Result<Option<Bytes>, Rejection> {
        let Handshake::Handshake { request, id, complete } = &self.opening else { return Ok(None) };
        let ask = Asker { id: "0".into(), ..Asker::default() };
        let compose = |number: &str| splice(request, &mut [(id.clone(), number)]);
        let mut exchange = connection.request(ask, compose).await?;
        let response = loop {
            match exchange.next(Some(self.start.timeout)).await {
                Ok(ChildReply::Last(response)) => break response.line,
                Ok(ChildReply::Note(_)) => {}
                Err(lost) => return Err(greeting_failed(lost)),
            }
        };
        let Some(MessageType::Response { result: Some(result) }) =
            Incoming::read(&response).map(|message| message.what)
        else {
            return Ok(Some(response));
        };
        self.seen.lock().opened = Some(Arc::new(InitializeAnswer::read(result)));
        if complete.load(Ordering::Acquire) {
            connection.tell(Bytes::from_static(INITIALIZED)).await?;
        }
        Ok(None)
    }

    /// The child's answer in the handshake.
    pub(super) fn opened(&self) -> Option<Arc<InitializeAnswer>> {
        self.seen.lock().opened.clone()
    }

    /// Records that the client has completed the handshake. After each restart, it is completed here.
    pub(super) fn completed(&self) {
        if let Handshake::Handshake { complete, .. } = &self.opening {
            complete.store(true, Ordering::Release);
        }
    }

    /// The running child, if there is one.
    pub(super) fn running(&self) -> Option<ChildConnection> {
        self.seen.lock().connection.clone().filter(|connection| connection.ended().is_none())
    }

    pub(super) fn touch(&self) {
        self.seen.lock().used = Instant::now();
    }

    /// Time since the last use; zero during a start or a call.
    pub(super) fn idle(&self) -> Duration {
        let starting = self.live.try_lock().is_err();
        let listening = self.audience.all().iter().any(|member| member.inbox.is_open());
        if starting || listening || self.running().is_some_and(|connection| !connection.is_idle()) {
            self.touch();
            return Duration::ZERO;
        }
        self.seen.lock().used.elapsed()
    }

    /// Records that the child has former settings.
    pub(super) fn set_outdated(&self) {
        self.outdated.store(true, Ordering::Release);
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.load(Ordering::Acquire)
    }

    /// True if its child is being started or answers calls.
    pub(super) fn is_at_work(&self) -> bool {
        self.live.try_lock().is_err() || self.running().is_some_and(|connection| connection.running() > 0)
    }

    /// Ends the child, also during its start. It ends even if nobody waits for that.
    pub(super) fn end(&self) {
        self.closing.cancel();
        if let Some(connection) = &self.seen.lock().connection {
            connection.end();
        }
    }
}

const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

impl SlotState {
    /// Determines when a child may be started again.
    fn note_end(&mut self, lived: Duration) {
        self.failures = if lived >= LONG_LIFE { 1 } else { self.failures.saturating_add(1) };
        self.not_before = Some(Instant::now() + delay(self.failures));
    }

    async fn wait(&self) -> Result<(), Rejection> {
        let Some(not_before) = self.not_before else { return Ok(()) };
        let left = not_before.saturating_duration_since(Instant::now());
        if left > WORTH_WAITING {
            let seconds = left.as_secs() + 1;
            let message = format!("the upstream keeps failing; it is started again in {seconds} s");
            return Err(fault(UpstreamFault::Unreachable, &message));
        }
        sleep(left).await;
        Ok(())
    }
}

/// Back-off after a child has ended `failures` times in a row.
fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    LONGEST_DELAY.min(FIRST_DELAY * (1 << doublings))
}

fn stopped() -> Rejection {
    fault(UpstreamFault::Unreachable, "the upstream was stopped")
}

fn greeting_failed(lost: NoResponse) -> Rejection {
    match lost {
        NoResponse::Cancelled => fault(UpstreamFault::Unreachable, "the upstream cannot be started"),
        NoResponse::NoRoom | NoResponse::Fault(..) => lost.into(),
    }
}

/// Waits until no requests run on `connections`, at most for `grace`.
pub(super) async fn drain(connections: &[ChildConnection], grace: Duration) {
    let quiet = async {
        // The end of a request notifies nobody. Polling is cheap, and happens only once.
        while connections.iter().any(|connection| connection.running() > 0 && connection.ended().is_none()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(grace, quiet).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_restarts_grow_up_to_half_a_minute() {
        let delays: Vec<u128> = [1, 2, 3, 8, 9, 40].map(|n| delay(n).as_millis()).to_vec();
        assert_eq!(delays, [200, 400, 800, 25_600, 30_000, 30_000]);
    }
}
