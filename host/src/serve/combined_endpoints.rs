//! The endpoints at which there are several upstreams: for each of their upstreams a flow of its own, with the resource
//! of the endpoint, to the same server as the flow of the upstream alone.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::flows::{AnyServed, FlowMaker};
use super::shared_upstream::SharedUpstream;
use crate::control::overview;
use crate::control::protocol::EndpointSummary;
use crate::routes::route;
use witgate_config::{CombinedEndpoint, Config};
use witgate_endpoints::{CombinedFlow, EndpointMember};
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::request::Route;
use witgate_server::http::ServedEndpoint;
use witgate_upstream::any_upstream::AnyUpstream;

/// An endpoint with several upstreams that is served.
#[derive(Clone)]
pub(super) struct RunningEndpoint {
    pub(super) written: CombinedEndpoint,
    /// The places of its upstreams. None: the upstream is not served. A place is never used again, so that equal places
    /// mean the same upstreams.
    places: Vec<Option<usize>>,
    pub(super) flow: Arc<dyn EndpointFlow>,
    /// Ends its streams.
    stop: CancellationToken,
}

impl RunningEndpoint {
    /// The endpoint with its settings, as the gateway serves it.
    pub(super) fn served(&self) -> ServedEndpoint<AnyUpstream> {
        let places = self.places.iter().flatten().copied().collect();
        ServedEndpoint::of_several(&self.written, places, Arc::clone(&self.flow))
    }

    /// Summaries of `endpoints`, for operators.
    pub(super) fn summaries(endpoints: &[Self]) -> Vec<EndpointSummary> {
        overview::endpoints(endpoints.iter().map(|endpoint| &endpoint.written))
    }

    /// Ends its streams. Its running calls finish.
    pub(super) fn retire(&self) {
        tracing::info!(endpoint = %self.written.name, "its upstreams or settings have changed: its sessions end");
        self.stop.cancel();
    }

    /// True if the two are one: the settings and the upstreams are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.flow, &other.flow)
    }
}

impl FlowMaker {
    /// The endpoints of a configuration that is served first, whose upstreams are `served`, in its order.
    pub(super) fn first_endpoints(&self, config: &Config, served: &[AnyServed]) -> Vec<RunningEndpoint> {
        let of_name = |name: &str| served.iter().enumerate().find(|(_, served)| served.name() == name);
        self.endpoints(config, &[], of_name)
    }

    /// The endpoints of `config`, of the upstreams that `served` finds by their names, with their places. One of
    /// `running` goes on with its sessions if it would be made of the same. An endpoint without any upstream is not
    /// served.
    pub(super) fn endpoints<'a>(
        &self,
        config: &Config,
        running: &[RunningEndpoint],
        served: impl Fn(&str) -> Option<(usize, &'a AnyServed)>,
    ) -> Vec<RunningEndpoint> {
        let endpoint = |written: &CombinedEndpoint| {
            let members: Vec<_> = written.upstreams.iter().map(|upstream| served(&upstream.name)).collect();
            let places: Vec<_> = members.iter().map(|member| member.map(|(place, _)| place)).collect();
            let same = |running: &&RunningEndpoint| running.written == *written && running.places == places;
            if let Some(running) = running.iter().find(same) {
                return Some(running.clone());
            }
            members.iter().flatten().next()?;
            let stop = self.stop.child_token();
            let member = |member: Option<(usize, &AnyServed)>| self.member(config, written, member?, &stop);
            let members = members.into_iter().map(member).collect();
            let flow = Arc::new(CombinedFlow::new(written, members, stop.clone()));
            Some(RunningEndpoint { written: written.clone(), places, flow, stop })
        };
        config.endpoints.iter().filter_map(endpoint).collect()
    }

    /// The upstream at `place` as a member of `endpoint`.
    fn member(
        &self,
        config: &Config,
        endpoint: &CombinedEndpoint,
        (place, served): (usize, &AnyServed),
        stop: &CancellationToken,
    ) -> Option<EndpointMember<SharedUpstream>> {
        let written = config.upstreams.iter().find(|upstream| upstream.name == served.name())?;
        let resource = endpoint.resource.as_str().into();
        let route = Route { resource, ..route(config, place, written) };
        let flow =
            self.flow(config, route, SharedUpstream(Arc::clone(&served.flow)), stop).beside(&served.flow);
        Some(EndpointMember { flow, timeout: written.timeout })
    }
}
