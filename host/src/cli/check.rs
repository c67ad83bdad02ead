//! `witgate check`.

use serde_json::json;

use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::runtime::runtime;
use super::terminal::{counted, to_json};
use crate::control::place;
use witgate_base::clock::Clock;
use witgate_cases::factory::Factory;
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::environment::Environment;
use witgate_config::{Config, Transport, resolve};
use witgate_server::tls::TlsState;

pub(super) fn run(context: &Context) -> Result<Exit, CommandFailure> {
    let path = context.config_path();
    let (config, diagnostics) = match resolve::load(path.as_deref(), &context.environment) {
        Ok(loaded) => {
            let mut diagnostics = loaded.warnings;
            diagnostics.extend(tls(&loaded.config));
            diagnostics.extend(control(context, &loaded.config));
            diagnostics.extend(runtime()?.block_on(policies(&context.environment, &loaded.config))?);
            (Some(loaded.config), diagnostics)
        }
        Err(diagnostics) => (None, diagnostics),
    };
    let errors = diagnostics.iter().filter(|fault| fault.is_error()).count();
    report(context, config.as_ref(), &diagnostics, errors);
    Ok(if errors == 0 { Exit::Done } else { Exit::No })
}

/// Checks the files of `[server.tls]`.
fn tls(config: &Config) -> Option<Diagnostic> {
    let error = TlsState::load(config.server.tls.clone()?).err()?;
    Some(resolve::fault_at(config.path.as_deref(), &["server", "tls", error.setting], &error.message))
}

/// Checks that `serve`, run by this user, could create the control socket.
fn control(context: &Context, config: &Config) -> Option<Diagnostic> {
    let wanted = config.server.control.as_ref().filter(|_| config.server.transport == Transport::Http)?;
    let fault = place::fault(wanted, &context.environment)?;
    Some(match wanted.is_given {
        true => resolve::fault_at(config.path.as_deref(), &["server", "control"], &fault),
        false => Diagnostic::warning(fault),
    })
}

/// Finds the faults that show only when every policy is built: components that do not compile or import more than is
/// granted, and settings that a plugin refuses.
pub(super) async fn policies(
    environment: &Environment,
    config: &Config,
) -> Result<Vec<Diagnostic>, CommandFailure> {
    let engine = Engine::new().map_err(|error| CommandFailure::new(error.to_string()))?;
    let factory =
        Factory::new(Loader::new(engine, Compiler::own(), None), environment.clone(), Clock::System);
    match factory.candidate(config, None).await {
        Ok(_) => Ok(Vec::new()),
        Err(errors) => {
            let path = config.path.as_deref();
            Ok(errors
                .iter()
                .map(|error| resolve::policy_fault(path, &error.policy, &error.message))
                .collect())
        }
    }
}

fn report(context: &Context, config: Option<&Config>, diagnostics: &[Diagnostic], errors: usize) {
    let terminal = &context.terminal;
    if terminal.is_json() {
        return terminal.print_json(&json!({ "ok": errors == 0, "diagnostics": to_json(diagnostics) }));
    }
    terminal.diagnose(diagnostics);
    let warnings = counted(diagnostics.len() - errors, "warning");
    match config.filter(|_| errors == 0) {
        Some(config) => {
            let name = config
                .path
                .as_ref()
                .map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
            let (upstreams, policies) = (counted(config.upstreams.len(), "upstream"), config.policies.len());
            let policies = if policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") };
            terminal.print(&format!("{name} is valid: {upstreams}, {policies}, {warnings}"));
        }
        None => terminal.print(&format!("{}, {warnings}", counted(errors, "error"))),
    }
}
