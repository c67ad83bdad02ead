//! `witgate log`.

use super::context::Context;
use super::control::show;
use super::outcome::{CommandFailure, Exit};
use crate::control::protocol::{ControlCommand, LogLevelReport};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the log level of the running Witgate, or change it until the next start
    Level {
        /// New level: off, error, warn, info, debug or trace; also targets, as in RUST_LOG (`info,hyper=debug`)
        level: Option<String>,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    let Command::Level { level } = command;
    show(context, &ControlCommand::LogLevel { level }, |report: &LogLevelReport| match &report.before {
        None => report.level.clone(),
        Some(before) => {
            format!("The log level is {} (before: {before}), until the next start.", report.level)
        }
    })
}
