//! The sessions that receive notifications about a child. Each has an inbox, which its GET stream reads (2025-11-25,
//! Streamable HTTP, "Listening for Messages from the Server").

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::capacity::full;
use crate::session_owner::SessionOwner;
use witgate_flow::event::Event;
use witgate_flow::reject::Rejection;
use witgate_message::fault::MessageFault;
use witgate_runtime::shares::Share;

/// Maximum number of messages for a stream that is not open, or slow. A client opens the stream within its first
/// requests, so more messages are repeated notifications.
const MESSAGES: usize = 128;
/// Maximum size of these messages in bytes.
const ROOM: usize = 4 << 20;
/// The longest message that is compared with the waiting ones. "The list has changed" takes some sixty bytes.
const SHORT: usize = 1 << 10;
/// Maximum number of subscribed resources of one session.
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
    pub owner: SessionOwner,
    pub(crate) inbox: Inbox,
    /// The names of the client's capabilities.
    pub capabilities: BTreeSet<String>,
    /// The resources that the session has subscribed to.
    pub subscriptions: Mutex<BTreeMap<String, Share>>,
}

impl ChildSessions {
    /// Adds a session.
    pub(super) fn join(&self, member: Arc<Member>) {
        self.members.lock().insert(Arc::clone(&member.session), member);
    }

    /// Removes a session, and ends its stream.
    pub(super) fn leave(&self, session: &str) {
        if let Some(member) = self.members.lock().remove(session) {
            member.inbox.close();
        }
    }

    /// The session of this id.
    pub(super) fn member(&self, session: &str) -> Option<Arc<Member>> {
        self.members.lock().get(session).cloned()
    }

    /// True if there are no sessions.
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

    /// All sessions.
    pub(super) fn all(&self) -> Vec<Arc<Member>> {
        self.members.lock().values().cloned().collect()
    }
}

impl Member {
    /// True if the client supports the request `method` (`sampling/createMessage` needs `sampling`).
    pub(super) fn can(&self, method: &str) -> bool {
        let needed = method.split('/').next().unwrap_or_default();
        self.capabilities.contains(needed)
    }

    /// True if the session has subscribed to `uri` or to a parent of it. A parent ends where a part of `uri` ends:
    /// `file:///pub` covers `file:///pub/a`, but not `file:///public`.
    pub(super) fn subscribes(&self, uri: &str) -> bool {
        let subscriptions = self.subscriptions.lock();
        let ends = uri.match_indices(['/', '?', '#']).flat_map(|(at, _)| [at, at + 1]);
        ends.chain([uri.len()])
            .filter_map(|end| uri.get(..end))
            .any(|whole| subscriptions.contains_key(whole))
    }

    /// Adds a subscription, which uses a share of its party.
    ///
    /// # Errors
    /// `InvalidRequest` if the session has too many, `Full` if the party has.
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

/// Messages for a GET stream, which wait until it is open.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    kept: Mutex<InboxState>,
    stirred: Notify,
}

#[derive(Debug, Default)]
struct InboxState {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the newest stream, which alone gets messages.
    stream: u64,
    open: bool,
    closed: bool,
}

impl Inbox {
    /// Adds a message. False: there is no room, or the session has ended.
    pub(super) fn put(&self, message: Bytes) -> bool {
        let mut kept = self.kept.lock();
        if kept.closed || kept.messages.len() >= MESSAGES || kept.bytes + message.len() > ROOM {
            return false;
        }
        // A waiting "The list has changed" need not be repeated.
        if message.len() > SHORT || !kept.messages.contains(&message) {
            kept.bytes += message.len();
            kept.messages.push_back(message);
        }
        drop(kept);
        self.stirred.notify_waiters();
        true
    }

    /// True if a stream reads the inbox.
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

/// Opens a session's stream. An earlier one ends, because a client opens a second stream after it has lost the first.
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

/// Records that the stream is dropped.
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
