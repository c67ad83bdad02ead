//! The limit of open files, against the number of connections that the configuration promises.

use super::finding::CheckFinding;
use super::installation::Installation;
use witgate_config::Transport;
use witgate_runtime::descriptors;
use witgate_server::connections::descriptors::most_connections;

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    if installation.config.server.transport != Transport::Http {
        return Vec::new();
    }
    // As `serve` does it at its start.
    descriptors::raise();
    vec![judge(installation, descriptors::limit())]
}

fn judge(installation: &Installation, limit: u64) -> CheckFinding {
    let config = &installation.config;
    let (wanted, most) = (config.server.max_connections, most_connections(limit, config));
    if wanted <= most {
        return CheckFinding::pass(format!("{limit} open files are enough for {wanted} connections"));
    }
    CheckFinding::warn(format!("{limit} open files leave room for {most} connections, not {wanted}"))
        .because("`serve` accepts no more connections than that")
        .fix("raise the limit of the user or the service (`ulimit -n`, `LimitNOFILE=`), or lower `max_connections`")
        .at(installation.place(&["server", "max_connections"]))
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::super::installation::tests::{OPEN, installed};
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_for_the_connections_is_a_warning() {
        let text = format!("[server]\nmax_connections = 1000\n[upstreams.a]\nown_tools = true\n{OPEN}");
        let (_folder, installation) = installed(&text);
        assert_eq!(judge(&installation, 4096).level, FindingLevel::Pass);
        let low = judge(&installation, 1024);
        assert!(low.message.contains("leave room for 768 connections, not 1000"), "{low:?}");
        assert_eq!(low.place.unwrap().line, 2);
    }
}
