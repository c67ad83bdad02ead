//! The exchange of messages with one child. Witgate replaces the ids and progress tokens of callers, so that several
//! callers can share a child, and none can answer or cancel a request of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::audience::ChildSessions;
use super::conversation::{ChildInput, ChildLine, Conversation, MODERN_PULSE, ROOM, RequestTable};
use super::pending_requests::{Asker, ChildReply, NoResponse, PendingRequest, ReplyReceiver, replies};
use super::pipes::Pipes;
use super::reader;
use super::wire::cancelled;
use witgate_flow::limit::ABANDONED;
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_message::fault::MessageFault;
use witgate_message::json::splice;
use witgate_runtime::workers;

/// Maximum number of lines that wait for the child. If it does not read, callers wait.
const LINES: usize = 32;
/// Time within which a living child answers a ping.
const PULSE: Duration = Duration::from_secs(3);
/// Time in which a person may answer a question of the server during a call.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// A connection to a child, cheap to clone. It exists until it is ended or the child ends it.
#[derive(Clone)]
pub(super) struct ChildConnection {
    pub(super) inner: Arc<Conversation>,
}

/// The parameters of a connection.
pub(super) struct ConversationTerms {
    pub name: Arc<str>,
    pub audience: Arc<ChildSessions>,
    /// True if the child is of the stateless era.
    pub modern: bool,
    /// True if the child may work on requests of several callers.
    pub common: bool,
    /// The largest line that is a message, in bytes.
    pub max_message: usize,
}

