//! `witgate serve`.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use crate::serve::ServeError;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::{fault_at, policy_fault};
use witgate_config::{Config, Transport};
use witgate_policy::PolicyError;
use witgate_runtime::log::Logs;
use witgate_upstream::http::SetUpError;

/// Lines that nobody has taken after this time at the end are lost.
const LONGEST_FLUSH: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Use this transport instead of the configured one
    #[arg(long, value_enum)]
    transport: Option<TransportOption>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TransportOption {
    Http,
    Stdio,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let logs = logs(context)?;
    witgate_runtime::descriptors::raise();
    let served = serve(context, arguments, &logs);
    logs.flush(LONGEST_FLUSH);
    served
}

fn serve(context: &Context, arguments: &Arguments, logs: &Arc<Logs>) -> Result<Exit, CommandFailure> {
    let path = context.config_path();
    let (mut loaded, rollback) =
        crate::serve::load(path.as_deref(), &context.environment).map_err(CommandFailure::Config)?;
    apply(&mut loaded.config, arguments)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?
        .block_on(crate::serve::run(loaded.config, rollback, context.environment.clone(), Arc::clone(logs)))
        .map(|()| Exit::Done)
        .map_err(|error| failure(context, error))
}

/// A policy that cannot be used is a bad configuration, and is shown where it is in the file.
fn failure(context: &Context, error: ServeError) -> CommandFailure {
    match error {
        ServeError::Policies(errors) => {
            let path = context.config_path();
            let fault = |error: &PolicyError| policy_fault(path.as_deref(), &error.policy, &error.message);
            CommandFailure::Config(errors.iter().map(fault).collect())
        }
        ServeError::Upstream { upstream, error: error @ SetUpError::Embedded } => {
            let at = ["upstreams", &upstream, "embedded"];
            CommandFailure::Config(vec![fault_at(context.config_path().as_deref(), &at, &error.to_string())])
        }
        ServeError::Tls(error) => {
            let at = ["server", "tls", error.setting];
            CommandFailure::Config(vec![fault_at(context.config_path().as_deref(), &at, &error.message)])
        }
        other => CommandFailure::new(other.to_string()),
    }
}

fn apply(config: &mut Config, arguments: &Arguments) -> Result<(), CommandFailure> {
    match arguments.transport {
        None => {}
        Some(TransportOption::Http) => config.server.transport = Transport::Http,
        Some(TransportOption::Stdio) if config.upstreams.len() > 1 => {
            let message = "over stdio there is one upstream, because there is one stream";
            let fault = Diagnostic::error(message)
                .help("leave `--transport stdio` out, or name a configuration with one upstream");
            return Err(CommandFailure::Config(vec![fault]));
        }
        Some(TransportOption::Stdio) => config.server.transport = Transport::Stdio,
    }
    Ok(())
}

/// Logs go to standard error: over stdio, standard output belongs to the protocol.
fn logs(context: &Context) -> Result<Arc<Logs>, CommandFailure> {
    let logs = Logs::start(context.environment.get("RUST_LOG"), context.terminal.is_json());
    logs.map(Arc::new).map_err(|error| {
        CommandFailure::new(format!(
            "there is no log on standard error: {error}; raise the limits of the process"
        ))
    })
}
