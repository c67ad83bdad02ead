//! `witgate serve`.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::{Context, Exit, Failure, runtime};
use crate::config::diagnostic::Diagnostic;
use crate::config::resolve::{fault_at, policy_fault};
use crate::config::{Config, Transport};
use crate::policy::PolicyError;
use crate::serve::ServeError;
use crate::upstream::http::SetUpError;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Meet clients over this transport, whatever the configuration says
    #[arg(long, value_enum)]
    transport: Option<Chosen>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Chosen {
    Http,
    Stdio,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, Failure> {
    log(context);
    crate::descriptors::raise();
    let path = context.config_path();
    let (mut loaded, rollback) =
        crate::serve::load(path.as_deref(), &context.environment).map_err(Failure::Config)?;
    apply(&mut loaded.config, arguments)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?
        .block_on(crate::serve::run(loaded.config, rollback, context.environment.clone()))
        .map(|()| Exit::Done)
        .map_err(|error| failure(context, error))
}

/// A policy that cannot be used is a bad configuration, and is shown where it stands in the file.
fn failure(context: &Context, error: ServeError) -> Failure {
    match error {
        ServeError::Policies(errors) => {
            let path = context.config_path();
            let fault = |error: &PolicyError| policy_fault(path.as_deref(), &error.policy, &error.message);
            Failure::Config(errors.iter().map(fault).collect())
        }
        ServeError::Upstream { upstream, error: error @ SetUpError::Embedded } => {
            let at = ["upstreams", &upstream, "embedded"];
            Failure::Config(vec![fault_at(context.config_path().as_deref(), &at, &error.to_string())])
        }
        ServeError::Tls(error) => {
            let at = ["server", "tls", error.setting];
            Failure::Config(vec![fault_at(context.config_path().as_deref(), &at, &error.message)])
        }
        other => Failure::new(other.to_string()),
    }
}

fn apply(config: &mut Config, arguments: &Arguments) -> Result<(), Failure> {
    match arguments.transport {
        None => {}
        Some(Chosen::Http) => config.server.transport = Transport::Http,
        Some(Chosen::Stdio) if config.upstreams.len() > 1 => {
            let message = "over stdio there is one upstream, because there is one stream";
            let fault = Diagnostic::error(message)
                .help("leave `--transport stdio` out, or name a configuration with one upstream");
            return Err(Failure::Config(vec![fault]));
        }
        Some(Chosen::Stdio) => config.server.transport = Transport::Stdio,
    }
    Ok(())
}

/// Logs go to standard error: over stdio, standard output belongs to the protocol. Each line is one write, before
/// its call is answered, and passes by the lock of `std::io::stderr`, which the workers would queue for.
fn log(context: &Context) {
    let filter = EnvFilter::try_new(context.environment.get("RUST_LOG").unwrap_or("info"))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr())
        .with_ansi(std::io::stderr().is_terminal());
    // Whoever has set up a log already keeps it.
    drop(match context.terminal.is_json() {
        true => lines.json().try_init(),
        false => lines.try_init(),
    });
}

fn stderr() -> BoxMakeWriter {
    match std::io::stderr().as_fd().try_clone_to_owned() {
        Ok(descriptor) => BoxMakeWriter::new(File::from(descriptor)),
        Err(_) => BoxMakeWriter::new(std::io::stderr),
    }
}
