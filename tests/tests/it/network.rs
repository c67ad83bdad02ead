//! The network between Witgate and other servers: names, certificates, proxies.

mod certificates;
mod hosts;
mod peers;
mod proxies;
mod sizes;

use witgate_tests::gateway::{Running, Setup};
use witgate_tests::wire::{Answer, Request};

/// A policy that allows everything to everybody, and the upstream at `url`.
fn before(setup: &Setup, server: &str, url: &str, more: &str) {
    setup.config(
        server,
        &format!(
            "[upstreams.far]\nurl = '{url}'\n[policies.roles]\nkind = 'rbac'\n\
             [policies.roles.config.roles]\nguest = {{ allow = ['*'] }}\n\
             [pipeline]\nanonymous = {{ roles = ['guest'] }}\nauthorize = ['roles']\n{more}"
        ),
    );
}

fn list(gateway: &Running) -> Answer {
    Request::stateless(&gateway.address(), "/mcp", "tools/list", serde_json::json!({})).send()
}
