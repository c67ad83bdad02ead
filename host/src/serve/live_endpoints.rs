//! The endpoints with several upstreams of a running gateway: for each of their upstreams a flow of its own, with the
//! resource of the endpoint. An endpoint is made anew if its settings have changed, or one of its upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::flows::{AnyFlow, AnyServed, FlowMaker};
use crate::endpoints::SharedUpstream;
use crate::routes::route;
use witgate_config::{CombinedEndpoint, Config};
use witgate_endpoints::{CombinedFlow, EndpointMember};
use witgate_flow::definitions::DefinitionWatch;
use witgate_flow::request::Route;
use witgate_policy::generation::Generation;
use witgate_server::http::ServedEndpoint;

/// The endpoints of a running gateway.
pub(super) struct LiveEndpoints(Mutex<EndpointsByName>);

/// Endpoints by their names.
pub(super) type EndpointsByName = BTreeMap<String, Arc<RunningEndpoint>>;

/// An endpoint that is served.
pub(super) struct RunningEndpoint {
    service: ServedEndpoint,
    /// Its settings, and the places of its upstreams.
    made_from: String,
    definitions: Vec<Arc<DefinitionWatch>>,
    /// Ends its streams.
    stop: CancellationToken,
}

impl LiveEndpoints {
    /// The endpoints of a configuration that is served first.
    pub(super) fn first(maker: &FlowMaker, config: &Config, served: &[AnyServed]) -> Self {
        let live = maker.generations.live();
        let flow = |place: usize| served.get(place).map(|served| Arc::clone(&served.flow));
        let none = Self(Mutex::default());
        let endpoints = none.next(maker, config, &live, flow);
        Self(Mutex::new(endpoints))
    }

    /// The endpoints that `config` has with the upstreams of `next`, each of which `flow` finds by its place. An endpoint
    /// that stays the same keeps its sessions.
    pub(super) fn next(
        &self,
        maker: &FlowMaker,
        config: &Config,
        next: &Generation,
        flow: impl Fn(usize) -> Option<Arc<AnyFlow>>,
    ) -> EndpointsByName {
        let running = self.0.lock();
        let endpoint = |endpoint: &CombinedEndpoint| {
            let places: Vec<_> =
                endpoint.upstreams.iter().map(|upstream| place_of(&upstream.name, next)).collect();
            let made_from = format!("{endpoint:?} {places:?}");
            let same = running.get(&endpoint.name).filter(|running| running.made_from == made_from);
            let endpoint = same.cloned().unwrap_or_else(|| {
                Arc::new(RunningEndpoint::new(maker, (config, endpoint), (&places, made_from), &flow))
            });
            (endpoint.service.name().to_owned(), endpoint)
        };
        config.endpoints.iter().map(endpoint).collect()
    }

    /// Serves these endpoints from now on. The streams of those that are replaced or removed end; their running calls
    /// finish.
    pub(super) fn take(&self, next: EndpointsByName) {
        let former = std::mem::replace(&mut *self.0.lock(), next);
        let now = self.0.lock();
        for (name, former) in former {
            match now.get(&name) {
                Some(same) if Arc::ptr_eq(same, &former) => {}
                Some(_) => {
                    tracing::info!(
                        endpoint = name,
                        "it is served anew, because it or an upstream has changed"
                    );
                    former.stop.cancel();
                }
                None => {
                    tracing::info!(endpoint = name, "it is not served any more");
                    former.stop.cancel();
                }
            }
        }
    }

    /// The endpoints, for a listener.
    pub(super) fn services(&self) -> Vec<ServedEndpoint> {
        self.0.lock().values().map(|endpoint| endpoint.service.clone()).collect()
    }

    /// The watches of the definitions that the endpoints show.
    pub(super) fn definitions(&self) -> Vec<Arc<DefinitionWatch>> {
        self.0.lock().values().flat_map(|endpoint| endpoint.definitions.clone()).collect()
    }
}

impl RunningEndpoint {
    fn new(
        maker: &FlowMaker,
        (config, endpoint): (&Config, &CombinedEndpoint),
        (places, made_from): (&[Option<usize>], String),
        flow: impl Fn(usize) -> Option<Arc<AnyFlow>>,
    ) -> Self {
        let (stop, mut definitions) = (maker.stop.child_token(), Vec::new());
        let members = endpoint.upstreams.iter().zip(places).map(|(upstream, place)| {
            let place = (*place)?;
            let written = config.upstreams.iter().find(|written| written.name == upstream.name)?;
            let target = SharedUpstream(flow(place)?);
            let resource = endpoint.resource.as_str().into();
            let route = Route { resource, ..route(config, place, written) };
            let flow = maker.flow((route, target), config.server.audit_overflow, stop.clone());
            definitions.push(Arc::clone(flow.definitions()));
            Some(EndpointMember { flow, timeout: written.timeout })
        });
        let flow = Arc::new(CombinedFlow::new(endpoint, members.collect()));
        let service = ServedEndpoint::new(endpoint, flow, places.iter().flatten().copied().collect());
        Self { service, made_from, definitions, stop }
    }
}

/// The place of the upstream of this name, if `next` serves it.
fn place_of(upstream: &str, next: &Generation) -> Option<usize> {
    next.pipelines().iter().position(|pipeline| !pipeline.is_retired() && &*pipeline.upstream == upstream)
}
