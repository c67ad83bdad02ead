//! An endpoint that is served: the flow of its messages, and its settings.

use std::sync::Arc;

use super::served_flow::ServedFlow;
use super::served_upstream::ServedUpstream;
use witgate_config::{CombinedEndpoint, Denials, ResourceDescription};
use witgate_flow::endpoint_flow::EndpointFlow;
use witgate_flow::port::Upstream;

/// An endpoint of one upstream, or of several, with its settings.
pub struct ServedEndpoint<U> {
    pub(super) flow: ServedFlow<U>,
    pub(super) path: String,
    pub(super) resource: String,
    pub(super) about: ResourceDescription,
    pub(super) denials: Denials,
    /// The places of the pipelines of its upstreams, which have the same authenticators.
    pub(super) places: Vec<usize>,
}

impl<U> ServedEndpoint<U> {
    /// The endpoint of several upstreams, whose pipelines are at `places`, with the flow of its messages.
    pub fn of_several(config: &CombinedEndpoint, places: Vec<usize>, flow: Arc<dyn EndpointFlow>) -> Self {
        let CombinedEndpoint { path, resource, about, denials, .. } = config;
        let (path, resource) = (path.clone(), resource.clone());
        let flow = ServedFlow::Several(flow);
        Self { flow, path, resource, about: about.clone(), denials: *denials, places }
    }
}

impl<U: Upstream> From<ServedUpstream<U>> for ServedEndpoint<U> {
    fn from(upstream: ServedUpstream<U>) -> Self {
        let places = vec![upstream.flow.place()];
        let ServedUpstream { flow, path, resource, about, denials, .. } = upstream;
        Self { flow: ServedFlow::One(flow), path, resource, about, denials, places }
    }
}

impl<U> Clone for ServedEndpoint<U> {
    fn clone(&self) -> Self {
        let Self { flow, path, resource, about, denials, places } = self;
        let (path, resource) = (path.clone(), resource.clone());
        Self {
            flow: flow.clone(),
            path,
            resource,
            about: about.clone(),
            denials: *denials,
            places: places.clone(),
        }
    }
}
