//! What is served: the flows of upstreams and of endpoints, and the settings of their endpoints.

use std::sync::Arc;

use witgate_config::{CombinedEndpoint, Denials, ResourceDescription, Upstream};
use witgate_flow::Flow;
use witgate_flow::endpoint_flow::EndpointFlow;

/// An upstream that is served, with the settings of its endpoint, which stay the same as long as it is.
pub struct ServedUpstream<U> {
    /// The path of all its messages.
    pub flow: Arc<Flow<U>>,
    name: String,
    pub(super) path: String,
    pub(super) resource: String,
    pub(super) about: ResourceDescription,
    pub(super) denials: Denials,
}

/// An endpoint with several upstreams that is served.
#[derive(Clone)]
pub struct ServedEndpoint {
    /// The path of all its messages.
    pub flow: Arc<dyn EndpointFlow>,
    name: String,
    pub(super) path: String,
    pub(super) resource: String,
    pub(super) about: ResourceDescription,
    pub(super) denials: Denials,
    /// The places of its upstreams that are served, which have the same authenticators.
    pub(super) places: Arc<[usize]>,
}

/// All that a listener serves.
pub struct EndpointServices<U> {
    /// The upstreams that have an endpoint of their own.
    pub upstreams: Vec<ServedUpstream<U>>,
    /// The endpoints with several of these upstreams.
    pub endpoints: Vec<ServedEndpoint>,
}

impl<U> EndpointServices<U> {
    /// The resources of all endpoints.
    pub(super) fn resources(&self) -> impl Iterator<Item = &str> {
        let upstreams = self.upstreams.iter().map(|served| served.resource.as_str());
        upstreams.chain(self.endpoints.iter().map(|served| served.resource.as_str()))
    }
}

impl ServedEndpoint {
    /// The endpoint of `config` behind `flow`, with the places of its upstreams that are served.
    pub fn new(config: &CombinedEndpoint, flow: Arc<dyn EndpointFlow>, places: Arc<[usize]>) -> Self {
        let CombinedEndpoint { name, path, resource, about, denials, .. } = config;
        let (name, path, resource) = (name.clone(), path.clone(), resource.clone());
        Self { flow, name, path, resource, about: about.clone(), denials: *denials, places }
    }

    /// The endpoint's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl<U> ServedUpstream<U> {
    /// The upstream of `config` behind `flow`.
    pub fn new(config: &Upstream, flow: Arc<Flow<U>>) -> Self {
        let Upstream { name, path, resource, about, denials, .. } = config;
        let (name, path, resource) = (name.clone(), path.clone(), resource.clone());
        Self { flow, name, path, resource, about: about.clone(), denials: *denials }
    }

    /// The upstream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of its endpoint.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl<U> Clone for ServedUpstream<U> {
    fn clone(&self) -> Self {
        let Self { flow, name, path, resource, about, denials } = self;
        let (name, path, resource) = (name.clone(), path.clone(), resource.clone());
        Self { flow: Arc::clone(flow), name, path, resource, about: about.clone(), denials: *denials }
    }
}
