//! The open requests to a child, and the bounded queues with the child's messages for their callers.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use witgate_base::party::{Party, Principal};
use witgate_flow::account::Account;
use witgate_flow::limit::CallPlaces;
use witgate_flow::reject::UpstreamFault;
use witgate_runtime::memory::Hold;

/// Maximum number of messages that wait for one request. A slower caller delays the child, as long as no other caller
/// waits for it.
const MESSAGES: usize = 64;
/// Maximum size of these messages, and of those in the spare room of one party. One message of the largest permitted
/// size fits.
const ROOM: usize = 16 << 20;
/// Bytes that a message in the spare room takes besides its own.
const ENTRY: usize = 256;

/// A message of a child about a request.
#[derive(Debug)]
pub(super) enum ChildReply {
    /// A notification or a request of the server that belongs to it.
    Note(ChildMessage),
    /// The response.
    Last(ChildMessage),
}

/// A message of a child, and its memory until the caller has read it.
#[derive(Debug)]
pub(super) struct ChildMessage {
    pub line: Bytes,
    pub hold: Hold,
}

impl From<Bytes> for ChildMessage {
    fn from(line: Bytes) -> Self {
        Self { line, hold: Hold::default() }
    }
}

impl ChildReply {
    fn len(&self) -> usize {
        let (Self::Note(said) | Self::Last(said)) = self;
        said.line.len()
    }

    /// The same, with memory of the account of `ask`.
    ///
    /// # Errors
    /// If there is not enough.
    pub(crate) fn held_for(mut self, ask: &Asker) -> Result<Self, NoResponse> {
        let hold = ask.account.hold(self.len()).map_err(|_| NoResponse::NoRoom)?;
        let (Self::Note(said) | Self::Last(said)) = &mut self;
        said.hold = hold;
        Ok(self)
    }
}

/// The reason why there will be no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoResponse {
    /// The caller has cancelled, and gets no message.
    Cancelled,
    /// There is no memory for the child's messages.
    NoRoom,
    /// The child failed.
    Fault(UpstreamFault, String),
}

/// The asker of a request, and the properties that its answer depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Asker {
    /// The session of the request. None: the stateless era, or a request of Witgate.
    pub session: Option<Arc<str>>,
    /// The owner. None: Witgate itself.
    pub owner: Option<Owner>,
    /// The party whose share of the open requests is used.
    pub party: Party,
    /// The memory for the child's messages.
    pub account: Account,
    /// The places of the call among the running calls of its limits, while the child works on it.
    pub places: CallPlaces,
    /// The caller's id, as JSON text.
    pub id: Box<str>,
    /// The caller's progress token, as JSON text.
    pub token: Option<Box<str>>,
    /// True if log messages are wanted.
    pub logs: bool,
    /// True for a subscription, which lasts and gets only tagged notifications.
    pub listen: bool,
    /// True if the response may be a task, which continues after it.
    pub(crate) starts_task: bool,
    /// True if the request is cancelled when its caller disconnects (in 2026-07-28, but not in 2025-11-25).
    pub(crate) cancel_on_drop: bool,
}

/// The owner of a request, who alone receives its messages. Callers without a name are one principal, so their
/// sessions distinguish them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    principal: Principal,
    session: Option<Arc<str>>,
}

impl Owner {
    /// The owner of a request of `principal`, in `session`.
    pub(super) fn new(principal: &Principal, session: Option<&Arc<str>>) -> Self {
        let session = session.filter(|_| principal.is_nameless()).cloned();
        Self { principal: principal.clone(), session }
    }
}

/// An open request, for the reader.
#[derive(Clone, Debug)]
pub(super) struct PendingRequest {
    pub ask: Arc<Asker>,
    pub to: ReplySender,
}

/// The sending end of a reply queue.
#[derive(Clone, Debug)]
pub(crate) struct ReplySender {
    queue: mpsc::UnboundedSender<(ChildReply, ReplyRoom)>,
    /// The request's own room.
    own: Arc<Semaphore>,
    spare: Spare,
    lost: Arc<OnceLock<NoResponse>>,
}

