//! The service at an endpoint: the flow of one upstream, or of several.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::event::Event;
use witgate_flow::port::Upstream;
use witgate_flow::reject::{RejectedMessage, Rejection};
use witgate_flow::{Arrival, Flow, Reply};
use witgate_policy::generation::Generation;

/// The flow of the messages to an endpoint.
pub(super) enum ServedFlow<U> {
    /// That of one upstream.
    One(Arc<Flow<U>>),
    /// That of several.
    Several(Arc<dyn EndpointFlow>),
}

impl<U> ServedFlow<U> {
    /// The flow of an upstream that is alone at its endpoint.
    pub(super) fn alone(&self) -> Option<&Arc<Flow<U>>> {
        match self {
            Self::One(flow) => Some(flow),
            Self::Several(_) => None,
        }
    }
}

impl<U> Clone for ServedFlow<U> {
    fn clone(&self) -> Self {
        match self {
            Self::One(flow) => Self::One(Arc::clone(flow)),
            Self::Several(flow) => Self::Several(Arc::clone(flow)),
        }
    }
}

impl<U: Upstream> ServedFlow<U> {
    /// The live generation, if all upstreams of the flow are served in it.
    pub(super) fn serving(&self) -> Option<Arc<Generation>> {
        match self {
            Self::One(flow) => flow.serving(),
            Self::Several(flow) => flow.serving(),
        }
    }

    /// Handles one message under `generation`. At an endpoint with several upstreams, each of them decides under the
    /// generation that is live when its part of the message arrives.
    pub(super) async fn handle(
        &self,
        generation: Arc<Generation>,
        arrival: Arrival,
    ) -> Result<Reply, RejectedMessage> {
        match self {
            Self::One(flow) => flow.handle_under(generation, arrival).await,
            Self::Several(flow) => flow.handle(arrival).await,
        }
    }

    pub(super) async fn listen(
        &self,
        generation: Arc<Generation>,
        arrival: Arrival,
    ) -> Result<BoxStream<'static, Event>, RejectedMessage> {
        match self {
            Self::One(flow) => flow.listen_under(generation, arrival).await,
            Self::Several(flow) => flow.listen(arrival).await,
        }
    }

    pub(super) async fn close(
        &self,
        generation: Arc<Generation>,
        arrival: Arrival,
    ) -> Result<(), RejectedMessage> {
        match self {
            Self::One(flow) => flow.close_under(generation, arrival).await,
            Self::Several(flow) => flow.close(arrival).await,
        }
    }

    pub(super) fn refuse_unread(&self, rejection: Rejection, peer: Option<IpAddr>) -> RejectedMessage {
        match self {
            Self::One(flow) => flow.refuse_unread(rejection, peer),
            Self::Several(flow) => flow.refuse_unread(rejection, peer),
        }
    }

    pub(super) fn takes_proofs(&self) -> bool {
        match self {
            Self::One(flow) => flow.takes_proofs(),
            Self::Several(flow) => flow.takes_proofs(),
        }
    }
}
