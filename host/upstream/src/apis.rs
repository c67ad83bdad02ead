//! The APIs that child processes call through Witgate: a listener on loopback, whose requests go to an API with its
//! credential. So a process uses a credential that it never has.
//!
//! The path of each request begins with a secret of 256 bits, which only the processes of the upstream get: other
//! programs of this machine can reach the port, and nothing behind it.

mod api_path;
mod api_route;
mod ending_body;
mod head;
mod newcomers;
mod progress;
mod refusal;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::{Request, Response};
use arc_swap::ArcSwap;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::http::SetUpError;
pub(crate) use api_route::ApiRoute;
use newcomers::{ConnectionPlace, ConnectionPlaces};
use progress::ProgressStream;
use refusal::ApiRefusal;
use witgate_runtime::metrics::api_meter::ApiMeter;
use witgate_services::network::StreamedBody;

/// Maximum size of the head of a request, as for clients.
const LARGEST_HEAD: usize = 64 << 10;

/// Time for the head of a request, and between two requests.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Time after which a connection is closed that neither sends nor takes anything. Answers that stream may pause.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// The pause after the system gives no connection, such as for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The listener for the processes of one upstream.
pub(crate) struct ApiListener {
    address: SocketAddr,
    shared: Arc<ApiRoutes>,
}

/// The APIs behind a listener.
struct ApiRoutes {
    routes: ArcSwap<Vec<Arc<ApiRoute>>>,
    meter: OnceLock<ApiMeter>,
    stop: CancellationToken,
}

impl ApiListener {
    /// Listens on a free port of loopback. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// If there is no port.
    pub(crate) fn start(routes: Vec<Arc<ApiRoute>>) -> Result<Self, SetUpError> {
        let (listener, address) = bind().map_err(SetUpError::Loopback)?;
        let (routes, stop) = (ArcSwap::from_pointee(routes), CancellationToken::new());
        let shared = Arc::new(ApiRoutes { routes, meter: OnceLock::new(), stop });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared })
    }

    /// The variables with the addresses of the APIs, which contain the secret.
    pub(crate) fn variables(&self) -> Vec<(String, SecretString)> {
        let routes = self.shared.routes.load();
        routes.iter().map(|route| (route.variable().to_owned(), route.address(self.address))).collect()
    }

    /// Changes the routes.
    pub(crate) fn replace(&self, change: impl Fn(&ApiRoute) -> Option<ApiRoute>) {
        let changed = |route: &Arc<ApiRoute>| change(route).map_or_else(|| Arc::clone(route), Arc::new);
        let routes = self.shared.routes.load().iter().map(changed).collect();
        self.shared.routes.store(Arc::new(routes));
    }

    /// Counts the requests in this meter.
    pub(crate) fn count_in(&self, meter: ApiMeter) {
        self.shared.routes.load().iter().for_each(|route| meter.begin(route.variable()));
        // There is one meter for each upstream.
        let _ = self.shared.meter.set(meter);
    }

    /// Closes all connections, and the port.
    pub(crate) fn end(&self) {
        self.shared.stop.cancel();
    }
}

impl Drop for ApiListener {
    fn drop(&mut self) {
        self.end();
    }
}

fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

async fn accept(listener: TcpListener, shared: Arc<ApiRoutes>) {
    let places = ConnectionPlaces::new();
    let stop = shared.stop.clone();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (shared, place) = (Arc::clone(&shared), places.enter().await);
                    tokio::spawn(async move { converse(stream, place, &shared).await });
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}

/// Answers the requests of one connection, until it ends or makes no progress.
async fn converse(stream: TcpStream, place: ConnectionPlace, shared: &Arc<ApiRoutes>) {
    let _ = stream.set_nodelay(true);
    let place = Arc::new(place);
    let (stream, progress) = ProgressStream::new(stream);
    let respond = |request| {
        let (shared, place) = (Arc::clone(shared), Arc::clone(&place));
        async move { Ok::<_, Infallible>(shared.respond(request, &place).await) }
    };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(LARGEST_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service_fn(respond));
    tokio::select! {
        // Its error is that of the process.
        _ = connection => {}
        () = progress.ceased(IDLE) => {}
        () = place.ended() => {}
        () = shared.stop.cancelled() => {}
    }
}

impl ApiRoutes {
    async fn respond(&self, request: Request<Incoming>, place: &ConnectionPlace) -> Response<StreamedBody> {
        let Some((route, path)) = self.route(&request) else {
            tracing::debug!("a request for an API has none of the secret paths");
            self.meter.get().inspect(|meter| meter.count_unknown());
            return ApiRefusal::UnknownPath.response();
        };
        let method = request.method().clone();
        let result = if place.prove().await {
            route.exchange(&path, request.map(|body| body.map_err(Into::into).boxed_unsync())).await
        } else {
            Err(ApiRefusal::Connections)
        };
        let status = result.as_ref().ok().map(|response| response.status().as_u16());
        if let Some(meter) = self.meter.get() {
            meter.count(route.variable(), status);
        }
        let (api, credential) = (route.variable(), route.credential_name());
        match &result {
            Ok(_) => tracing::debug!(api, credential, %method, status, "a process has called an API"),
            Err(refusal) => {
                tracing::debug!(api, credential, %method, reason = refusal.reason(), "a process could not call an API")
            }
        }
        result.unwrap_or_else(|refusal| refusal.response())
    }

    /// The API whose secret the path begins with, and the rest of the path.
    fn route(&self, request: &Request<Incoming>) -> Option<(Arc<ApiRoute>, String)> {
        let (secret, rest) = api_path::split(request.uri())?;
        // All are compared, so that the time does not depend on the secret.
        let routes = self.routes.load();
        let mut fitting = None;
        for route in routes.iter() {
            if route.has_secret(secret) {
                fitting = Some(Arc::clone(route));
            }
        }
        Some((fitting?, rest.to_owned()))
    }
}

impl std::fmt::Debug for ApiListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiListener").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
