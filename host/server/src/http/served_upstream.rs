//! An upstream that is served: its flow, and the settings of its endpoint.

use std::sync::Arc;

use witgate_config::{Denials, ResourceDescription, Upstream};
use witgate_flow::Flow;

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
