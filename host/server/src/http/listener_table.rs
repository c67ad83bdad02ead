//! The endpoints, documents and names of a listener: that which a reload replaces as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use super::metadata::Metadata;
use super::served_endpoint::ServedEndpoint;
use crate::hosts::Hosts;
use witgate_config::Server;
use witgate_message::headers::origin::AllowedNames;

/// The endpoints by their paths, and what is beside them.
pub(super) struct ListenerTable<E> {
    pub(super) endpoints: HashMap<String, Arc<E>>,
    pub(super) metadata: Metadata,
    pub(super) hosts: Hosts,
}

impl<E> ListenerTable<E> {
    /// A table of one endpoint for each of `served`.
    pub(super) fn new<U>(
        server: &Server,
        served: &[ServedEndpoint<U>],
        metadata: Metadata,
        endpoint: impl Fn(&ServedEndpoint<U>, &Metadata) -> E,
    ) -> Self {
        let endpoints =
            served.iter().map(|served| (served.path.clone(), Arc::new(endpoint(served, &metadata))));
        let names = names(server, served.iter().map(|endpoint| endpoint.resource.as_str()));
        Self { endpoints: endpoints.collect(), hosts: Hosts::new(names, "listen"), metadata }
    }
}

/// The host names of this server: the listen address, the hosts of the resources, and the allowed hosts.
pub fn names<'a>(server: &Server, resources: impl Iterator<Item = &'a str>) -> AllowedNames {
    let listen = server.listen.ip();
    let listen = (!listen.is_unspecified()).then(|| listen.to_string());
    let resources: Vec<_> = resources.filter_map(|resource| url::Url::parse(resource).ok()).collect();
    let hosts = server.allowed_hosts.iter().map(String::as_str);
    let hosts = hosts.chain(listen.as_deref());
    let hosts = hosts.chain(resources.iter().filter_map(url::Url::host_str));
    AllowedNames::new(hosts, server.allowed_origins.iter().map(String::as_str)).on_port(server.listen.port())
}
