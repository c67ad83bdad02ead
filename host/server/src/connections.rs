//! TCP connections: their acceptance within limits, their service, and their end.

pub mod descriptors;
mod eager_future;
mod heads;
mod loan;
mod metered_stream;
mod pause;
mod read_ahead;
pub(crate) mod socket;
mod stalls;
pub mod table;
mod turn;
pub mod unread_body;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::CONNECTION;
use ::http::{HeaderValue, Request, Response};
use futures_util::FutureExt as _;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::proxies;
use super::refusals::EarlyCause;
use super::tls::TlsState;
use eager_future::EagerFuture;
use heads::Heads;
use loan::Loan;
use metered_stream::MeteredStream;
use pause::{PauseKind, Silence, pause};
use read_ahead::ReadAhead;
use socket::Socket;
use stalls::StallGuard;
use table::{Admission, Connection, ConnectionEnd, Connections};
use turn::TurnBody;
use witgate_config::Denials;
use witgate_flow::decision::DecisionId;
use witgate_flow::reject::{RejectedMessage, Rejection};
use witgate_message::certificate::ClientCertificate;
use witgate_runtime::workers::{Seat, Workers};

/// The maximum size of a head in bytes. A larger head is answered with 431.
const BUFFER: usize = 64 << 10;

/// The pause after the system has run out of file descriptors, or of memory for sockets.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// The response to a client whose connection is refused because there are too many.
fn too_many(decision: DecisionId) -> Vec<u8> {
    let rejected = RejectedMessage { decision: Some(decision), ..Rejection::TooManyConnections.into() };
    let wire = rejected.wire_at(Denials::default());
    let (status, body) = (wire.status, wire.body(None));
    let mut head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for (name, value) in &wire.headers(None, &[]) {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    [&head, b"\r\n".as_slice(), &body].concat()
}

/// The two ends of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionEnds {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The address that the client has connected to.
    pub local: SocketAddr,
    /// The certificate from the TLS handshake.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The connection.
    pub connection: Arc<Connection>,
}

/// A socket that accepts connections.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// The TLS settings of the listener. None: the listener serves plain HTTP.
    pub tls: Option<Arc<TlsState>>,
    /// The open connections, and the limits of their number.
    pub connections: Arc<Connections>,
    /// The threads that serve the connections. If there are none, the current runtime serves them.
    pub workers: Arc<Workers>,
    /// Cuts off the connections that are still open after `stop`, before the grace period is over.
    pub cut: CancellationToken,
}

/// Answers requests until `stop`. Then lets running requests continue for `grace`, and cuts off the rest.
pub async fn serve<F, R, B>(listener: Listener, stop: CancellationToken, grace: Duration, respond: F)
where
    F: Fn(Request<Incoming>, ConnectionEnds) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
{
    let (_sender, moves) = mpsc::channel(1);
    serve_moving(listener, moves, stop, || grace, respond).await;
}

/// As [`serve`], with sockets that replace the one of the listener. Connections at a former socket end after the
/// request that they are at. `grace` is asked at the stop.
pub async fn serve_moving<F, R, B>(
    mut listener: Listener,
    mut moves: mpsc::Receiver<TcpListener>,
    stop: CancellationToken,
    grace: impl Fn() -> Duration,
    respond: F,
) where
    F: Fn(Request<Incoming>, ConnectionEnds) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
{
    let cut = listener.cut.child_token();
    let running = TaskTracker::new();
    let mut here = stop.child_token();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(socket) = moves.recv() => {
                let former = std::mem::replace(&mut listener.socket, socket);
                std::mem::replace(&mut here, stop.child_token()).cancel();
                // Nobody has accepted those that connected last.
                while let Some(Ok(connected)) = former.accept().now_or_never() {
                    admit(&listener, connected, (&here, &cut), &running, &respond);
                }
                continue;
            }
            accepted = listener.socket.accept() => accepted,
        };
        match accepted {
            Ok(connected) => admit(&listener, connected, (&here, &cut), &running, &respond),
            Err(error) if is_of_one(&error) => {
                tracing::debug!(%error, "a connection was closed before it was accepted")
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                listener.connections.free_descriptors();
                let _ = stop.run_until_cancelled(tokio::time::sleep(OUT_OF_FILES)).await;
            }
        }
    }
    let workers = Arc::clone(&listener.workers);
    drop(listener);
    running.close();
    let has_ended = tokio::select! {
        () = running.wait() => true,
        () = tokio::time::sleep(grace()) => false,
        () = cut.cancelled() => false,
    };
    // The last connection may have ended at this very moment.
    if !has_ended && !running.is_empty() {
        tracing::warn!(connections = running.len(), "cutting off connections that did not end in time");
        cut.cancel();
        running.wait().await;
    }
    // Their audit records are written.
    workers.settle().await;
}

