//! Where the requests to an HTTP upstream go: over the network, or to a service of this program.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::future::{BoxFuture, Either};
use http_body::Body;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use super::{CONNECT, Outgoing, redirect};
use crate::flow::identity::Caller;
use crate::upstream::raw::{BodyError, Inflow};

/// Servers on Node and uvicorn close idle connections after 5 s; reusing one in that moment
/// would fail a call that was already sent.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// A service that can be an upstream: whatever takes whole requests and answers them with any body.
pub trait Within<B>:
    Service<Outgoing, Response = Response<B>, Error: Into<BodyError>> + Clone + Send + Sync + 'static
{
}

impl<S, B> Within<B> for S where
    S: Service<Outgoing, Response = Response<B>, Error: Into<BodyError>> + Clone + Send + Sync + 'static
{
}

type Answered = Result<Response<Inflow>, BodyError>;
type Inside = Arc<dyn Fn(Outgoing) -> BoxFuture<'static, Answered> + Send + Sync>;

/// The way to an upstream.
pub(super) enum Line {
    Wire(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
    Here(Inside),
}

impl Line {
    pub(super) fn over_the_network(secure: bool) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_timer(TokioTimer::new())
            .build(connector(secure));
        Self::Wire(client)
    }

    pub(super) fn to_service<S, B>(service: S) -> Self
    where
        S: Within<B>,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        Self::Here(Arc::new(move |outgoing| {
            let mut service = service.clone();
            Box::pin(async move {
                std::future::poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
                let response = service.call(outgoing).await.map_err(Into::into)?;
                Ok(response.map(Inflow::here))
            })
        }))
    }

    /// Sends a request. It begins with the first poll, and ends with the future.
    pub(super) fn request(&self, outgoing: Outgoing) -> impl Future<Output = Answered> + Send + use<> {
        match self {
            Self::Wire(client) => {
                let client = client.clone();
                let send = move |outgoing| {
                    let response = client.request(outgoing).map_ok(|response| response.map(Inflow::Wire));
                    response.map_err(BodyError::from)
                };
                Either::Left(redirect::follow(outgoing, send))
            }
            Self::Here(service) => Either::Right(service(outgoing)),
        }
    }

    /// Tells a service of this program whose request it is.
    pub(super) fn introduce(&self, outgoing: &mut Outgoing, caller: &Arc<Caller>) {
        if let Self::Here(_) = self {
            outgoing.extensions_mut().insert(Arc::clone(caller));
        }
    }
}

fn connector(secure: bool) -> HttpsConnector<HttpConnector> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    // Reading the system's roots takes milliseconds that a start without TLS need not spend.
    let roots = if secure {
        HttpsConnectorBuilder::new().with_native_roots()
    } else {
        Err(io::ErrorKind::Unsupported.into())
    };
    let tls = roots.unwrap_or_else(|_| HttpsConnectorBuilder::new().with_tls_config(without_roots()));
    tls.https_or_http().enable_http1().wrap_connector(http)
}

/// Trusts nobody, so that no TLS connection is made.
fn without_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
