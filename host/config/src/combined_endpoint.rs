//! `[endpoints.NAME]`, resolved.

use witgate_plugin::Pattern;

use crate::{Denials, ResourceDescription};

/// The end of the prefix of a name, after the name of its upstream. All clients and models accept letters, digits, `_`
/// and `-` in names of tools; many accept nothing else.
pub const PREFIX_END: &str = "__";

/// Several upstreams at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CombinedEndpoint {
    /// The endpoint's name.
    pub name: String,
    /// The HTTP path, which begins with `/`.
    pub path: String,
    /// The resource identifier: the audience of tokens and the RFC 9728 `resource`.
    pub resource: String,
    /// The description in the metadata.
    pub about: ResourceDescription,
    /// The upstreams, in the order of the configuration. All of them accept the same credentials.
    pub upstreams: Vec<EndpointUpstream>,
    /// The form of denials at all of them.
    pub denials: Denials,
}

/// An upstream at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUpstream {
    /// The upstream's name, which is the prefix of its names.
    pub name: String,
    /// The names without a prefix, and the resources.
    pub owns: Vec<Pattern>,
    /// These patterns as they are written.
    pub written: Vec<String>,
    /// True if some of these patterns are for resources.
    pub offers_resources: bool,
}
