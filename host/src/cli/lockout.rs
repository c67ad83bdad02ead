//! `witgate lockout`: the pauses after failed authentications.

use std::net::IpAddr;

use super::context::Context;
use super::control::show;
use super::outcome::{CommandFailure, Exit};
use super::terminal::{counted, table};
use crate::control::protocol::{ClearedLockouts, ControlCommand, LockoutReport, LockoutStatus};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the networks and credentials with failed authentications, and their pauses
    List,
    /// Forget the failed authentications of an address, or all of them
    Clear(Clear),
}

#[derive(Debug, clap::Args)]
pub(super) struct Clear {
    /// Address whose network to clear; absent: everything, credentials included
    address: Option<IpAddr>,
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::List => show(context, &ControlCommand::LockoutList, listing),
        Command::Clear(Clear { address }) => {
            let command =
                ControlCommand::LockoutClear { address: address.map(|address| address.to_string()) };
            show(context, &command, |cleared: &ClearedLockouts| match cleared.cleared {
                0 => "There was nothing to forget.".to_owned(),
                number => format!("Forgot the failures of {}.", counted(number, "network or credential")),
            })
        }
    }
}

fn listing(report: &LockoutReport) -> String {
    match (report.locked.is_empty(), report.is_configured) {
        (true, true) => return "Nobody has failed to authenticate lately.".to_owned(),
        (true, false) => {
            return "There is no lockout; add `[lockout]` to the configuration.".to_owned();
        }
        _ => {}
    }
    let rows: Vec<_> = report.locked.iter().map(row).collect();
    table(&["OF", "FAILURES", "PAUSE_S"], &rows)
}

fn row(locked: &LockoutStatus) -> Vec<String> {
    let of = locked.network.clone().unwrap_or_else(|| "a credential".to_owned());
    vec![of, locked.failures.to_string(), locked.rest_s.to_string()]
}
