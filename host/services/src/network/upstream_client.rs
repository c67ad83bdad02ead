//! The HTTP/1.1 client for upstreams. A request runs in the task of its caller: no other task, no channel and no timer
//! has a part in it, so that nothing has to wake up in between. Time limits are the caller's.
//!
//! A request is sent once at most. A connection that waited for it is checked before, and another one is taken if the
//! server has closed it.

pub mod answer_body;
pub mod answer_head;
mod body;
mod connection;
pub mod fault;
mod idle;
mod request_head;
mod section;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::uri::{Authority, PathAndQuery};
use ::http::{Request, Response, Uri};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use tower::Service as _;

use self::answer_head::HeadReader;
pub use self::body::UpstreamBody;
use self::connection::{IdleUpstreams, UpstreamConnection};
use self::fault::WireFault;
use self::stream::UpstreamStream;
use super::way::Way;

/// The client of a worker for upstreams, with TLS or without.
pub struct UpstreamClient {
    connector: HttpsConnector<Way>,
    idle: Arc<IdleUpstreams>,
}

impl UpstreamClient {
    /// A client that keeps a connection for `lifetime` after its last request.
    pub(super) fn new(connector: HttpsConnector<Way>, lifetime: Duration) -> Self {
        Self { connector, idle: Arc::new(IdleUpstreams::new(lifetime)) }
    }

    /// Sends a request, and receives the head of the answer. Dropping the future closes the connection.
    ///
    /// # Errors
    /// If there is no connection or no valid answer.
    pub async fn request(&self, request: &Request<Full<Bytes>>) -> Result<Response<UpstreamBody>, WireFault> {
        let server = request.uri().authority().ok_or(WireFault::NoServer)?;
        let mut connection = match poll_fn(|context| Poll::Ready(self.idle_to(server, context))).await {
            Some(connection) => connection,
            None => Box::pin(self.connect(request.uri(), server)).await?,
        };
        connection.begin(request, whole(request.body()));
        let mut reader = HeadReader::new(request.method());
        let head = poll_fn(|context| connection.poll_head(context, &mut reader)).await?;
        let mut response = Response::new(UpstreamBody::new(connection));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    /// An idle connection that its server has not closed.
    fn idle_to(&self, server: &Authority, context: &mut Context<'_>) -> Option<Box<UpstreamConnection>> {
        std::iter::from_fn(|| self.idle.take(server)).find_map(|mut connection| {
            let is_quiet = connection.is_quiet(context);
            is_quiet.then_some(connection)
        })
    }

    async fn connect(&self, uri: &Uri, server: &Authority) -> Result<Box<UpstreamConnection>, WireFault> {
        // Without the path and the query, which may contain a secret.
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        let to = Uri::from_parts(parts).map_err(|_| WireFault::NoServer)?;
        let mut connector = self.connector.clone();
        poll_fn(|context| connector.poll_ready(context)).await.map_err(WireFault::Unconnected)?;
        let stream = connector.call(to).await.map_err(WireFault::Unconnected)?;
        let stream = UpstreamStream::from(stream);
        Ok(Box::new(UpstreamConnection::new(stream, server.clone(), &self.idle)))
    }
}

impl fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamClient").finish_non_exhaustive()
    }
}

/// The bytes of a body, which are all there.
fn whole(body: &Full<Bytes>) -> Bytes {
    let frame = body.clone().frame().now_or_never().flatten();
    frame.and_then(|Ok(frame)| frame.into_data().ok()).unwrap_or_default()
}
