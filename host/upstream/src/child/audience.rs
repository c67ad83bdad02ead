//! The sessions that hear what a child says of itself: each has an inbox that its GET stream
//! empties (2025-11-25, Streamable HTTP, "Listening for Messages from the Server").

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::capacity::full;
use witgate_base::party::Principal;
use witgate_flow::event::Event;
use witgate_flow::reject::Rejection;
use witgate_message::fault::MessageFault;
use witgate_runtime::shares::Share;

/// Messages kept for a stream that is not open, or slow. A client that asks for the stream does so
/// within its first requests; what passes this bound is repeated notifications.
const MESSAGES: usize = 128;
/// And their bytes.
const ROOM: usize = 4 << 20;
/// "The list has changed" takes some sixty bytes. Longer messages are not compared with those that are kept.
const SHORT: usize = 1 << 10;
/// Resources that one session may have subscribed to.
const SUBSCRIPTIONS: usize = 1000;

/// The sessions of one child.
#[derive(Debug, Default)]
pub(super) struct ChildSessions {
    members: Mutex<BTreeMap<Arc<str>, Arc<Member>>>,
}

/// One session.
#[derive(Debug)]
pub(super) struct Member {
    pub session: Arc<str>,
    pub principal: Principal,
    pub(crate) inbox: Inbox,
    /// The names of what the client says it can do.
    pub capabilities: BTreeSet<String>,
    /// Resources it has subscribed to.
    pub subscriptions: Mutex<BTreeMap<String, Share>>,
}

impl ChildSessions {
    /// Lets a session hear.
    pub(super) fn join(&self, member: Arc<Member>) {
        self.members.lock().insert(Arc::clone(&member.session), member);
    }

    /// Ends that, and the session's stream.
    pub(super) fn leave(&self, session: &str) {
        if let Some(member) = self.members.lock().remove(session) {
            member.inbox.close();
        }
    }

    /// One session.
    pub(super) fn member(&self, session: &str) -> Option<Arc<Member>> {
        self.members.lock().get(session).cloned()
    }

    /// True if it is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.members.lock().is_empty()
    }

    /// The only session, if there is just one.
    pub(super) fn only(&self) -> Option<Arc<Member>> {
        let members = self.members.lock();
        let mut all = members.values();
        let first = all.next()?;
        all.next().is_none().then(|| Arc::clone(first))
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Member>> {
        self.members.lock().values().cloned().collect()
    }
}

impl Member {
    /// True if the client can be asked `method` (`sampling/createMessage` needs `sampling`).
    pub(super) fn can(&self, method: &str) -> bool {
        let needed = method.split('/').next().unwrap_or_default();
        self.capabilities.contains(needed)
    }

    /// True if it has subscribed to `uri` or to a parent of it: a parent ends where a part of `uri` does, so
    /// that `file:///pub` is told of `file:///pub/a` and not of `file:///public`.
    pub(super) fn subscribes(&self, uri: &str) -> bool {
        let subscriptions = self.subscriptions.lock();
        let ends = uri.match_indices(['/', '?', '#']).flat_map(|(at, _)| [at, at + 1]);
        ends.chain([uri.len()])
            .filter_map(|end| uri.get(..end))
            .any(|whole| subscriptions.contains_key(whole))
    }

    /// Notes a subscription, which takes a share of what its party may have.
    ///
    /// # Errors
    /// `InvalidRequest` where the session has too many, `Full` where the party has.
    pub(super) fn subscribe(
        &self,
        uri: &str,
        share: impl FnOnce() -> Option<Share>,
    ) -> Result<(), Rejection> {
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.contains_key(uri) {
            return Ok(());
        }
        if subscriptions.len() >= SUBSCRIPTIONS {
            let what = "the session has subscribed to 1,000 resources: unsubscribe from some first";
            return Err(MessageFault::InvalidRequest(what.to_owned()).into());
        }
        let share = share().ok_or_else(|| full("subscriptions"))?;
        subscriptions.insert(uri.to_owned(), share);
        Ok(())
    }
}

/// Messages for a GET stream, kept until it is open.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    kept: Mutex<InboxState>,
    stirred: Notify,
}

#[derive(Debug, Default)]
struct InboxState {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Counts the streams that were opened; only the newest hears.
    stream: u64,
    open: bool,
    closed: bool,
}

impl Inbox {
    /// Puts a message in. False: there is no room, or the session has ended.
    pub(super) fn put(&self, message: Bytes) -> bool {
        let mut kept = self.kept.lock();
        if kept.closed || kept.messages.len() >= MESSAGES || kept.bytes + message.len() > ROOM {
            return false;
        }
        // "The list has changed" need not be said twice to who has not heard it yet.
        if message.len() > SHORT || !kept.messages.contains(&message) {
            kept.bytes += message.len();
            kept.messages.push_back(message);
        }
        drop(kept);
        self.stirred.notify_waiters();
        true
    }

    /// True if a stream is reading from it.
    pub(super) fn is_open(&self) -> bool {
        self.kept.lock().open
    }

    /// Ends the stream.
    pub(super) fn close(&self) {
        self.kept.lock().closed = true;
        self.stirred.notify_waiters();
    }

    /// Takes the oldest message. None: the stream numbered `stream` has ended.
    async fn take(&self, stream: u64) -> Option<Bytes> {
        loop {
            let stirred = self.stirred.notified();
            tokio::pin!(stirred);
            stirred.as_mut().enable();
            {
                let mut kept = self.kept.lock();
                if kept.closed || kept.stream != stream {
                    return None;
                }
                if let Some(message) = kept.messages.pop_front() {
                    kept.bytes -= message.len();
                    return Some(message);
                }
            }
            stirred.await;
        }
    }
}

/// Opens a session's stream. One that was open before ends: a client opens a second one when it
/// has lost the first.
pub(super) fn open(member: Arc<Member>) -> BoxStream<'static, Event> {
    let number = {
        let mut kept = member.inbox.kept.lock();
        kept.stream += 1;
        kept.open = true;
        kept.stream
    };
    member.inbox.stirred.notify_waiters();
    let opened = OpenStream { member, number };
    Box::pin(stream::unfold(opened, |opened| async move {
        let data = opened.member.inbox.take(opened.number).await?;
        Some((Event { data, ..Event::default() }, opened))
    }))
}

/// Notes when the stream is dropped.
struct OpenStream {
    member: Arc<Member>,
    number: u64,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut kept = self.member.inbox.kept.lock();
        if kept.stream == self.number {
            kept.open = false;
        }
    }
}
