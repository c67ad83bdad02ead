//! The state of a connection to a child.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::audience::ChildSessions;
use super::pending_requests::{Asker, NoResponse, Owner, PendingRequest, Spares};
use super::process::Process;
use super::wire::cancelled;
use witgate_flow::limit::{ABANDONED, CANCELLED, CallPlaces};
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_message::call::LONGEST_ID;
use witgate_message::fault::MessageFault;
use witgate_runtime::lines::input::one_line;
use witgate_runtime::shares::{Capacity, Holdings};

/// Maximum size of the waiting lines, including the one that is being written; one line may be larger. A caller who
/// waits for room holds their message in the memory for all requests, and one who has disconnected leaves no more than
/// this.
pub(super) const ROOM: usize = 4 << 20;
/// Maximum number of open requests to a child. More would only wait.
pub(super) const PENDING: usize = 512;
/// Maximum number of open requests of one party, for a shared child.
pub(super) const PENDING_OF_ONE: usize = PENDING / 4;
/// Maximum number of abandoned requests on which the child may still work. If there are more, the child's requests are
/// not passed on.
pub(super) const STRAYS: usize = 1024;
/// Seconds until there may be room for a request again.
pub(super) const RETRY_S: u32 = 1;

pub(super) struct Conversation {
    pub(super) name: Arc<str>,
    pub(super) table: Mutex<RequestTable>,
    pub(super) audience: Arc<ChildSessions>,
    /// The number of lines from the child.
    pub(super) lines_read: AtomicU64,
    /// Notified when a request is added.
    pub(super) came: Notify,
    pub(super) out: Mutex<Option<ChildInput>>,
    pub(super) ended: watch::Sender<Option<NoResponse>>,
    pub(super) process: Option<Process>,
    /// True if the child may work on requests of several callers.
    pub(super) common: bool,
    pub started: Instant,
    /// The method that tests whether the child is alive: `ping` was removed in 2026-07-28.
    pub(super) pulse: &'static str,
}

/// The open requests.
#[derive(Default)]
pub(super) struct RequestTable {
    pub(super) next: u64,
    pub(super) pending: BTreeMap<u64, PendingRequest>,
    /// The number of open requests of each party.
    pub(super) held: Holdings,
    pub(super) spares: Spares,
    /// Abandoned requests without an answer, on which the child may still work.
    pub(super) strays: BTreeMap<u64, Owner>,
    pub(super) lost_track: bool,
    /// The places of abandoned requests without an answer among the running calls of limits.
    pub(super) unfinished: BTreeMap<u64, CallPlaces>,
    /// True if the child may work on requests of several callers.
    pub(super) common: bool,
    /// Requests of the child that a session has to answer, by Witgate's ids for them.
    pub(super) child_requests: BTreeMap<u64, ChildRequest>,
}

/// A request of the child.
#[derive(Debug)]
pub(super) struct ChildRequest {
    pub(super) session: Arc<str>,
    /// The child's own id, as JSON text.
    pub(super) id: Box<str>,
    /// The caller's request that it belongs to.
    pub(super) within: Option<u64>,
}

/// The callers whose requests the child may be working on, if these requests can cause requests and log messages of
/// the child.
pub(super) enum WorkingCallers {
    /// No caller.
    Nobodys,
    /// One caller.
    Ones(Vec<(u64, PendingRequest)>),
    /// Several callers, so it is not known to whom a message belongs.
    Several,
}