/// The receiving end of a reply queue.
#[derive(Debug)]
pub(crate) struct ReplyReceiver {
    queue: mpsc::UnboundedReceiver<(ChildReply, ReplyRoom)>,
    lost: Arc<OnceLock<NoResponse>>,
}

/// The room of a message until it is read.
#[derive(Debug)]
pub(super) struct ReplyRoom(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

/// Room for messages of one party that reads slower than the child writes, while other callers wait for the child.
#[derive(Clone, Debug)]
pub(crate) struct Spare(Arc<Semaphore>);

/// The spare room of each party. It exists while a message is in it, even if its request was given up.
#[derive(Debug, Default)]
pub(crate) struct Spares(HashMap<Party, Weak<Semaphore>>);

impl Spares {
    /// The spare room of `party`.
    pub(super) fn of(&mut self, party: &Party) -> Spare {
        if let Some(spare) = self.0.get(party).and_then(Weak::upgrade) {
            return Spare(spare);
        }
        self.0.retain(|_, spare| spare.strong_count() > 0);
        let spare = Arc::new(Semaphore::new(ROOM));
        self.0.insert(party.clone(), Arc::downgrade(&spare));
        Spare(spare)
    }
}

/// A reply queue.
pub(crate) fn replies(spare: Spare) -> (ReplySender, ReplyReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let lost = Arc::new(OnceLock::new());
    let own = Arc::new(Semaphore::new(ROOM));
    let sender = ReplySender { queue: sender, own, spare, lost: Arc::clone(&lost) };
    (sender, ReplyReceiver { queue: receiver, lost })
}

impl ReplySender {
    /// Waits for the request's own room for a message. None: the receiver is gone.
    pub(crate) async fn room_for(&self, reply: &ChildReply) -> Option<ReplyRoom> {
        tokio::select! {
            room = Arc::clone(&self.own).acquire_many_owned(own_size(reply)) => room.ok().map(ReplyRoom),
            () = self.queue.closed() => None,
        }
    }

    /// Room for a message: the request's own, or else the spare one. None: there is none now.
    pub(crate) fn any_room_for(&self, reply: &ChildReply) -> Option<ReplyRoom> {
        let own = Arc::clone(&self.own).try_acquire_many_owned(own_size(reply));
        let spare = || Arc::clone(&self.spare.0).try_acquire_many_owned(spare_size(reply));
        own.or_else(|_| spare()).ok().map(ReplyRoom)
    }

    /// Sends a message. False: the receiver is gone.
    pub(super) fn say(&self, reply: ChildReply, room: ReplyRoom) -> bool {
        self.queue.send((reply, room)).is_ok()
    }

    /// Sends the reason why there will be no more messages. Only the first reason counts.
    pub(super) fn fail(&self, lost: NoResponse) {
        let _ = self.lost.set(lost);
    }

    /// True if the receiver is gone.
    pub(crate) fn is_deserted(&self) -> bool {
        self.queue.is_closed()
    }
}

/// The room for a message. [`MESSAGES`] messages fill the whole room, however small they are.
fn own_size(reply: &ChildReply) -> u32 {
    permits(reply.len().max(ROOM / MESSAGES))
}

fn spare_size(reply: &ChildReply) -> u32 {
    permits(reply.len() + ENTRY)
}

fn permits(size: usize) -> u32 {
    u32::try_from(size.min(ROOM)).unwrap_or(u32::MAX)
}

impl ReplyReceiver {
    /// The next message.
    pub(super) async fn receive(&mut self) -> Result<ChildReply, NoResponse> {
        match self.queue.recv().await {
            Some((reply, _room)) => Ok(reply),
            None => Err(self.lost.get().cloned().unwrap_or_else(|| {
                NoResponse::Fault(
                    UpstreamFault::Unreachable,
                    "the upstream ended before it answered".to_owned(),
                )
            })),
        }
    }
}
