//! The log of a command that runs a gateway.

use std::sync::Arc;

use clap::ValueEnum;

use super::context::Context;
use super::outcome::CommandFailure;
use witgate_runtime::log::Logs;

#[derive(Debug, clap::Args)]
pub(super) struct LogOption {
    /// Level of the log; the audit is not affected [default: RUST_LOG, else info]
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true, hide_default_value = true)]
    log_level: Option<LogLevel>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    Off,
    #[value(alias = "critical")]
    Error,
    #[value(alias = "warning")]
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The level in the form of `RUST_LOG`.
    fn filter(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl LogOption {
    /// Starts the log on standard error: over stdio, standard output belongs to the protocol.
    pub(super) fn start(&self, context: &Context) -> Result<Arc<Logs>, CommandFailure> {
        let level = self.log_level.map(LogLevel::filter);
        let logs = Logs::start(level.or(context.environment.get("RUST_LOG")), context.terminal.is_json());
        logs.map(Arc::new).map_err(|error| {
            CommandFailure::new(format!(
                "there is no log on standard error: {error}; raise the limits of the process"
            ))
        })
    }
}
