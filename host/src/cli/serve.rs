//! `witgate serve`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::context::Context;
use super::log_option::LogOption;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use crate::reload::rollback::Rollback;
use witgate_component::engine_start::EngineStart;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::resolve::LoadedConfig;
use witgate_config::{Config, Transport};
use witgate_runtime::core_dumps;
use witgate_runtime::log::Logs;

/// Time limit for writing the last lines of the log; lines that are not written by then are lost.
const LONGEST_FLUSH: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Use this transport instead of the configured one
    #[arg(long, value_enum)]
    transport: Option<TransportOption>,
    #[command(flatten)]
    log: LogOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TransportOption {
    Http,
    Stdio,
}

/// A configuration to serve, and its origin.
pub(super) struct ServeInputs {
    pub(super) loaded: LoadedConfig,
    /// The rollback that the configuration is of, if any.
    pub(super) rollback: Option<Rollback>,
    /// The configuration file. None: there is none.
    pub(super) path: Option<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    run_logged(context, &arguments.log, || {
        let path = context.config_path();
        let (mut loaded, rollback) =
            crate::serve::load(path.as_deref(), &context.environment).map_err(CommandFailure::Config)?;
        apply(&mut loaded.config, arguments)?;
        loaded.warnings.extend(misspelt(&loaded.config));
        Ok(ServeInputs { loaded, rollback, path })
    })
}

/// Serves what `load` returns, with a log.
pub(super) fn run_logged(
    context: &Context,
    log: &LogOption,
    load: impl FnOnce() -> Result<ServeInputs, CommandFailure>,
) -> Result<Exit, CommandFailure> {
    let logs = log.start(context)?;
    witgate_runtime::descriptors::raise();
    // Before a secret is read.
    if let Err(error) = core_dumps::forbid() {
        tracing::warn!(%error, "a core dump of this process would contain its secrets");
    }
    let engine = EngineStart::begin();
    let outcome = load().and_then(|served| serve(context, served, &logs, engine));
    logs.flush(LONGEST_FLUSH);
    outcome
}

fn serve(
    context: &Context,
    served: ServeInputs,
    logs: &Arc<Logs>,
    engine: EngineStart,
) -> Result<Exit, CommandFailure> {
    let ServeInputs { loaded, rollback, path } = served;
    if loaded.config.secrets.are_core_dumps_permitted()
        && let Err(error) = core_dumps::permit()
    {
        tracing::warn!(%error, "core dumps are not possible");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    loaded.config.secrets.remember_store();
    let (environment, logs) = (context.environment.clone(), Arc::clone(logs));
    runtime()?
        .block_on(crate::serve::run(loaded.config, rollback, environment, logs, engine))
        .map(|()| Exit::Done)
        .map_err(|error| match error.in_file(path.as_deref()) {
            Ok(faults) => CommandFailure::Config(faults),
            Err(other) => CommandFailure::new(other.to_string()),
        })
}

/// Over stdio, the client's credential is in the environment. The variables that the file names are not misspelt.
fn misspelt(config: &Config) -> Vec<Diagnostic> {
    if config.path.is_none() || config.server.transport != Transport::Stdio {
        return Vec::new();
    }
    let others = config.environment.misspelt().filter(|(name, _)| !config.text.contains(name));
    others.map(|(_, fault)| fault).collect()
}

fn apply(config: &mut Config, arguments: &Arguments) -> Result<(), CommandFailure> {
    match arguments.transport {
        None => {}
        Some(TransportOption::Http) => config.server.transport = Transport::Http,
        Some(TransportOption::Stdio) if config.upstreams.len() > 1 && !is_one_endpoint(config) => {
            let message = "over stdio there is one upstream, because there is one stream";
            let fault = Diagnostic::error(message)
                .help("leave `--transport stdio` out, or name a configuration with one upstream, or with one endpoint for all");
            return Err(CommandFailure::Config(vec![fault]));
        }
        Some(TransportOption::Stdio) => config.server.transport = Transport::Stdio,
    }
    Ok(())
}

/// True if all upstreams are at one endpoint.
fn is_one_endpoint(config: &Config) -> bool {
    matches!(config.endpoints.as_slice(), [endpoint] if endpoint.upstreams.len() == config.upstreams.len())
}
