//! Newline-delimited JSON-RPC on standard input and output, for one client. This transport makes no decisions: it
//! passes every message to the flow, as HTTP does.
//!
//! The process is the client's session. A server of the stateful era sends messages of its own over HTTP's GET stream;
//! over stdio, they are written between the answers (MCP 2025-11-25, Transports, "stdio").

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use witgate_plugin::{Scheme, Transport};

use witgate_config::Denials;
use witgate_flow::body::RawBody;
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::event::Event;
use witgate_flow::in_flight::InFlight;
use witgate_flow::known_sender::KnownSender;
use witgate_flow::port::{AnswerBody, Upstream};
use witgate_flow::reject::{RejectedMessage, Rejection, UpstreamFault};
use witgate_flow::{Arrival, Flow, Reply};
use witgate_message::credential::Credentials;
use witgate_message::fault::MessageFault;
use witgate_message::headers::LAST_EVENT_ID;
use witgate_message::json::{Members, unquote};
use witgate_runtime::lines::input::{LineOutcome, LineReader, one_line};

/// The maximum size of an answer that an HTTP upstream gives in one piece, in bytes.
const ANSWER: usize = 16 << 20;
/// The maximum number of lines that wait for the client to read. If there are more, upstreams wait.
const LINES: usize = 64;
/// The maximum number of requests at the same time. A client with more requests has a fault.
const RUNNING: usize = 256;
/// The time limit for passing a notification on. The next line is read only afterwards, so that no message overtakes
/// the notification. An upstream that does not accept it delays the client no longer than this.
const PASSING_ON: Duration = Duration::from_secs(5);
/// The pause before a lost stream of the server's own messages is opened again.
const RECONNECT: Duration = Duration::from_secs(1);

/// The flow, as this transport needs it.
pub trait MessageHandler: Send + Sync + 'static {
    /// Handles one message.
    fn handle(
        &self,
        sent: IncomingMessage,
    ) -> impl Future<Output = Result<MessageAnswer, RejectedMessage>> + Send;

    /// Opens the stream of the server's own messages; `sent` has no body.
    fn listen(
        &self,
        sent: IncomingMessage,
    ) -> impl Future<Output = Result<BoxStream<'static, Event>, RejectedMessage>> + Send;
}

/// A message from standard input.
pub struct IncomingMessage {
    /// The message.
    pub body: Bytes,
    /// The credentials in the environment of the process.
    pub shown: Credentials,
    /// The session that the client has opened.
    pub session: Option<Box<str>>,
    /// The id of the last event of a stream that broke off.
    pub last_event_id: Option<String>,
}

/// The answer to a message.
pub struct MessageAnswer {
    /// The session that the message has opened.
    pub session: Option<Box<str>>,
    /// The body of the upstream's answer.
    pub body: AnswerBody,
}

/// The credentials in the environment, which is read once. Child processes never inherit these variables.
#[derive(Debug, Default)]
pub struct EnvironmentCredentials {
    /// `MCP_API_KEY`.
    pub api_key: Option<SecretString>,
    /// `MCP_BEARER_TOKEN`.
    pub bearer: Option<SecretString>,
}

impl EnvironmentCredentials {
    /// Reads the credentials. An empty variable counts as unset.
    pub fn read(environment: &witgate_config::environment::Environment) -> Self {
        let read = |name| environment.get(name).map(SecretString::from);
        Self { api_key: read("MCP_API_KEY"), bearer: read("MCP_BEARER_TOKEN") }
    }

    fn shown(&self) -> Credentials {
        let mut shown = Credentials::default();
        let again = |value: &SecretString| SecretString::from(value.expose_secret());
        if let Some(bearer) = &self.bearer {
            shown.add(Scheme::Bearer, None, again(bearer));
        }
        if let Some(key) = &self.api_key {
            shown.add(Scheme::Header, None, again(key));
        }
        shown
    }
}

