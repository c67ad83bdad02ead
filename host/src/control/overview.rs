//! The access to a running Witgate, for `witgate status`.

use std::sync::Arc;

use super::definitions::{UpstreamPins, of_pipeline};
use super::protocol::{EndpointSummary, Overview, PolicyStatus, PolicySummary, UpstreamSummary};
use super::status::{StatusReader, seconds};
use witgate_config::{CombinedEndpoint, PolicyKind};
use witgate_flow::definitions::DefinitionWatches;
use witgate_policy::Policy;
use witgate_policy::generation::{Generation, Pipeline};

/// The access at this moment.
pub(super) fn overview(
    status: &StatusReader,
    live: &Generation,
    (watches, endpoints): (&DefinitionWatches, &[EndpointSummary]),
) -> Overview {
    let upstreams: Vec<_> =
        live.served().map(|pipeline| upstream(pipeline, of_pipeline(pipeline, watches))).collect();
    let knows_keys = |policy: &Policy| policy.kind() == PolicyKind::ApiKey && policy.authenticates();
    Overview {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        auth_enabled: upstreams.iter().all(|upstream| upstream.requires_credential),
        api_key_configured: live.policies().any(|policy| knows_keys(policy)),
        generation: live.number(),
        since: seconds(live.since()),
        whole: live.is_whole(),
        policies: status.policies(live).into_iter().map(policy).collect(),
        upstreams,
        endpoints: endpoints.to_vec(),
    }
}

/// Summaries of endpoints.
pub(crate) fn endpoints<'a>(written: impl Iterator<Item = &'a CombinedEndpoint>) -> Vec<EndpointSummary> {
    let summary = |endpoint: &CombinedEndpoint| EndpointSummary {
        name: endpoint.name.clone(),
        path: endpoint.path.clone(),
        upstreams: endpoint.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
    };
    written.map(summary).collect()
}

fn policy(status: PolicyStatus) -> PolicySummary {
    PolicySummary { name: status.name, kind: status.kind, state: status.state }
}

fn upstream(pipeline: &Pipeline, UpstreamPins { pins, unapproved, .. }: UpstreamPins) -> UpstreamSummary {
    let names = |policies: &[Arc<Policy>]| policies.iter().map(|policy| policy.name().to_string()).collect();
    UpstreamSummary {
        name: pipeline.upstream.to_string(),
        requires_credential: pipeline.anonymous.is_none() && !pipeline.unchecked,
        authenticate: names(&pipeline.authenticate),
        authorize: names(&pipeline.authorize),
        closed: pipeline.closed.as_ref().map(|closed| format!("{}: {}", closed.name, closed.reason)),
        pins,
        unapproved,
    }
}
