//! The endpoints, documents and names of a listener: that which a reload replaces as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use super::metadata::Metadata;
use crate::hosts::Hosts;
use witgate_config::{Config, Server};
use witgate_message::headers::origin::AllowedNames;

/// The endpoints by their paths, and what is beside them.
pub(super) struct EndpointTable<E> {
    pub(super) endpoints: HashMap<String, Arc<E>>,
    pub(super) metadata: Metadata,
    pub(super) hosts: Hosts,
}

/// The host names of this server: the listen address, the hosts of the resources, and the allowed hosts.
pub fn names(config: &Config) -> AllowedNames {
    let upstreams = config.upstreams.iter().map(|upstream| upstream.resource.as_str());
    let endpoints = config.endpoints.iter().map(|endpoint| endpoint.resource.as_str());
    names_of(&config.server, upstreams.chain(endpoints))
}

/// The host names of a server with these resources.
pub(super) fn names_of<'a>(server: &Server, resources: impl Iterator<Item = &'a str>) -> AllowedNames {
    let listen = server.listen.ip();
    let listen = (!listen.is_unspecified()).then(|| listen.to_string());
    let resources: Vec<_> = resources.filter_map(|resource| url::Url::parse(resource).ok()).collect();
    let hosts = server.allowed_hosts.iter().map(String::as_str);
    let hosts = hosts.chain(listen.as_deref());
    let hosts = hosts.chain(resources.iter().filter_map(url::Url::host_str));
    AllowedNames::new(hosts, server.allowed_origins.iter().map(String::as_str)).on_port(server.listen.port())
}