/// The settings of the transport.
#[derive(Clone, Copy, Debug)]
pub struct StdioSettings {
    /// The time that running calls may take during a shutdown.
    pub grace: Duration,
    /// The maximum size of a line from the client, in bytes.
    pub max_request: usize,
    /// The form of denials.
    pub denials: Denials,
}

/// Serves one client until its input ends or until `stop`. Then lets running requests finish within the grace period.
pub async fn serve<P: MessageHandler>(
    pipeline: Arc<P>,
    environment: EnvironmentCredentials,
    pipes: (impl AsyncRead + Unpin, impl AsyncWrite + Send + Unpin + 'static),
    stop: impl Future<Output = ()>,
    StdioSettings { grace, max_request, denials }: StdioSettings,
) {
    let (out, lines) = mpsc::channel(LINES);
    let writing = tokio::spawn(write(pipes.1, lines));
    let mut front = StdioFront {
        client: Arc::new(StdioClient {
            pipeline,
            environment,
            out,
            session: Mutex::default(),
            running: Mutex::default(),
            denials,
        }),
        tasks: JoinSet::new(),
        pump: None,
    };
    let closed = front.client.out.clone();
    tokio::select! {
        () = front.read(pipes.0, max_request) => {}
        () = stop => {}
        // A client that has closed its end of the output has gone.
        () = closed.closed() => {}
    }
    drop(closed);
    front.finish(grace).await;
    let _ = timeout(grace, writing).await;
}

/// Waits for SIGTERM or SIGINT.
pub async fn told_to_stop() {
    stop_signal().await;
}

/// The next SIGTERM or SIGINT after this call, also one before the first poll. To be called within a runtime.
pub fn stop_signal() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    };
    async move {
        #[cfg(unix)]
        match signals {
            (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            _ => pending().await,
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            pending().await
        }
    }
}

impl<U: Upstream + 'static> MessageHandler for Flow<U> {
    async fn handle(&self, sent: IncomingMessage) -> Result<MessageAnswer, RejectedMessage> {
        let Reply { session, body, .. } = Flow::handle(self, arrival(sent)).await?;
        Ok(MessageAnswer { session, body })
    }

    async fn listen(&self, sent: IncomingMessage) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        Flow::listen(self, arrival(sent)).await
    }
}

impl MessageHandler for Arc<dyn EndpointFlow> {
    async fn handle(&self, sent: IncomingMessage) -> Result<MessageAnswer, RejectedMessage> {
        let Reply { session, body, .. } = EndpointFlow::handle(&**self, arrival(sent)).await?;
        Ok(MessageAnswer { session, body })
    }

    async fn listen(&self, sent: IncomingMessage) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        EndpointFlow::listen(&**self, arrival(sent)).await
    }
}

fn arrival(sent: IncomingMessage) -> Arrival {
    let mut headers = HeaderMap::new();
    // An HTTP upstream is told the last event of a broken stream in this header.
    let last = sent.last_event_id.and_then(|id| HeaderValue::try_from(id).ok());
    headers.extend(last.map(|id| (LAST_EVENT_ID, id)));
    Arrival {
        transport: Transport::Stdio,
        under_way: InFlight::default(),
        peer: None,
        known: KnownSender::default(),
        certificate: None,
        headers,
        body: sent.body,
        shown: Some(sent.shown),
        session: sent.session,
    }
}

struct StdioFront<P> {
    client: Arc<StdioClient<P>>,
    tasks: JoinSet<()>,
    pump: Option<AbortHandle>,
}

/// The state that all tasks of one client share.
struct StdioClient<P> {
    pipeline: Arc<P>,
    environment: EnvironmentCredentials,
    out: mpsc::Sender<Bytes>,
    session: Mutex<Option<Box<str>>>,
    /// The running requests by id, as JSON text.
    running: Mutex<HashMap<Box<str>, RunningRequest>>,
    /// The form of denials.
    denials: Denials,
}

struct RunningRequest {
    task: AbortHandle,
    /// True if Witgate cancels the request by dropping it (stateless era). In the stateful era, Witgate only tells the
    /// upstream.
    stateless: bool,
    /// True if the request is a subscription, which never finishes by itself.
    listens: bool,
}

