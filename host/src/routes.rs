//! The routes to upstreams, by the places of their pipelines.

use std::sync::Arc;

use witgate_config::Config;
use witgate_flow::request::Route;

/// The route to the upstream at `place` of `config`.
pub(crate) fn route(config: &Config, place: usize, upstream: &witgate_config::Upstream) -> Route {
    Route {
        upstream: upstream.name.as_str().into(),
        resource: upstream.resource.as_str().into(),
        pipeline: place,
        extensions: config.server.extensions.clone(),
        advertise_auth: config.server.advertise_auth,
        disagreements: None,
    }
}

/// The routes to all upstreams of a configuration.
pub(crate) fn routes(config: &Config) -> Vec<Arc<Route>> {
    let upstreams = config.upstreams.iter().enumerate();
    upstreams.map(|(place, upstream)| Arc::new(route(config, place, upstream))).collect()
}
