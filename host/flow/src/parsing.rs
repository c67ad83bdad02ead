//! The parse of messages, and the filter of lists: small ones on the thread that has the connection, large ones in the
//! background. The strict parse of some megabytes takes milliseconds, and of text that is made to be slow many more; all
//! other connections of the thread would wait, for a sender whom nobody knows yet.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::thread;

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;
use witgate_base::peer::Peer;
use witgate_message::argument_credentials::{ArgumentCredentials, CredentialArgument};
use witgate_message::call::Call;
use witgate_message::fault::{MessageFault, ParseError};
use witgate_runtime::shares::{Capacity, Shares};
use witgate_runtime::workers;

/// The size of a large message. A smaller one takes about a millisecond at most: the slowest known text, with many
/// different keys that are not ASCII, takes 45 µs for each KiB in a release build.
const LARGE: usize = 16 << 10;

/// The size of a large answer. Only its structure is read, which takes a few microseconds for each KiB.
const LARGE_ANSWER: usize = 128 << 10;

/// Number of items of a list after which a thread lets others run, some 50 µs.
const ITEMS_IN_A_ROW: u32 = 128;

/// Lists that are filtered in the background at the same time. They take turns after some batches of entries, so that
/// other work there waits for a millisecond or two at most. More of them wait, those of senders with the fewest first.
const FILTERED_AT_ONCE: Capacity = Capacity { most: 64, most_of_one: 16 };

static FILTERED: LazyLock<Shares<Option<Peer>>> = LazyLock::new(|| Shares::new(FILTERED_AT_ONCE));

thread_local! {
    /// The items that this thread has read since it let others run.
    static ITEMS: Cell<u32> = const { Cell::new(0) };
}

/// Counts an item of a list, and lets other threads run after some. On a busy machine, those that wait for a processor
/// would otherwise wait for the end of a time slice, which is milliseconds.
pub(super) fn make_room() {
    let items = ITEMS.get();
    if items >= ITEMS_IN_A_ROW {
        thread::yield_now();
    }
    ITEMS.set(if items >= ITEMS_IN_A_ROW { 0 } else { items + 1 });
}

/// Turns to parse large messages: all processors but one, so that one is left for others. Of the senders who wait, those
/// with the fewest turns come first.
static TURNS: LazyLock<Shares<Option<Peer>>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = processors.saturating_sub(1).max(1);
    Shares::new(Capacity { most, most_of_one: most })
});

/// A message, and the credentials that were in its arguments.
pub(super) type ParsedMessage = (Call, Option<Box<ArgumentCredentials>>);

/// Parses a message of `peer`, and cuts the `declared` credentials out of its arguments.
///
/// # Errors
/// As [`Call::parse`] and [`Call::cut`].
pub(super) async fn parse(
    body: Bytes,
    peer: Option<IpAddr>,
    declared: Vec<CredentialArgument>,
) -> Result<ParsedMessage, ParseError> {
    if body.len() < LARGE {
        return parse_here(body, &declared);
    }
    let unparsed = || ParseError { id: None, malformed: MessageFault::Parse("it cannot be read".to_owned()) };
    let parsing = in_background(peer, move || parse_here(body, &declared));
    Box::pin(parsing).await.unwrap_or_else(|| Err(unparsed()))
}

fn parse_here(body: Bytes, declared: &[CredentialArgument]) -> Result<ParsedMessage, ParseError> {
    let call = Call::parse(body)?;
    if declared.is_empty() {
        return Ok((call, None));
    }
    let id = call.id().map(Box::from);
    call.cut(declared).map_err(|malformed| ParseError { id, malformed })
}

/// True if a message of this size is searched on the thread that has the connection: that takes a few microseconds.
pub(super) fn is_small(size: usize) -> bool {
    size < LARGE_ANSWER
}

/// Reads a message of this size from `peer` as a whole, as [`Call::parse`] does. None: it cannot be read.
pub async fn message<T: Send + 'static>(
    peer: Option<IpAddr>,
    size: usize,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if size < LARGE {
        return Some(read());
    }
    Box::pin(in_background(peer, read)).await
}