impl RequestTable {
    pub(super) fn insert(&mut self, pending: PendingRequest) -> u64 {
        self.next += 1;
        self.held.add(&pending.ask.party, 1);
        self.pending.insert(self.next, pending);
        self.next
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<PendingRequest> {
        self.child_requests.retain(|_, request| request.within != Some(number));
        let pending = self.pending.remove(&number)?;
        self.held.remove(&pending.ask.party, 1);
        Some(pending)
    }

    /// Removes a request that the child has answered. None: there is no request with this number.
    pub(super) fn answered(&mut self, number: u64) -> Option<PendingRequest> {
        let pending = self.remove(number)?;
        if pending.ask.starts_task {
            // The task that the request has started continues, and its messages do not name their caller.
            self.note_stray(number, &pending);
        }
        Some(pending)
    }

    /// Removes a request that the child has not answered.
    pub(super) fn give_up(&mut self, number: u64) -> Option<PendingRequest> {
        let pending = self.remove(number)?;
        self.note_stray(number, &pending);
        if self.unfinished.len() >= STRAYS {
            self.unfinished.retain(|_, places| !places.has_ended());
        }
        if !pending.ask.places.is_empty() && self.unfinished.len() < STRAYS {
            self.unfinished.insert(number, pending.ask.places.clone());
        }
        Some(pending)
    }

    pub(super) fn note_stray(&mut self, number: u64, pending: &PendingRequest) {
        let Some(owner) = pending.ask.owner.clone() else { return };
        if !self.common || pending.ask.listen {
            return;
        }
        if self.strays.len() >= STRAYS {
            self.lost_track = true;
            return;
        }
        self.strays.insert(number, owner);
    }

    /// Records the answer to an abandoned request. False: there is none with this number.
    pub(super) fn answered_late(&mut self, number: u64) -> bool {
        let was_unfinished = self.unfinished.remove(&number).is_some();
        self.strays.remove(&number).is_some() || was_unfinished
    }

    pub(super) fn get(&self, number: u64) -> Option<&PendingRequest> {
        self.pending.get(&number)
    }

    /// True if callers other than the one of `ask` wait for the child.
    pub(super) fn others_wait(&self, ask: &Asker) -> bool {
        let is_anothers = |other: &Asker| other.owner != ask.owner || other.party != ask.party;
        self.pending.values().any(|pending| is_anothers(&pending.ask) && !pending.to.is_deserted())
    }

    /// The callers whose requests the child may be working on. Requests of disconnected callers count as well.
    pub(super) fn at_work(&self) -> WorkingCallers {
        let mut calls = self.pending.iter().filter(|(_, pending)| !pending.ask.listen);
        let owners = calls.clone().filter_map(|(_, pending)| pending.ask.owner.as_ref());
        let mut owners = owners.chain(self.strays.values());
        let Some(first) = owners.next() else {
            return if self.lost_track { WorkingCallers::Several } else { WorkingCallers::Nobodys };
        };
        if self.lost_track || owners.any(|other| other != first) {
            return WorkingCallers::Several;
        }
        let is_ones = |pending: &PendingRequest| pending.ask.owner.is_some() && !pending.to.is_deserted();
        let ones = calls.by_ref().filter(|(_, pending)| is_ones(pending));
        WorkingCallers::Ones(ones.map(|(number, pending)| (*number, pending.clone())).collect())
    }
}

/// Ends the places of a cancelled request in time. One that may have started a task is not ended by its cancellation (MCP
/// 2025-11-25, "Tasks"), so that its answer counts.
fn end_cancelled(ask: &Asker) {
    ask.places.end_within(if ask.starts_task { ABANDONED } else { CANCELLED });
}

pub(super) const MODERN_PULSE: &str = concat!(
    r#""method":"server/discover","params":{"_meta":{"#,
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{}}}"#
);

impl Conversation {
    /// Adds a request, unless the connection has ended or too many are open.
    pub(super) fn admit(&self, pending: PendingRequest) -> Result<u64, Rejection> {
        if let Some(lost) = self.ended.borrow().clone() {
            return Err(lost.into());
        }
        let bounds =
            Capacity { most: PENDING, most_of_one: if self.common { PENDING_OF_ONE } else { PENDING } };
        let party = pending.ask.party.clone();
        let mut table = self.table.lock();
        if !table.held.have_room(&party, 1, bounds) {
            self.give_up_deserted(&mut table);
        }
        if !table.held.have_room(&party, 1, bounds) {
            return Err(Rejection::Full { what: "open requests", retry_after: RETRY_S });
        }
        let number = table.insert(pending);
        drop(table);
        self.came.notify_waiters();
        Ok(number)
    }

    /// Waits until callers other than the one of `ask` wait for the child.
    pub(super) async fn until_others_wait(&self, ask: &Asker) {
        loop {
            // Created before the check, so that no notification is missed.
            let mut came = std::pin::pin!(self.came.notified());
            came.as_mut().enable();
            if self.table.lock().others_wait(ask) {
                return;
            }
            came.await;
        }
    }

    /// Removes the requests of disconnected callers, and tells the child.
    pub(super) fn give_up_deserted(&self, table: &mut RequestTable) {
        let deserted = table.pending.iter().filter(|(_, pending)| pending.to.is_deserted());
        let deserted: Vec<u64> = deserted.map(|(number, _)| *number).collect();
        for number in deserted {
            if let Some(pending) = table.give_up(number) {
                end_cancelled(&pending.ask);
            }
            self.send_now(cancelled(&number.to_string(), "the client went away"));
        }
    }

    pub(super) fn find(&self, asker: &Asker, id: &str) -> Option<u64> {
        let table = self.table.lock();
        let mine = |ask: &Asker| ask.session == asker.session && ask.owner == asker.owner;
        let id = IdText::of(id);
        table.pending.iter().find(|(_, p)| mine(&p.ask) && id.is(&p.ask.id)).map(|(number, _)| *number)
    }

    /// Removes a request. Its caller gets `lost`.
    pub(super) fn forget(&self, number: u64, lost: NoResponse) -> bool {
        let removed = self.table.lock().give_up(number);
        if let Some(pending) = &removed {
            end_cancelled(&pending.ask);
            pending.to.fail(lost);
        }
        removed.is_some()
    }

    /// Removes a request that was never sent to the child.
    pub(super) fn forget_unsent(&self, number: u64) {
        self.forget(number, NoResponse::Cancelled);
        self.table.lock().answered_late(number);
    }

