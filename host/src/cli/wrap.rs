//! `witgate wrap`.

use super::context::Context;
use super::log_option::LogOption;
use super::outcome::{CommandFailure, Exit};
use super::serve::{self, ServeInputs};
use witgate_config::resolve::{WrappedServer, load_wrapped};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Environment variable that the server gets; may be repeated [default: PATH, HOME and the like only]
    #[arg(long = "env", value_name = "NAME")]
    passed: Vec<String>,
    #[command(flatten)]
    log: LogOption,
    /// The server: its program and arguments, after `--`
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    if context.config.is_some() {
        return Err(CommandFailure::new(
            "`wrap` uses no configuration file; leave `--config` out, or use `serve`",
        ));
    }
    let Arguments { passed, log, command } = arguments;
    let server = WrappedServer { command: command.clone(), passed: passed.clone() };
    serve::run_logged(context, log, || {
        let loaded = load_wrapped(&server, &context.environment).map_err(CommandFailure::Config)?;
        Ok(ServeInputs { loaded, rollback: None, path: None })
    })
}
