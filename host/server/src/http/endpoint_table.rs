//! The endpoints, documents and names of a listener: that which a reload replaces as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use super::metadata::Metadata;
use super::served_upstream::ServedUpstream;
use crate::hosts::Hosts;
use witgate_config::Server;
use witgate_message::headers::origin::AllowedNames;

/// The endpoints by their paths, and what is beside them.
pub(super) struct EndpointTable<E> {
    pub(super) endpoints: HashMap<String, Arc<E>>,
    pub(super) metadata: Metadata,
    pub(super) hosts: Hosts,
}

impl<E> EndpointTable<E> {
    /// A table of one endpoint for each of `served`.
    pub(super) fn new<U>(
        server: &Server,
        served: &[ServedUpstream<U>],
        metadata: Metadata,
        endpoint: impl Fn(&ServedUpstream<U>, &Metadata) -> E,
    ) -> Self {
        let endpoints =
            served.iter().map(|served| (served.path.clone(), Arc::new(endpoint(served, &metadata))));
        Self { endpoints: endpoints.collect(), hosts: Hosts::new(names(server, served), "listen"), metadata }
    }
}

/// The host names of this server: the listen address, the hosts of the resources, and the allowed hosts.
fn names<U>(server: &Server, served: &[ServedUpstream<U>]) -> AllowedNames {
    let listen = server.listen.ip();
    let listen = (!listen.is_unspecified()).then(|| listen.to_string());
    let resources: Vec<_> =
        served.iter().filter_map(|upstream| url::Url::parse(&upstream.resource).ok()).collect();
    let hosts = server.allowed_hosts.iter().map(String::as_str);
    let hosts = hosts.chain(listen.as_deref());
    let hosts = hosts.chain(resources.iter().filter_map(url::Url::host_str));
    AllowedNames::new(hosts, server.allowed_origins.iter().map(String::as_str)).on_port(server.listen.port())
}
