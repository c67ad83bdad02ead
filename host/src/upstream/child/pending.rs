//! The requests that a child has yet to answer, and the bounded way in which what it says reaches
//! who has asked.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::flow::identity::{Party, Principal};
use crate::flow::reject::UpstreamFault;

/// Messages that wait for one caller. A caller who reads slower makes the child wait.
const MESSAGES: usize = 64;
/// Their bytes. One message of the greatest size that a line may have still fits.
const ROOM: usize = 16 << 20;

/// One thing that a child has said to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A notification or a request of the server's that belongs to it.
    Note(Bytes),
    /// The response.
    Last(Bytes),
}

/// Why there will be no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The caller has cancelled; nothing is to be said.
    Cancelled,
    /// The child did not do its part.
    Fault(UpstreamFault, String),
}

/// The asker, and the properties of the answer that matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// The session it belongs to. None: the stateless era, or a request of Witgate's own.
    pub(crate) session: Option<Arc<str>>,
    /// The owner. None: Witgate itself.
    pub(crate) whose: Option<Whose>,
    /// The party whose share of the open requests it takes.
    pub(crate) party: Party,
    /// The caller's id, as JSON text.
    pub(crate) id: Box<str>,
    /// The caller's progress token, as JSON text.
    pub(crate) token: Option<Box<str>>,
    /// True if log messages are wanted.
    pub(crate) logs: bool,
    /// True for a subscription: it lasts, and only tagged notifications belong to it.
    pub(crate) listen: bool,
    /// True if the response may be a task, which goes on.
    pub(crate) starts_task: bool,
    /// True if a caller who goes away cancels (2026-07-28; not so in 2025-11-25).
    pub(crate) cancel_on_drop: bool,
}

/// The owner of a request, who alone receives its messages: a principal. Callers without a name are one
/// principal, so that their sessions tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whose {
    principal: Principal,
    session: Option<Arc<str>>,
}

impl Whose {
    /// Of a request of `principal`, in `session`.
    pub(crate) fn new(principal: &Principal, session: Option<&Arc<str>>) -> Self {
        let session = session.filter(|_| principal.is_nameless()).cloned();
        Self { principal: principal.clone(), session }
    }
}

/// A request on its way, as the reading side sees it.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) ask: Arc<Ask>,
    pub(crate) to: Mouth,
}

/// The end of a reply queue that the child speaks into.
#[derive(Clone, Debug)]
pub(crate) struct Mouth {
    queue: mpsc::Sender<(Reply, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    lost: Arc<OnceLock<Lost>>,
}

/// The end that the caller hears from.
#[derive(Debug)]
pub(crate) struct Ear {
    queue: mpsc::Receiver<(Reply, OwnedSemaphorePermit)>,
    lost: Arc<OnceLock<Lost>>,
}

/// A reply queue.
pub(crate) fn replies() -> (Mouth, Ear) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let lost = Arc::new(OnceLock::new());
    let mouth = Mouth { queue: sender, room: Arc::new(Semaphore::new(ROOM)), lost: Arc::clone(&lost) };
    (mouth, Ear { queue: receiver, lost })
}

impl Mouth {
    /// Says something, as soon as there is room. False: nobody listens any more.
    pub(crate) async fn say(&self, reply: Reply) -> bool {
        let (Reply::Note(bytes) | Reply::Last(bytes)) = &reply;
        let size = u32::try_from(bytes.len().min(ROOM)).unwrap_or(u32::MAX);
        tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(size) => match room {
                Ok(room) => self.queue.send((reply, room)).await.is_ok(),
                Err(_) => false,
            },
            () = self.queue.closed() => false,
        }
    }

    /// Says why there will be nothing more; the first word counts.
    pub(crate) fn lose(&self, lost: Lost) {
        let _ = self.lost.set(lost);
    }

    /// True if nobody listens any more.
    pub(crate) fn is_deserted(&self) -> bool {
        self.queue.is_closed()
    }
}

impl Ear {
    /// The next thing said.
    pub(crate) async fn hear(&mut self) -> Result<Reply, Lost> {
        match self.queue.recv().await {
            Some((reply, _room)) => Ok(reply),
            None => Err(self.lost.get().cloned().unwrap_or_else(|| {
                Lost::Fault(UpstreamFault::Unreachable, "the upstream ended before it answered".to_owned())
            })),
        }
    }
}
