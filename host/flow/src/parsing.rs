//! The parse of messages: small ones on the thread that has the connection, large ones in the background. The strict
//! parse of some megabytes takes milliseconds, and of text that is made to be slow many more; all other connections of the
//! thread would wait, for a sender whom nobody knows yet.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::thread;

use bytes::Bytes;

use witgate_base::peer::Peer;
use witgate_message::call::Call;
use witgate_message::fault::{MessageFault, ParseError};
use witgate_runtime::shares::{Capacity, Shares};
use witgate_runtime::workers;

/// The size of a large message. A smaller one takes about a millisecond at most: the slowest known text, with many
/// different keys that are not ASCII, takes 45 µs for each KiB in a release build.
const LARGE: usize = 16 << 10;

/// The size of a large answer. Only its structure is read, which takes a few microseconds for each KiB.
const LARGE_ANSWER: usize = 128 << 10;

/// Turns to parse large messages: all processors but one, so that one is left for others. Of the senders who wait, those
/// with the fewest turns come first.
static TURNS: LazyLock<Shares<Option<Peer>>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = processors.saturating_sub(1).max(1);
    Shares::new(Capacity { most, most_of_one: most })
});

/// Parses a message of `peer`.
///
/// # Errors
/// As [`Call::parse`].
pub(super) async fn parse(body: Bytes, peer: Option<IpAddr>) -> Result<Call, ParseError> {
    if body.len() < LARGE {
        return Call::parse(body);
    }
    let unparsed = || ParseError { id: None, malformed: MessageFault::Parse("it cannot be read".to_owned()) };
    Box::pin(in_background(peer, || Call::parse(body))).await.unwrap_or_else(|| Err(unparsed()))
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

/// Reads a large message of or for `peer` in the background. None: it cannot be read.
async fn in_background<T: Send + 'static>(
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
            let call = parse(message(size), Some(IpAddr::from([192, 0, 2, 1]))).await;
            // A name has at most some hundred characters.
            assert_eq!(call.is_ok(), size == 10, "{size}");
            assert_eq!(call.err().map(|error| error.id), (size != 10).then(|| Some("7".into())), "{size}");
        }
    }

    #[tokio::test]
    async fn a_large_message_lets_other_tasks_run() {
        let mut large = Box::pin(parse(message(8 << 20), None));
        assert!((&mut large).now_or_never().is_none(), "it is parsed elsewhere");
        assert!(large.await.is_err());
    }

    /// A sender whose messages are dropped while they are parsed keeps nobody waiting.
    #[tokio::test]
    async fn turns_are_given_back() {
        for _ in 0..64 {
            let mut large = Box::pin(parse(message(LARGE), None));
            let _ = (&mut large).now_or_never();
        }
        assert!(parse(message(LARGE), None).await.is_err());
    }
}
