//! TCP connections: accepting them, and letting them end.

mod at_once;

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls::Tls;
use crate::flow::certificate::ClientCertificate;
use at_once::AtOnce;

/// How long a client may take over the head of a request, and how long a connection may idle, for
/// hyper's timer covers both. Longer than the 90 s for which the most patient clients keep one, so
/// that it is they who close it.
const HEAD: Duration = Duration::from_secs(120);

/// What is read ahead on one connection. A head above it is answered with 431.
const BUFFER: usize = 64 << 10;

/// How long to wait when the process has no more file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// The two ends of a connection.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// What the peer has shown in the handshake of TLS.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

/// Where connections come in.
pub(super) struct Listener {
    /// The socket.
    pub(super) socket: TcpListener,
    /// What is spoken on it. None: HTTP in plain.
    pub(super) tls: Option<Arc<Tls>>,
}

/// Answers requests until `stop`; then lets those that run go on for `grace`, and cuts them off.
pub(super) async fn serve<F, R, B>(listener: Listener, stop: CancellationToken, grace: Duration, respond: F)
where
    F: Fn(Request<Incoming>, Ends) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>, Data: Send> + Send + 'static,
{
    let cut = CancellationToken::new();
    let running = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.socket.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                // A token of its own: each look at one takes its lock, and every poll looks.
                let (stop, cut) = (stop.child_token(), cut.child_token());
                let tls = listener.tls.clone();
                running.spawn(connection(stream, peer, tls, Until { stop, cut }, respond.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
    }
    drop(listener);
    running.close();
    if tokio::time::timeout(grace, running.wait()).await.is_err() {
        tracing::warn!(connections = running.len(), "cutting off what did not end in time");
        cut.cancel();
        running.wait().await;
    }
}

/// When a connection ends.
struct Until {
    /// After what is running on it.
    stop: CancellationToken,
    /// At once.
    cut: CancellationToken,
}

async fn connection<F, R, B>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    until: Until,
    respond: F,
) where
    F: Fn(Request<Incoming>, Ends) -> R,
    R: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let Ok(local) = stream.local_addr() else { return };
    // Answers are small and awaited: without this, each could wait for the last one's ACK.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return converse(stream, Ends { peer, local, certificate: None }, until, respond).await;
    };
    // Nothing runs before the handshake is done: there is nothing to wait for at the end.
    if let Some(Some((stream, certificate))) = until.stop.run_until_cancelled(tls.accept(stream)).await {
        converse(stream, Ends { peer, local, certificate }, until, respond).await;
    }
}

async fn converse<S, F, R, B>(stream: S, ends: Ends, until: Until, respond: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Request<Incoming>, Ends) -> R,
    R: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let Until { stop, cut } = until;
    let service = service_fn(|request| {
        let response = respond(request, ends.clone());
        async { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let connection = std::pin::pin!(connection);
    let mut connection = AtOnce::new(connection);
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