impl ChildConnection {
    /// Starts a connection.
    pub(super) fn begin(pipes: Pipes, terms: ConversationTerms) -> Self {
        let (queue, lines) = mpsc::channel(LINES);
        let out = ChildInput { queue, room: Arc::new(Semaphore::new(ROOM)) };
        let pulse = if terms.modern { MODERN_PULSE } else { r#""method":"ping""# };
        let inner = Arc::new(Conversation {
            name: terms.name,
            table: Mutex::new(RequestTable { common: terms.common, ..RequestTable::default() }),
            audience: terms.audience,
            lines_read: AtomicU64::new(0),
            came: Notify::new(),
            out: Mutex::new(Some(out)),
            ended: watch::Sender::new(None),
            process: pipes.process,
            common: terms.common,
            started: Instant::now(),
            pulse,
        });
        tokio::spawn(write(Arc::clone(&inner), pipes.input, lines));
        tokio::spawn(reader::read(Arc::clone(&inner), pipes.output, terms.max_message));
        Self { inner }
    }

    /// Sends a request. `compose` writes it with Witgate's id, which is also the progress token.
    pub(super) async fn request(
        &self,
        ask: Asker,
        compose: impl FnOnce(&str) -> Bytes,
    ) -> Result<ChildExchange, Rejection> {
        let (sender, receiver) = replies(self.inner.table.lock().spares.of(&ask.party));
        let ask = Arc::new(ask);
        let number = self.inner.admit(PendingRequest { ask: Arc::clone(&ask), to: sender })?;
        let mut exchange = ChildExchange {
            inner: Arc::clone(&self.inner),
            ask,
            number,
            receiver,
            lines_before: self.inner.lines_read.load(Ordering::Relaxed),
            is_sent: false,
            done: false,
        };
        self.inner.send_for(Some(number), compose(&number.to_string())).await?;
        exchange.is_sent = true;
        Ok(exchange)
    }

    /// Sends a line without an answer.
    pub(super) async fn tell(&self, line: Bytes) -> Result<(), Rejection> {
        self.inner.send(line).await
    }

    /// True if a request of the child waits for an answer of this session.
    pub(crate) fn waits_for(&self, session: &str) -> bool {
        self.inner.table.lock().child_requests.values().any(|request| &*request.session == session)
    }

    /// Passes a client's answer to a request of the child on to it.
    pub(super) async fn answer(
        &self,
        session: &str,
        body: &Bytes,
        id: std::ops::Range<usize>,
    ) -> Result<(), Rejection> {
        let id_for_client = body.get(id.clone()).and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
        let request = id_for_client.and_then(|number| self.inner.take_request(session, number));
        let request =
            request.ok_or_else(|| MessageFault::InvalidRequest("it answers no open request".to_owned()))?;
        self.inner.send(splice(body, &mut [(id, &request.id)])).await
    }

    /// Passes on `notifications/cancelled` of the asker. `id` is the caller's id, as JSON text. If the caller has no
    /// such request, the notification is dropped.
    pub(super) async fn cancel(&self, asker: &Asker, id: &str, reason: &str) -> Result<(), Rejection> {
        let Some(number) = self.inner.find(asker, id) else { return Ok(()) };
        self.inner.forget(number, NoResponse::Cancelled);
        self.inner.send(cancelled(&number.to_string(), reason)).await
    }

    /// The reason why the connection has ended, if it has.
    pub(super) fn ended(&self) -> Option<NoResponse> {
        self.inner.ended.borrow().clone()
    }

    /// The number of requests without an answer.
    #[cfg(test)]
    pub(crate) fn open_requests(&self) -> usize {
        self.inner.table.lock().pending.len()
    }

    /// Waits until the connection has ended.
    #[cfg(test)]
    pub(crate) async fn until_ended(&self) {
        let _ = self.inner.ended.subscribe().wait_for(Option::is_some).await;
    }

    /// The number of open requests, without subscriptions.
    pub(super) fn running(&self) -> usize {
        self.inner.table.lock().pending.values().filter(|p| !p.ask.listen && !p.to.is_deserted()).count()
    }

    /// True if there are no open requests.
    pub(crate) fn is_idle(&self) -> bool {
        self.inner.table.lock().pending.values().all(|pending| pending.to.is_deserted())
    }

    /// Closes the child's standard input in the background, after which the child ends; if it does not, it is killed.
    pub(super) fn end(&self) {
        self.inner
            .end(NoResponse::Fault(UpstreamFault::Unreachable, "the upstream was stopped".to_owned()), false);
        if let Some(process) = &self.inner.process {
            process.end();
        }
    }

    /// Sends a ping to a silent child, and kills it if there is no answer.
    async fn feel_pulse(self) {
        let inner = &self.inner;
        let lines_before = inner.lines_read.load(Ordering::Relaxed);
        let probe = async {
            let mut exchange = self
                .request(Asker::default(), |id| {
                    format!(r#"{{"jsonrpc":"2.0","id":{id},{}}}"#, inner.pulse).into()
                })
                .await?;
            exchange.receiver.receive().await.map_err(Rejection::from)
        };
        let _ = timeout(PULSE, probe).await;
        if inner.lines_read.load(Ordering::Relaxed) == lines_before && inner.ended.borrow().is_none() {
            tracing::warn!(upstream = %inner.name, "the child hangs; it is killed");
            inner.end(
                NoResponse::Fault(UpstreamFault::Timeout, "the upstream hangs and was restarted".to_owned()),
                true,
            );
        }
    }
}

/// A request, and the messages about it. If it is dropped before the response, it is cancelled if its era requires
/// that.
pub(super) struct ChildExchange {
    inner: Arc<Conversation>,
    ask: Arc<Asker>,
    number: u64,
    receiver: ReplyReceiver,
    lines_before: u64,
    /// True if the request has been sent to the child.
    is_sent: bool,
    done: bool,
}

impl ChildExchange {
    /// The next message about the request.
    ///
    /// # Errors
    /// With the reason why there will be no response. A request that waits longer than `patience` is cancelled. While
    /// the client has to answer a question of the server, another limit applies, because people need time.
    pub(super) async fn next(&mut self, patience: Option<Duration>) -> Result<ChildReply, NoResponse> {
        let started = Instant::now();
        let reply = loop {
            let Some(patience) = patience else { break self.receiver.receive().await };
            match timeout(patience, self.receiver.receive()).await {
                Ok(reply) => break reply,
                Err(_) if started.elapsed() < CLIENT_PATIENCE && self.inner.waits_for_client(self.number) => {
                }
                Err(_) => break Err(self.give_up()),
            }
        };
        self.done = !matches!(reply, Ok(ChildReply::Note(_)));
        reply
    }

    fn give_up(&self) -> NoResponse {
        let lost =
            NoResponse::Fault(UpstreamFault::Timeout, "the upstream did not answer in time".to_owned());
        self.inner.forget(self.number, lost.clone());
        self.inner.send_now(cancelled(&self.number.to_string(), "timed out"));
        if self.inner.lines_read.load(Ordering::Relaxed) == self.lines_before {
            workers::background().spawn(ChildConnection { inner: Arc::clone(&self.inner) }.feel_pulse());
        }
        lost
    }

    /// The caller's id, as JSON text.
    pub(super) fn id(&self) -> &str {
        &self.ask.id
    }

    /// True if the request is a subscription.
    pub(super) fn listens(&self) -> bool {
        self.ask.listen
    }
}

impl Drop for ChildExchange {
    fn drop(&mut self) {
        if !self.is_sent {
            self.inner.forget_unsent(self.number);
            return;
        }
        if self.done {
            return;
        }
        if !self.ask.cancel_on_drop {
            // The child goes on with the request.
            return self.ask.places.end_within(ABANDONED);
        }
        if !self.inner.forget(self.number, NoResponse::Cancelled) {
            return;
        }
        self.inner.send_now(cancelled(&self.number.to_string(), "the client went away"));
    }
}

/// Writes whole lines, in order, until the connection ends; then closes standard input.
async fn write(
    inner: Arc<Conversation>,
    mut input: Box<dyn AsyncWrite + Send + Unpin>,
    mut lines: mpsc::Receiver<ChildLine>,
) {
    let mut ended = inner.ended.subscribe();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = ended.wait_for(Option::is_some) => None,
        };
        let Some(ChildLine { number, bytes, _room }) = line else { break };
        if !inner.is_wanted(number) {
            continue;
        }
        let written = async {
            input.write_all(&bytes).await?;
            input.write_all(b"\n").await?;
            input.flush().await
        };
        tokio::select! {
            written = written => if written.is_err() { break },
            _ = ended.wait_for(Option::is_some) => break,
        }
    }
    let _ = input.shutdown().await;
}