    pub(super) fn take_request(&self, session: &str, id_for_client: u64) -> Option<ChildRequest> {
        let mut table = self.table.lock();
        let request =
            table.child_requests.get(&id_for_client).filter(|request| &*request.session == session)?;
        tracing::trace!(upstream = %self.name, within = request.within, "a client has answered");
        table.child_requests.remove(&id_for_client)
    }

    /// True if a request of the child within the request `number` waits for an answer.
    pub(super) fn waits_for_client(&self, number: u64) -> bool {
        self.table.lock().child_requests.values().any(|request| request.within == Some(number))
    }

    pub(super) async fn send(&self, line: Bytes) -> Result<(), Rejection> {
        self.send_for(None, line).await
    }

    /// Sends a line that is needed only while the request `number` is open.
    pub(super) async fn send_for(&self, number: Option<u64>, line: Bytes) -> Result<(), Rejection> {
        let out = self.out.lock().clone();
        let sent = match out {
            Some(out) => out.send(number, one_line(line)).await,
            None => None,
        };
        sent.ok_or_else(|| self.ended.borrow().clone().map_or_else(gone, Rejection::from))
    }

    /// True if a line still has to be written. A request that was given up before it was written never reaches the
    /// child.
    pub(super) fn is_wanted(&self, number: Option<u64>) -> bool {
        let Some(number) = number else { return true };
        let mut table = self.table.lock();
        let is_wanted = table.pending.contains_key(&number);
        if !is_wanted {
            table.answered_late(number);
        }
        is_wanted
    }

    /// Sends a line if the child takes it at once. The reader uses this, because the reader and the child could
    /// otherwise wait for each other for ever.
    pub(super) fn send_now(&self, line: Bytes) {
        let out = self.out.lock().clone();
        if out.and_then(|out| out.send_now(one_line(line))).is_none() {
            tracing::debug!(upstream = %self.name, "the child does not read; an answer was dropped");
        }
    }

    /// Ends the connection. All callers get the reason.
    pub(super) fn end(&self, lost: NoResponse, kill: bool) {
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(lost.clone());
            }
            first
        });
        self.out.lock().take();
        let pending = {
            let mut table = self.table.lock();
            table.child_requests.clear();
            table.unfinished.clear();
            table.held = Holdings::default();
            std::mem::take(&mut table.pending)
        };
        for pending in pending.into_values() {
            pending.to.fail(lost.clone());
        }
        if let (true, Some(process)) = (kill, &self.process) {
            process.kill();
        }
    }
}

/// The queue of lines for the child.
#[derive(Clone)]
pub(super) struct ChildInput {
    pub(super) queue: mpsc::Sender<ChildLine>,
    pub(super) room: Arc<Semaphore>,
}

/// A line for the child.
pub(super) struct ChildLine {
    /// The number of the request in the line.
    pub(super) number: Option<u64>,
    pub(super) bytes: Bytes,
    pub(super) _room: OwnedSemaphorePermit,
}

impl ChildInput {
    /// Sends a line as soon as there is room. None: the connection has ended.
    pub(super) async fn send(self, number: Option<u64>, bytes: Bytes) -> Option<()> {
        let _room = self.room.acquire_many_owned(room_for(&bytes)).await.ok()?;
        self.queue.send(ChildLine { number, bytes, _room }).await.ok()
    }

    /// Sends a line if there is room. None: there is no room.
    pub(super) fn send_now(self, bytes: Bytes) -> Option<()> {
        let _room = self.room.try_acquire_many_owned(room_for(&bytes)).ok()?;
        self.queue.try_send(ChildLine { number: None, bytes, _room }).ok()
    }
}

pub(super) fn room_for(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len().min(ROOM)).unwrap_or(u32::MAX)
}

/// An id as JSON text, for comparisons: escapes do not matter, the type does.
pub(super) struct IdText<'a> {
    pub(super) text: &'a str,
    pub(super) value: Option<serde_json::Value>,
}

impl<'a> IdText<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        // A longer id is unknown, and would only be compared with all others.
        let value = Some(text).filter(|text| text.len() <= LONGEST_ID);
        Self { text, value: value.and_then(|text| serde_json::from_str(text).ok()) }
    }

    pub(super) fn is(&self, other: &str) -> bool {
        let read = || serde_json::from_str::<serde_json::Value>(other).ok();
        self.text == other || (self.value.is_some() && self.value == read())
    }
}

/// The rejection for a fault of the upstream.
pub(super) fn fault(fault: UpstreamFault, message: &str) -> Rejection {
    Rejection::Upstream { fault, message: message.to_owned() }
}

pub(super) fn gone() -> Rejection {
    fault(UpstreamFault::Unreachable, "the upstream has ended")
}

impl From<NoResponse> for Rejection {
    fn from(lost: NoResponse) -> Self {
        match lost {
            NoResponse::Cancelled => {
                MessageFault::InvalidRequest("the request was cancelled".to_owned()).into()
            }
            NoResponse::NoRoom => Self::TooManyAnswers,
            NoResponse::Fault(fault, message) => Self::Upstream { fault, message },
        }
    }
}
