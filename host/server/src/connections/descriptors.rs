//! The maximum number of connections under the limit of open file descriptors.

use witgate_config::{Config, Upstream, UpstreamTarget};
use witgate_runtime::descriptors;
use witgate_runtime::processes::CHILDREN;

/// The number of descriptors that are kept free for other uses than client connections: 64 connections at
/// `admin_listen`, the connections of the control socket, policies that ask servers (64 connections to each), files
/// that a reload reads, the pipes of a compiler, file watches and logs.
const RESERVE: u64 = 256;

/// The descriptors of one child process: three pipes and one for the process itself.
const OF_A_CHILD: u64 = 4;

/// The descriptors of one session with an SSE upstream: the event stream, and the connection for posted messages.
const OF_A_STREAM: u64 = 2;

/// The descriptors of the APIs of one upstream's processes: at most 256 connections of the processes, each with one to an
/// API.
const OF_APIS: u64 = 512;

/// The minimum number of connections, even if that leaves fewer descriptors for other uses.
const FEWEST: usize = 8;

/// Lowers `max_connections` to the number that the limit of descriptors leaves room for, and logs that.
pub fn bound_connections(config: &mut Config) {
    let (limit, wanted, most) =
        (descriptors::limit(), config.server.max_connections, possible_connections(config));
    if wanted > most {
        tracing::warn!(
            limit,
            max_connections = most,
            "the limit of open files leaves room for {most} connections, not {wanted}: raise it (`ulimit -n`, \
             `LimitNOFILE=`), or lower `server.max_connections`"
        );
    }
    config.server.max_connections = most;
}

/// `max_connections`, or the number that the limit of descriptors leaves room for.
pub fn possible_connections(config: &Config) -> usize {
    config.server.max_connections.min(most_connections(descriptors::limit(), config))
}

/// The number of connections that a limit of descriptors leaves room for.
pub fn most_connections(limit: u64, config: &Config) -> usize {
    let targets = || config.upstreams.iter().map(|upstream| &upstream.target);
    let commands = targets().filter(|target| matches!(target, UpstreamTarget::Command { .. })).count() as u64;
    let urls = targets().filter(|target| matches!(target, UpstreamTarget::Url { .. })).count() as u64;
    let streams = targets().filter(|target| matches!(target, UpstreamTarget::Sse { .. })).count() as u64;
    let children = (commands * OF_A_CHILD + streams * OF_A_STREAM).saturating_mul(CHILDREN.most as u64);
    // At most half of the limit, so that a low limit still leaves some connections.
    let has_apis = |upstream: &&Upstream| !upstream.credentials.of_children.apis.is_empty();
    let apis = config.upstreams.iter().filter(has_apis).count() as u64 * OF_APIS;
    let reserve = (RESERVE + children + apis).min(limit / 2);
    // A call to an HTTP upstream also needs a connection to it. With several such upstreams, a second connection may be
    // idle at another one.
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