/// Reads an answer of this size for `peer`. None: it cannot be read.
pub async fn answer<T: Send + 'static>(
    peer: Option<IpAddr>,
    size: usize,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if size < LARGE_ANSWER {
        return Some(read());
    }
    Box::pin(in_background(peer, read)).await
}

/// Filters the lists of an answer of this size for `peer`. None: they cannot be filtered.
pub(super) async fn filter<T: Send + 'static>(
    peer: Option<IpAddr>,
    size: usize,
    filtering: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let filtering = Box::pin(filtering);
    if size < LARGE_ANSWER {
        return Some(filtering.await);
    }
    let place = FILTERED.wait_for_one(&peer.map(Peer::from)).await;
    let task = workers::background().spawn(async move {
        let _place = place;
        filtering.await
    });
    AbortOnDropHandle::new(task).await.ok()
}

/// Reads a large message of or for `peer`, or a part of it, in the background. None: it cannot be read.
pub(super) async fn in_background<T: Send + 'static>(
    peer: Option<IpAddr>,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let turn = TURNS.wait_for_one(&peer.map(Peer::from)).await;
    let reading = workers::background().spawn_blocking(move || {
        let parts = read();
        // It is over with the parse, even if nobody waits any more.
        drop(turn);
        parts
    });
    reading.await.ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn message(size: usize) -> Bytes {
        let text = "x".repeat(size);
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{text}"}}}}"#).into()
    }

    #[tokio::test]
    async fn small_and_large_messages_are_parsed_alike() {
        for size in [10, LARGE, 1 << 20] {
            let call = parse(message(size), Some(IpAddr::from([192, 0, 2, 1])), Vec::new()).await;
            // A name has at most some hundred characters.
            assert_eq!(call.is_ok(), size == 10, "{size}");
            assert_eq!(call.err().map(|error| error.id), (size != 10).then(|| Some("7".into())), "{size}");
        }
    }

    #[tokio::test]
    async fn a_large_message_lets_other_tasks_run() {
        let mut large = Box::pin(parse(message(8 << 20), None, Vec::new()));
        assert!((&mut large).now_or_never().is_none(), "it is parsed elsewhere");
        assert!(large.await.is_err());
    }

    #[tokio::test]
    async fn a_large_list_is_filtered_in_another_task_which_ends_with_the_request() {
        let is_elsewhere = async |size| filter(None, size, async { tokio::task::try_id().is_some() }).await;
        assert_eq!(is_elsewhere(LARGE_ANSWER - 1).await, Some(false));
        assert_eq!(is_elsewhere(LARGE_ANSWER).await, Some(true));
        let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
        let filtering = filter(None, LARGE_ANSWER, async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), filtering);
        assert!(waiting.await.is_err());
        while dropped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            tokio::task::yield_now().await;
        }
    }

    /// A sender with many large lists leaves places to others.
    #[tokio::test]
    async fn one_sender_fills_a_part_of_the_places() {
        let (flooder, other) = (Some(IpAddr::from([192, 0, 2, 7])), Some(IpAddr::from([198, 51, 100, 7])));
        let mut flood: Vec<_> = (0..FILTERED_AT_ONCE.most)
            .map(|_| Box::pin(filter(flooder, LARGE_ANSWER, std::future::pending::<()>())))
            .collect();
        for filtering in &mut flood {
            assert!(filtering.now_or_never().is_none());
        }
        assert_eq!(filter(other, LARGE_ANSWER, async { 7 }).await, Some(7));
    }

    /// A sender whose messages are dropped while they are parsed keeps nobody waiting.
    #[tokio::test]
    async fn turns_are_given_back() {
        for _ in 0..64 {
            let mut large = Box::pin(parse(message(LARGE), None, Vec::new()));
            let _ = (&mut large).now_or_never();
        }
        assert!(parse(message(LARGE), None, Vec::new()).await.is_err());
    }
}