/// The members of a message that decide how it is ordered among the others. The flow checks the message itself.
#[derive(Debug, Default)]
struct LinePeek {
    id: Option<Box<str>>,
    method: Option<String>,
    stateless: bool,
    cancels: Option<Box<str>>,
}

impl LinePeek {
    fn at(line: &[u8]) -> Option<Self> {
        let message = Members::read(std::str::from_utf8(line).ok()?)?;
        let method = message.get("method").and_then(unquote);
        let params = message.came("params").and_then(Members::read).unwrap_or_default();
        let meta = params.came("_meta").and_then(Members::read).unwrap_or_default();
        let cancels = method.as_deref() == Some("notifications/cancelled");
        Some(Self {
            id: message.get("id").map(Box::from),
            stateless: meta.get("io.modelcontextprotocol/protocolVersion").is_some(),
            cancels: params.get("requestId").filter(|_| cancels).map(Box::from),
            method,
        })
    }
}

impl<P: MessageHandler> StdioFront<P> {
    async fn read(&mut self, input: impl AsyncRead + Unpin, max_request: usize) {
        let mut lines = LineReader::new(input, max_request);
        loop {
            match lines.next().await {
                Ok(LineOutcome::Line(line)) => self.take(line).await,
                Ok(LineOutcome::TooLong(_)) => {
                    self.client.refuse(Rejection::from(MessageFault::TooLarge).into()).await
                }
                Ok(LineOutcome::End) | Err(_) => return,
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    async fn take(&mut self, line: Bytes) {
        let peek = LinePeek::at(&line).unwrap_or_default();
        match (peek.method.as_deref(), &peek.id) {
            (Some("initialize"), Some(_)) => {
                // Some clients send further messages before the answer. Those messages belong to the session that this
                // one opens.
                self.client.clone().request(line).await;
                self.start_pump();
            }
            (Some(_), Some(_)) => self.start(line, peek).await,
            (Some(_), None) => self.notify(line, &peek).await,
            (None, _) => self.pass_on(line).await,
        }
    }

    /// Starts a request.
    async fn start(&mut self, line: Bytes, peek: LinePeek) {
        let Some(id) = peek.id else { return };
        if self.tasks.len() >= RUNNING {
            let rejection = Rejection::RateLimited { retry_after: 1 };
            return self.client.refuse(RejectedMessage { id: Some(id), ..rejection.into() }).await;
        }
        let listens = peek.method.as_deref() == Some("subscriptions/listen");
        let client = Arc::clone(&self.client);
        let key = id.clone();
        // The lock is held until the task is in the map, so that the task cannot remove itself before that.
        let mut running = self.client.running.lock();
        let task = self.tasks.spawn(async move {
            client.clone().request(line).await;
            client.running.lock().remove(&key);
        });
        running.insert(id, RunningRequest { task, stateless: peek.stateless, listens });
    }

    async fn notify(&mut self, line: Bytes, peek: &LinePeek) {
        if let Some(id) = &peek.cancels {
            let mut running = self.client.running.lock();
            if running.get(id).is_some_and(|running| running.stateless) {
                if let Some(cancelled) = running.remove(id) {
                    cancelled.task.abort();
                }
                return;
            }
        }
        self.pass_on(line).await;
    }

    /// Passes on a notification, an answer or an invalid message. No later message may overtake it.
    async fn pass_on(&mut self, line: Bytes) {
        if timeout(PASSING_ON, self.client.clone().request(line)).await.is_err() {
            tracing::warn!("the upstream does not accept messages of the client; dropped");
        }
    }

    /// Starts to write the server's own messages, if there is a session.
    fn start_pump(&mut self) {
        let has_session = self.client.session.lock().is_some();
        if has_session && self.pump.is_none() {
            let client = Arc::clone(&self.client);
            self.pump = Some(self.tasks.spawn(client.pump()));
        }
    }

    async fn finish(mut self, grace: Duration) {
        if let Some(pump) = self.pump.take() {
            pump.abort();
        }
        for running in self.client.running.lock().values().filter(|running| running.listens) {
            running.task.abort();
        }
        let _ = timeout(grace, async { while self.tasks.join_next().await.is_some() {} }).await;
        self.tasks.shutdown().await;
    }
}

impl<P: MessageHandler> StdioClient<P> {
    fn sent(&self, body: Bytes) -> IncomingMessage {
        let session = self.session.lock().clone();
        IncomingMessage { body, shown: self.environment.shown(), session, last_event_id: None }
    }

    /// Passes one message to the flow, and writes everything that comes back.
    async fn request(self: Arc<Self>, line: Bytes) {
        let peek = LinePeek::at(&line);
        match self.pipeline.handle(self.sent(line)).await {
            Ok(heard) => {
                if let Some(session) = heard.session {
                    *self.session.lock() = Some(session);
                }
                self.write_down(heard.body, peek.and_then(|peek| peek.id)).await;
            }
            Err(rejected) => {
                // A notification or an answer gets no answer (JSON-RPC 2.0 §4.1). An unreadable message gets one.
                let wants_none = peek.is_some_and(|peek| peek.method.is_none() || peek.id.is_none());
                match wants_none && !is_malformed(&rejected.rejection) {
                    true => tracing::debug!(?rejected, "a notification or an answer was refused"),
                    false => self.refuse(rejected).await,
                }
            }
        }
    }

    async fn write_down(&self, body: AnswerBody, id: Option<Box<str>>) {
        match body {
            AnswerBody::Accepted => {}
            AnswerBody::Message { message, .. } => self.say(message.into_text()).await,
            AnswerBody::Events(events) => self.say_all(events).await,
            AnswerBody::Raw { body, .. } => {
                if let Err(rejection) = self.say_whole(body).await {
                    self.refuse(RejectedMessage { id, ..rejection.into() }).await;
                }
            }
        }
    }

    async fn say_whole(&self, body: RawBody) -> Result<(), Rejection> {
        let whole = Limited::new(body, ANSWER).collect().await;
        self.say(whole.map_err(|_| broken_off())?.to_bytes()).await;
        Ok(())
    }

    async fn say_all(&self, mut events: BoxStream<'static, Event>) {
        while let Some(event) = events.next().await {
            self.say(event.data).await;
        }
    }

    /// Writes the server's own messages, as long as the server offers a stream of them.
    async fn pump(self: Arc<Self>) {
        let mut last_event_id = None;
        loop {
            let sent = IncomingMessage { last_event_id: last_event_id.take(), ..self.sent(Bytes::new()) };
            let mut events = match self.pipeline.listen(sent).await {
                Ok(events) => events,
                Err(RejectedMessage { rejection, .. }) => {
                    return tracing::debug!(?rejection, "the server has no messages of its own");
                }
            };
            let mut retry = RECONNECT;
            while let Some(event) = events.next().await {
                last_event_id = event.id.or(last_event_id);
                retry = event.retry.map_or(retry, |ms| Duration::from_millis(ms).max(RECONNECT));
                self.say(event.data).await;
            }
            sleep(retry).await;
        }
    }

    async fn refuse(&self, rejected: RejectedMessage) {
        self.say(rejected.wire_over_stdio(self.denials).body(rejected.id.as_deref())).await;
    }

    /// Writes a message as one line, and waits until the client accepts it. An empty message is left out, because it
    /// only primes a stream.
    async fn say(&self, message: Bytes) {
        let message = one_line(message);
        if !message.trim_ascii().is_empty() {
            let _ = self.out.send(message).await;
        }
    }
}

fn is_malformed(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::Malformed(MessageFault::Parse(_)))
}

fn broken_off() -> Rejection {
    Rejection::Upstream {
        fault: UpstreamFault::Unreachable,
        message: "the upstream broke off its answer".to_owned(),
    }
}

async fn write(mut output: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Bytes>) {
    while let Some(line) = lines.recv().await {
        let written = async {
            output.write_all(&line).await?;
            output.write_all(b"\n").await?;
            output.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
