//! TCP connections: accepting them within bounds, and letting them end.

pub mod descriptors;
mod eager_future;
mod heads;
mod metered_stream;
mod stalls;
pub mod table;
mod turn;
pub mod unread_body;

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::http::header::CONNECTION;
use ::http::{HeaderValue, Request, Response};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::proxies;
use super::tls::TlsState;
use eager_future::EagerFuture;
use heads::Heads;
use metered_stream::MeteredStream;
use stalls::StallGuard;
use table::{Admission, Connection, ConnectionEnd, Connections};
use turn::TurnBody;
use witgate_flow::reject::Rejection;
use witgate_message::certificate::ClientCertificate;

/// Time limit for the head of a request, and for an idle connection, because hyper's timer covers both.
/// Longer than the 90 s for which the most patient clients keep one, so that it is they who close it.
const HEAD: Duration = Duration::from_secs(120);

/// The largest head. One above it is answered with 431.
const BUFFER: usize = 64 << 10;

/// Pause when the system has no more file descriptors, or no memory for sockets.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// The response on a connection for which there is no place.
static REFUSAL: LazyLock<Bytes> = LazyLock::new(|| {
    let wire = Rejection::TooManyConnections.wire();
    let (status, body) = (wire.status, wire.body(None));
    let retry_after = wire.retry_after.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nRetry-After: {retry_after}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat().into()
});

/// The two ends of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionEnds {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The address that it has connected to.
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
    /// The TLS settings of the listener. None: HTTP in plain.
    pub tls: Option<Arc<TlsState>>,
    /// Those that are open, and how many there may be.
    pub connections: Arc<Connections>,
}

/// Answers requests until `stop`; then lets those that run go on for `grace`, and cuts them off.
pub async fn serve<F, R, B>(listener: Listener, stop: CancellationToken, grace: Duration, respond: F)
where
    F: Fn(Request<Incoming>, ConnectionEnds) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>, Data: Send> + Send + Unpin + 'static,
{
    let cut = CancellationToken::new();
    let running = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.socket.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                // A token of its own: each look at one takes its lock, and every poll looks.
                let end = ConnectionEnd { stop: stop.child_token(), cut: cut.child_token() };
                match listener.connections.admit(peer.ip(), end) {
                    Some(admission) => {
                        let tls = listener.tls.clone();
                        running.spawn(connection(stream, peer, tls, admission, respond.clone()));
                    }
                    None => refuse(stream, listener.tls.is_some()),
                }
            }
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
    drop(listener);
    running.close();
    if tokio::time::timeout(grace, running.wait()).await.is_err() {
        tracing::warn!(connections = running.len(), "cutting off connections that did not end in time");
        cut.cancel();
        running.wait().await;
    }
}

/// True if the error concerns only the connection that was to be accepted.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut)
}

/// Says that there is no place, where that needs no waiting.
fn refuse(stream: TcpStream, speaks_tls: bool) {
    if !speaks_tls && let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&REFUSAL);
    }
}

async fn connection<F, R, B>(
    mut stream: TcpStream,
    mut peer: SocketAddr,
    tls: Option<Arc<TlsState>>,
    mut admission: Admission,
    respond: F,
) where
    F: Fn(Request<Incoming>, ConnectionEnds) -> R,
    R: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static,
{
    let Ok(local) = stream.local_addr() else { return };
    // Answers are small and awaited: without this, each could wait for the last one's ACK.
    let _ = stream.set_nodelay(true);
    if admission.proxies().speaks_first(peer.ip()) {
        let Some(said) = said_by_proxy(&mut stream, peer, &admission).await else { return };
        if let Some(client) = said {
            let Some(passed) = admission.passed_to(client.ip()) else { return refuse(stream, tls.is_some()) };
            (peer, admission) = (client, passed);
        }
    }
    let connection = Arc::clone(&admission.connection);
    let ends = ConnectionEnds { peer, local, certificate: None, connection };
    let Some(tls) = tls else {
        return converse(stream, ends, &admission, respond).await;
    };
    // Boxed: it is three times as large as a connection in plain, which has no room for it.
    let secured = Box::pin(async {
        // Nothing runs before the handshake is done: there is nothing to wait for at the end.
        let stop = &admission.end().stop;
        if let Some(Some((stream, certificate))) = stop.run_until_cancelled(tls.accept(stream)).await {
            converse(stream, ConnectionEnds { certificate, ..ends }, &admission, respond).await;
        }
    });
    secured.await;
}

/// The client that a proxy names before anything else: inside, when it speaks for itself. None: the connection is over.
async fn said_by_proxy(
    stream: &mut TcpStream,
    proxy: SocketAddr,
    admission: &Admission,
) -> Option<Option<SocketAddr>> {
    let said = admission.end().stop.run_until_cancelled(proxies::read(stream)).await?;
    said.inspect_err(|error| admission.proxies().log(proxy.ip(), error)).ok()
}

async fn converse<S, F, R, B>(stream: S, ends: ConnectionEnds, admission: &Admission, respond: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>, ConnectionEnds) -> R,
    R: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static,
{
    let ConnectionEnd { stop, cut } = admission.end();
    let stream = Heads::new(stream);
    let framing = stream.framing();
    let service = service_fn(|request: Request<Incoming>| {
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
    });
    let stream = StallGuard::new(stream, stalls::PATIENCE);
    let stream = MeteredStream::new(stream, Arc::clone(&ends.connection), admission.memory());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let connection = std::pin::pin!(connection);
    let mut connection = EagerFuture::new(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.get_mut().as_mut().graceful_shutdown();
            match cut.run_until_cancelled(connection).await {
                Some(ended) => ended,
                None => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
