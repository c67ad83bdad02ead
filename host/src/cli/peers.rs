//! `witgate peers`: the networks that may not connect.

use super::context::Context;
use super::control::show;
use super::outcome::{CommandFailure, Exit};
use crate::control::protocol::{ControlCommand, DeniedPeersReport};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Refuse connections and requests from an address or a network, until Witgate stops
    Deny(NetworkArgument),
    /// End a denial of `peers deny`
    Allow(NetworkArgument),
    /// List the denied networks
    List,
}

#[derive(Debug, clap::Args)]
pub(super) struct NetworkArgument {
    /// Address, such as 192.0.2.7, or network, such as 192.0.2.0/24
    network: String,
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    let command = match command {
        Command::Deny(NetworkArgument { network }) => ControlCommand::PeersDeny { network },
        Command::Allow(NetworkArgument { network }) => ControlCommand::PeersAllow { network },
        Command::List => ControlCommand::PeersList,
    };
    show(context, &command, listing)
}

fn listing(report: &DeniedPeersReport) -> String {
    let by_file = report.configured.iter().map(|network| format!("{network}  (server.deny_peers)"));
    let lines: Vec<_> = by_file.chain(report.denied.iter().cloned()).collect();
    if lines.is_empty() { "No network is denied.".to_owned() } else { lines.join("\n") }
}
