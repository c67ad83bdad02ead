//! `witgate serve`.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use witgate_component::engine_start::EngineStart;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::{Config, Transport};
use witgate_runtime::log::Logs;

/// Time limit for writing the last lines of the log; lines that are not written by then are lost.
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
    let engine = EngineStart::begin();
    let path = context.config_path();
    let (mut loaded, rollback) =
        crate::serve::load(path.as_deref(), &context.environment).map_err(CommandFailure::Config)?;
    apply(&mut loaded.config, arguments)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let (environment, logs) = (context.environment.clone(), Arc::clone(logs));
    runtime()?
        .block_on(crate::serve::run(loaded.config, rollback, environment, logs, engine))
        .map(|()| Exit::Done)
        .map_err(|error| match error.in_file(path.as_deref()) {
            Ok(faults) => CommandFailure::Config(faults),
            Err(other) => CommandFailure::new(other.to_string()),
        })
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
