//! The log of a command that runs a gateway.

use std::sync::Arc;

use clap::ValueEnum;

use super::context::Context;
use super::outcome::CommandFailure;
use witgate_config::environment::Environment;
use witgate_runtime::log::Logs;

#[derive(Debug, clap::Args)]
pub(super) struct LogOption {
    /// Level of the log; the audit is not affected [default: RUST_LOG, else debug with MCP_DEBUG=true, else info]
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
        let logs = Logs::start(self.filter(&context.environment), context.terminal.is_json());
        logs.map(Arc::new).map_err(|error| {
            CommandFailure::new(format!(
                "there is no log on standard error: {error}; raise the limits of the process"
            ))
        })
    }

    /// The wanted filter: that of the option, of `RUST_LOG`, or of the switch that other MCP servers have.
    fn filter<'e>(&self, environment: &'e Environment) -> Option<&'e str> {
        let option = self.log_level.map(LogLevel::filter);
        let debugs = || environment.get("MCP_DEBUG").is_some_and(is_on);
        option.or(environment.get("RUST_LOG")).or_else(|| debugs().then_some(LogLevel::Debug.filter()))
    }
}

/// True if a switch is on. A log of debugging is a convenience, so that any other value is off.
fn is_on(switch: &str) -> bool {
    ["true", "1", "yes", "on"].iter().any(|on| switch.trim().eq_ignore_ascii_case(on))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_precedes_the_filter_and_the_filter_the_switch() {
        let of = |log_level, variables: &[(&str, &str)]| {
            let environment: Environment = variables.iter().copied().collect();
            LogOption { log_level }.filter(&environment).map(str::to_owned)
        };
        let both = [("RUST_LOG", "warn"), ("MCP_DEBUG", "true")];
        assert_eq!(of(Some(LogLevel::Error), &both).as_deref(), Some("error"));
        assert_eq!(of(None, &both).as_deref(), Some("warn"));
        for (switch, level) in [
            ("true", Some("debug")),
            ("TRUE", Some("debug")),
            ("1", Some("debug")),
            ("false", None),
            ("", None),
        ] {
            assert_eq!(of(None, &[("MCP_DEBUG", switch)]).as_deref(), level, "{switch}");
        }
        assert_eq!(of(None, &[]), None);
    }
}