/// Serves a new connection, or refuses it.
fn admit<F, R, B>(
    listener: &Listener,
    (stream, peer): (TcpStream, SocketAddr),
    (stop, cut): (&CancellationToken, &CancellationToken),
    running: &TaskTracker,
    respond: &F,
) where
    F: Fn(Request<Incoming>, ConnectionEnds) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
{
    // Each connection has its own token: every look at a token takes its lock, and every poll looks at it.
    let end = ConnectionEnd { stop: stop.child_token(), cut: cut.child_token() };
    let Some(admission) = listener.connections.admit(peer.ip(), end) else {
        return refuse(stream, peer.ip(), &listener.connections, listener.tls.is_some());
    };
    let (tls, workers) = (listener.tls.clone(), Arc::clone(&listener.workers));
    let (respond, tracker) = (respond.clone(), running.clone());
    running.spawn(async move {
        if let Some(opened) = open(stream, peer, tls, admission).await {
            opened.serve(&workers, &tracker, respond);
        }
    });
}

/// True if the error concerns only the one connection, and not the listener.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut)
}

/// Refuses a connection that was not admitted. A denied peer gets no answer. Others get one that there are too many
/// connections, if that needs no waiting: not over TLS.
fn refuse(stream: TcpStream, peer: IpAddr, connections: &Connections, speaks_tls: bool) {
    if connections.denies(peer) {
        connections.refusals().note(EarlyCause::DeniedPeer, peer);
        return;
    }
    let decision = connections.refusals().note(EarlyCause::TooManyConnections, peer);
    if !speaks_tls && let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&too_many(decision));
    }
}

/// A connection after the PROXY header and the TLS handshake, before HTTP.
struct OpenConnection {
    stream: ClientStream,
    ends: ConnectionEnds,
    admission: Admission,
}

enum ClientStream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// Reads what precedes HTTP: the PROXY header and the TLS handshake. It runs on the accepting runtime, because a
/// handshake takes milliseconds of processor time, which the workers need for requests.
async fn open(
    mut stream: TcpStream,
    mut peer: SocketAddr,
    tls: Option<Arc<TlsState>>,
    mut admission: Admission,
) -> Option<OpenConnection> {
    let local = stream.local_addr().ok()?;
    // Answers are small, and clients wait for them. Without this, an answer could wait for the ACK of the answer before
    // it.
    let _ = stream.set_nodelay(true);
    let speaks_first = admission.proxies().speaks_first(peer.ip());
    if speaks_first && let Some(client) = said_by_proxy(&mut stream, peer, &admission).await? {
        let connections = Arc::clone(admission.connections());
        let Some(passed) = admission.passed_to(client.ip()) else {
            refuse(stream, client.ip(), &connections, tls.is_some());
            return None;
        };
        (peer, admission) = (client, passed);
    }
    let socket = Socket::new(stream);
    let (stream, certificate) = match tls {
        None => (ClientStream::Plain(socket), None),
        Some(tls) => {
            // No request runs before the end of the handshake, so a shutdown need not wait for it.
            let handshake = Box::pin(tls.accept(socket, peer.ip()));
            let Some((stream, certificate)) = admission.end().stop.run_until_cancelled(handshake).await?
            else {
                admission.connections().refusals().note(EarlyCause::TlsHandshake, peer.ip());
                return None;
            };
            (ClientStream::Tls(Box::new(stream)), certificate)
        }
    };
    let connection = Arc::clone(&admission.connection);
    Some(OpenConnection { stream, ends: ConnectionEnds { peer, local, certificate, connection }, admission })
}

