//! The detection of pauses: an idle connection gives its buffers back, and a head has a time limit.
//!
//! One timer per connection checks this every second. A timer per request would cost more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::heads::Framing;
use super::table::Connection;

/// The time limit for the head of a request, and for a connection without a request. The most patient clients keep a
/// connection open for 90 s. The limit is longer, so that they close the connection first.
const HEAD: Duration = Duration::from_secs(120);

/// The interval between two checks.
const LOOK: Duration = Duration::from_secs(1);

/// The time since the last head. Empty lines before a head are allowed, and do not end the silence.
pub(super) struct Silence {
    heads: u32,
    since: Instant,
}

impl Silence {
    pub(super) fn begin(connection: &Connection) -> Self {
        Self { heads: connection.heads(), since: Instant::now() }
    }

    /// The time at which the connection ends if no further head comes.
    pub(super) fn end(&mut self, connection: &Connection) -> Instant {
        if self.heads != connection.heads() {
            *self = Self::begin(connection);
        }
        self.since + HEAD
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PauseKind {
    /// No request and no part of one has arrived since the last check.
    Idle,
    /// The head of a request takes too long.
    LateHead,
}

/// Waits until the connection is idle, or its head is late.
pub(super) async fn pause(connection: &Connection, framing: &Framing) -> PauseKind {
    pause_after(LOOK, HEAD, connection, framing).await
}

async fn pause_after(
    look: Duration,
    head: Duration,
    connection: &Connection,
    framing: &Framing,
) -> PauseKind {
    let mut heads = None;
    let mut waiting = Duration::ZERO;
    loop {
        sleep(look).await;
        let before = heads.replace(connection.heads());
        if connection.is_at_work() || before != heads {
            waiting = Duration::ZERO;
            continue;
        }
        if framing.is_between_requests() {
            return PauseKind::Idle;
        }
        waiting += look;
        if waiting >= head {
            return PauseKind::LateHead;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::super::table::{Admission, ConnectionEnd, ConnectionLimits, Connections};
    use super::*;
    use witgate_runtime::memory::RequestMemory;

    fn admission() -> Admission {
        let connections = Connections::new(ConnectionLimits { all: 8, of_one: 8 }, RequestMemory::new(0));
        let end = ConnectionEnd { stop: CancellationToken::new(), cut: CancellationToken::new() };
        connections.admit(IpAddr::from([192, 0, 2, 1]), end).unwrap()
    }

    #[test]
    fn only_a_head_ends_the_silence() {
        let admission = admission();
        let connection = &admission.connection;
        let mut silence = Silence::begin(connection);
        let end = silence.end(connection);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(silence.end(connection), end);
        drop(connection.begin());
        assert!(silence.end(connection) > end);
    }

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_connection_is_idle_once_its_request_is_answered_and_read() {
        let (admission, framing) = (admission(), Framing::default());
        let connection = &admission.connection;
        let turn = connection.begin();
        connection.set_blocked(true);
        let mut paused = Box::pin(pause_after(SHORT, LONG, connection, &framing));
        assert!(timeout(20 * SHORT, &mut paused).await.is_err(), "the request is under way");
        drop(turn);
        assert!(timeout(20 * SHORT, &mut paused).await.is_err(), "the answer is not read");
        connection.set_blocked(false);
        assert_eq!(paused.await, PauseKind::Idle);
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_late() {
        let (admission, framing) = (admission(), Framing::default());
        framing.begin();
        assert_eq!(pause_after(SHORT, 4 * SHORT, &admission.connection, &framing).await, PauseKind::LateHead);
    }
}
