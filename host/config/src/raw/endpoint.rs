//! `[endpoints.NAME]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Several upstreams at one endpoint. Each of them is also served alone, at its own path.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointTable {
    /// The names of the upstreams, at least two. The first one answers what concerns no upstream.
    pub upstreams: Vec<String>,
    /// For upstreams, by name: patterns of the tools and prompts that keep their names here, and of the resources that
    /// are offered here. All other tools and prompts get the name of their upstream as a prefix: `NAME__tool`.
    pub owns: BTreeMap<String, Vec<String>>,
    /// The path of the endpoint, in place of `/NAME/mcp`.
    pub path: Option<String>,
    /// The resource identifier of the endpoint, which tokens need as their audience. Default: made from
    /// `server.resource` and the path.
    pub resource: Option<String>,
}