impl OpenConnection {
    /// Serves the connection on a worker, or on the current runtime if there are no workers.
    fn serve<F, R, B>(self, workers: &Arc<Workers>, tracker: &TaskTracker, respond: F)
    where
        F: Fn(Request<Incoming>, ConnectionEnds) -> R + Send + Sync + 'static,
        R: Future<Output = Response<B>> + Send + 'static,
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
    {
        let Self { stream, ends, admission } = self;
        let seat = workers.seat();
        let runtime = seat.as_ref().and_then(Seat::runtime).cloned().unwrap_or_else(Handle::current);
        match stream {
            ClientStream::Plain(mut socket) => tracker.spawn_on(
                async move {
                    if socket.settle(seat.as_ref()).is_ok() {
                        converse(socket, ends, &admission, respond).await;
                    }
                },
                &runtime,
            ),
            // TLS has a separate type of task, because that is three times as large as the task of a plain connection.
            ClientStream::Tls(mut stream) => tracker.spawn_on(
                async move {
                    if stream.get_mut().0.settle(seat.as_ref()).is_ok() {
                        converse(stream, ends, &admission, respond).await;
                    }
                },
                &runtime,
            ),
        };
    }
}

/// The client that a proxy names at the start of the connection. The inner `None`: the proxy speaks for itself. The
/// outer `None`: the connection is over.
async fn said_by_proxy(
    stream: &mut TcpStream,
    proxy: SocketAddr,
    admission: &Admission,
) -> Option<Option<SocketAddr>> {
    let said = admission.end().stop.run_until_cancelled(proxies::read(stream)).await?;
    said.inspect_err(|error| admission.proxies().log(proxy.ip(), error)).ok()
}

/// Answers the requests of a connection. Between requests, an idle connection holds only its stream: no buffers, and no
/// HTTP state.
async fn converse<S, F, R, B>(stream: S, ends: ConnectionEnds, admission: &Admission, respond: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>, ConnectionEnds) -> R,
    R: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static,
{
    let stream = Heads::new(stream);
    let framing = stream.framing();
    let service = |request: Request<Incoming>| {
        let is_last = !framing.note(request.body());
        let turn = ends.connection.begin();
        let response = respond(request, ends.clone());
        async move {
            let mut response = response.await;
            if is_last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| TurnBody::new(body, turn)))
        }
    };
    let stream = StallGuard::new(stream, stalls::PATIENCE);
    let stream = MeteredStream::new(stream, Arc::clone(&ends.connection), admission.memory());
    let mut stream = ReadAhead::new(stream);
    let mut silence = Silence::begin(&ends.connection);
    while has_request(&mut stream, silence.end(&ends.connection), &admission.end().stop).await {
        let (loan, home) = Loan::new(stream);
        // In a box, so that its memory is free while the connection is idle.
        let connection = http1::Builder::new()
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(loan), service_fn(&service));
        let connection = EagerFuture::new(Box::pin(connection));
        if !until_idle(connection, pause(&ends.connection, &framing), admission.end()).await {
            return;
        }
        let Some(returned) = home.take() else { return };
        stream = returned;
    }
}

/// Waits for the first bytes of a request until `end`. False: no further request comes.
async fn has_request<S: AsyncRead + Unpin>(
    stream: &mut ReadAhead<S>,
    end: Instant,
    stop: &CancellationToken,
) -> bool {
    // Bytes that have already arrived would otherwise count, even after `end`.
    Instant::now() < end
        && matches!(timeout_at(end, stop.run_until_cancelled(stream.wait())).await, Ok(Some(true)))
}

/// Serves the connection until it is idle. False: the connection is over.
async fn until_idle<I, B, S>(
    mut connection: EagerFuture<Pin<Box<http1::Connection<I, S>>>>,
    pause: impl Future<Output = PauseKind>,
    ConnectionEnd { stop, cut }: &ConnectionEnd,
) -> bool
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, ResBody = B, Error: Into<Box<dyn Error + Send + Sync>>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        paused = pause => return paused == PauseKind::Idle,
        () = stop.cancelled() => {
            connection.get_mut().as_mut().graceful_shutdown();
            match cut.run_until_cancelled(connection).await {
                Some(ended) => ended,
                None => return false,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
    false
}
