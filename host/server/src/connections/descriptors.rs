//! The limit of open file descriptors, as a number of connections.

use witgate_config::{Config, UpstreamTarget};
use witgate_runtime::descriptors;
use witgate_runtime::processes::CHILDREN;

/// Kept free for what is no call of a client's: 64 connections at `admin_listen`, those of the control socket, policies
/// that ask servers (64 to each), files that a reload reads, the pipes of a compiler, watches, logs.
const RESERVE: u64 = 256;

/// Three pipes and a descriptor of the process.
const OF_A_CHILD: u64 = 4;

/// A stream, and the connection of what is posted.
const OF_A_STREAM: u64 = 2;

/// The minimum number of connections, whatever is kept free.
const FEWEST: usize = 8;

/// Lowers `max_connections` to what there is room for.
pub fn bound_connections(config: &mut Config) {
    let limit = descriptors::limit();
    let most = most_connections(limit, config);
    let wanted = config.server.max_connections;
    if wanted > most {
        tracing::warn!(
            limit,
            max_connections = most,
            "the limit of open files leaves room for {most} connections, not {wanted}: raise it (`ulimit -n`, \
             `LimitNOFILE=`), or lower `server.max_connections`"
        );
        config.server.max_connections = most;
    }
}

fn most_connections(limit: u64, config: &Config) -> usize {
    let targets = || config.upstreams.iter().map(|upstream| &upstream.target);
    let commands = targets().filter(|target| matches!(target, UpstreamTarget::Command { .. })).count() as u64;
    let urls = targets().filter(|target| matches!(target, UpstreamTarget::Url { .. })).count() as u64;
    let streams = targets().filter(|target| matches!(target, UpstreamTarget::Sse { .. })).count() as u64;
    let children = (commands * OF_A_CHILD + streams * OF_A_STREAM).saturating_mul(CHILDREN.most as u64);
    // At most half, so that a low limit does not leave nothing.
    let reserve = (RESERVE + children).min(limit / 2);
    // A call to an upstream over HTTP takes a connection there, too; with several, one may idle at another meanwhile.
    let of_one = 1 + urls.min(2);
    usize::try_from((limit - reserve) / of_one).unwrap_or(usize::MAX).max(FEWEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use witgate_config::environment::Environment;
    use witgate_config::resolve;

    fn config(upstreams: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witgate.toml");
        let text = format!(
            "{upstreams}\n[policies.roles]\nkind = 'rbac'\n[policies.roles.config.roles]\npublic = {{ allow = ['*'] }}\n\
             [pipeline]\nauthorize = ['roles']\nanonymous = {{ roles = ['public'] }}\n"
        );
        std::fs::write(&path, text).unwrap();
        resolve::load(Some(&path), &Environment::default())
            .unwrap_or_else(|faults| panic!("{faults:?}"))
            .config
    }

    #[test]
    fn connections_leave_descriptors_for_other_uses() {
        let own = config("[upstreams.a]\nown_tools = true");
        let url = config("[upstreams.a]\nurl = 'http://127.0.0.1:1/mcp'");
        let both =
            config("[upstreams.a]\nurl = 'http://127.0.0.1:1/mcp'\n[upstreams.b]\ncommand = ['cat']\n");
        for (limit, config, expected) in [
            (1024, &own, 768),
            (1024, &url, 384),
            (1024, &both, 256),
            (1 << 20, &url, 524_160),
            (300, &both, 75),
            (4, &own, FEWEST),
        ] {
            assert_eq!(most_connections(limit, config), expected, "{limit}");
        }
    }
}
