//! The upstreams that a policy is for.

use std::sync::Arc;

use witgate_config::{Config, Upstream};

/// A list of policies in a pipeline.
#[derive(Clone, Copy)]
pub(super) enum PipelineList {
    Authenticate,
    Authorize,
}

/// The upstreams with a policy in this list of their pipeline.
pub(super) fn upstreams_of(config: &Config, policy: &str, list: PipelineList) -> Arc<[String]> {
    let has = |upstream: &&Upstream| {
        let names = match list {
            PipelineList::Authenticate => &upstream.pipeline.authenticate,
            PipelineList::Authorize => &upstream.pipeline.authorize,
        };
        names.iter().any(|name| name == policy)
    };
    config.upstreams.iter().filter(has).map(|upstream| upstream.name.clone()).collect()
}
