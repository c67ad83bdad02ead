//! The endpoints at which there are several upstreams: for each of their upstreams a flow of its own, with the resource
//! of the endpoint, to the same server as the flow of the upstream alone.

use std::sync::Arc;

use futures_util::stream::BoxStream;

use witgate_base::party::Principal;
use witgate_config::{CombinedEndpoint, Config};
use witgate_credentials::fault::OutboundFault;
use witgate_credentials::upstream_credential::{Delegation, UpstreamCredential};
use witgate_endpoints::{CombinedFlow, EndpointMember};
use witgate_flow::Flow;
use witgate_flow::authenticate::identity::Caller;
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::event::Event;
use witgate_flow::limit::Admitted;
use witgate_flow::port::{Answer, SessionRequest, Upstream};
use witgate_flow::reject::Rejection;
use witgate_flow::request::{Request, Route};
use witgate_upstream::any_upstream::AnyUpstream;

/// The server of a flow, which other flows use too. That flow shuts it down.
pub(crate) struct SharedUpstream(Arc<Flow<AnyUpstream>>);

/// The flows of all endpoints, in their order. `flows` are those of the upstreams alone, and `member` makes one of an
/// upstream at an endpoint.
pub(crate) fn endpoint_flows(
    config: &Config,
    flows: &[Arc<Flow<AnyUpstream>>],
    route: impl Fn(usize, &witgate_config::Upstream) -> Route,
    member: impl Fn(Route, SharedUpstream) -> Flow<SharedUpstream>,
) -> Vec<Arc<dyn EndpointFlow>> {
    let of_endpoint = |endpoint: &CombinedEndpoint| {
        let members = endpoint.upstreams.iter().map(|upstream| {
            let place = config.upstreams.iter().position(|known| known.name == upstream.name)?;
            let (written, flow) = (config.upstreams.get(place)?, flows.get(place)?);
            let resource = endpoint.resource.as_str().into();
            let route = Route { resource, ..route(place, written) };
            let flow = member(route, SharedUpstream(Arc::clone(flow))).beside(flow);
            Some(EndpointMember { flow, timeout: written.timeout })
        });
        let members: Vec<_> = members.collect();
        Arc::new(CombinedFlow::new(endpoint, members)) as Arc<dyn EndpointFlow>
    };
    config.endpoints.iter().map(of_endpoint).collect()
}

impl SharedUpstream {
    fn server(&self) -> &AnyUpstream {
        self.0.upstream()
    }
}

impl Upstream for SharedUpstream {
    fn delegation(&self, request: &Request, caller: &Caller) -> Result<Option<Delegation>, OutboundFault> {
        self.server().delegation(request, caller)
    }

    fn credential_of_principals(&self) -> Option<Arc<UpstreamCredential>> {
        self.server().credential_of_principals()
    }

    fn exchanges_tokens(&self) -> bool {
        self.server().exchanges_tokens()
    }

    fn opens_urls(&self, session: &str, principal: &Principal) -> bool {
        self.server().opens_urls(session, principal)
    }

    fn issues_tokens(&self) -> bool {
        self.server().issues_tokens()
    }

    async fn forward(&self, admitted: Admitted) -> Result<Answer, Rejection> {
        self.server().forward(admitted).await
    }

    async fn listen(&self, listener: SessionRequest) -> Result<BoxStream<'static, Event>, Rejection> {
        self.server().listen(listener).await
    }

    async fn keeps_sessions(&self) -> bool {
        self.server().keeps_sessions().await
    }

    async fn close(&self, listener: SessionRequest) -> Result<(), Rejection> {
        self.server().close(listener).await
    }

    /// The flow of the upstream alone does that.
    async fn shut_down(&self) {}
}
