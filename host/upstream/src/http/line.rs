//! The transport of requests to an HTTP upstream: the network, or a service of this program.

use std::sync::Arc;

use ::http::Response;
use ::http::uri::Scheme;
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either};
use http_body::Body;
use tower::Service;

use super::outgoing::Outgoing;
use super::redirect;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::body::{BodyError, Inflow};
use witgate_services::network::Ways;

/// A service that can be an upstream: it takes whole requests and answers them with any body.
pub trait EmbeddedService<B>:
    Service<Outgoing, Response = Response<B>, Error: Into<BodyError>> + Clone + Send + Sync + 'static
{
}

impl<S, B> EmbeddedService<B> for S where
    S: Service<Outgoing, Response = Response<B>, Error: Into<BodyError>> + Clone + Send + Sync + 'static
{
}

type LineAnswer = Result<Response<Inflow>, BodyError>;
type BoxedService = Arc<dyn Fn(Outgoing) -> BoxFuture<'static, LineAnswer> + Send + Sync>;

/// The transport to an upstream.
#[derive(Clone)]
pub(super) enum UpstreamLine {
    Wire(Arc<Ways>),
    Here(BoxedService),
}

impl UpstreamLine {
    pub(super) fn over_the_network(ways: Arc<Ways>) -> Self {
        Self::Wire(ways)
    }

    pub(super) fn to_service<S, B>(service: S) -> Self
    where
        S: EmbeddedService<B>,
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

    /// Sends a request. It begins with the first poll of the future, and ends when that is dropped.
    pub(super) fn request(&self, outgoing: Outgoing) -> impl Future<Output = LineAnswer> + Send + use<> {
        match self {
            Self::Wire(ways) => {
                let client = ways.upstream_client(outgoing.uri().scheme() == Some(&Scheme::HTTPS));
                Either::Left(redirect::follow(client, outgoing))
            }
            Self::Here(service) => Either::Right(service(outgoing)),
        }
    }

    /// Adds the caller to a request for a service of this program.
    pub(super) fn introduce(&self, outgoing: &mut Outgoing, caller: &Arc<Caller>) {
        if let Self::Here(_) = self {
            outgoing.extensions_mut().insert(Arc::clone(caller));
        }
    }
}
