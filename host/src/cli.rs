//! The `witgate` command: one file per command. What a program may want to read goes to standard
//! output, everything else to standard error.

mod check;
mod config;
mod demo;
mod in_force;
mod init;
mod key;
mod plugin;
mod serve;
mod terminal;
mod token;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::diagnostic::Diagnostic;
use crate::config::environment::Environment;
use crate::config::resolve::{Loaded, load};
use crate::plugin::compile;
use terminal::Terminal;

/// Authenticate and authorize calls to MCP servers, with plugins that can be swapped while it runs
#[derive(Debug, Parser)]
#[command(name = "witgate", version, about = "Authenticate and authorize calls to MCP servers, with plugins that can be swapped while it runs", after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file [default: WITGATE_CONFIG, else witgate.toml]
    // Not clap's `env`: an empty variable is no file, and tests hand in their own environment.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print JSON for programs
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
To begin:
  witgate init                    write a starter configuration and create a key
  witgate check                   check it
  witgate serve                   guard the MCP server that it names
  witgate key create NAME --role user --allow 'get-*'
                                  create a key for a caller

Exit codes: 0 done; 1 the answer is no; 2 usage; 64 and up could not run (65: a bad file, 75: written but not in force, 78: bad configuration).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until it is stopped
    Serve(serve::Arguments),
    /// Check the configuration and report every fault
    Check,
    /// Write a starter configuration, create a first key, and print the snippet for Claude Desktop
    Init(init::Arguments),
    /// Run a demo in front of a real MCP server
    Demo(demo::Arguments),
    /// Create, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Issue, verify and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Create, build and test plugins; show and control the policies of a running Witgate
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Print the configuration's schema, or the effective configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Compile the component on standard input; `serve` starts this command
    #[command(name = compile::COMMAND, hide = true)]
    CompileComponent,
}

/// The outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It has done what it was asked to.
    Done,
    /// The answer is no.
    No,
    /// It could not run.
    CouldNotRun,
    /// A file that the command is about is bad.
    BadData,
    /// The change is written but not in force in the running Witgate.
    NotInForce,
    /// The configuration is bad.
    BadConfig,
    /// As the compiler says, to the Witgate that has started it.
    Compiled(u8),
}

impl Exit {
    /// The code for the shell. From 64 on they are those of `sysexits.h`.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::BadData => 65,
            Self::CouldNotRun => 69,
            Self::NotInForce => 75,
            Self::BadConfig => 78,
            Self::Compiled(code) => code,
        }
    }
}

/// The reason why a command could not run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command could not run; the text says why and what to do next.
    #[error("{0}")]
    CouldNotRun(String),
    /// A file that the command is about is bad: the kinds of faults, and their places.
    #[error("{0}")]
    Data(String, Vec<Diagnostic>),
    /// The configuration is bad.
    #[error("the configuration cannot be used")]
    Config(Vec<Diagnostic>),
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self::CouldNotRun(message.into())
    }
}

impl From<crate::key_store::KeyStoreError> for Failure {
    fn from(error: crate::key_store::KeyStoreError) -> Self {
        Self::new(error.to_string())
    }
}

/// Options and streams that every command shares.
struct Context {
    config: Option<PathBuf>,
    environment: Environment,
    terminal: Terminal,
}

impl Context {
    /// The configuration file: the flag, else `WITGATE_CONFIG`, else `witgate.toml`, if it is here.
    /// None: there is none, and the environment alone counts.
    fn config_path(&self) -> Option<PathBuf> {
        let here = || Some(PathBuf::from(DEFAULT_CONFIG)).filter(|path| path.exists());
        let named = || self.environment.get("WITGATE_CONFIG").map(PathBuf::from);
        self.config.clone().or_else(named).or_else(here)
    }

    fn load(&self) -> Result<Loaded, Failure> {
        load(self.config_path().as_deref(), &self.environment).map_err(Failure::Config)
    }
}

/// The configuration file where nothing names another.
const DEFAULT_CONFIG: &str = "witgate.toml";

/// Runs what was asked for, and says what came of it.
pub fn run(cli: Cli, environment: Environment) -> Exit {
    let context = Context { config: cli.config, environment, terminal: Terminal::new(cli.json) };
    let outcome = match cli.command {
        None => explain(&context),
        Some(Command::Serve(arguments)) => serve::run(&context, &arguments),
        Some(Command::Check) => check::run(&context),
        Some(Command::Init(arguments)) => init::run(&context, &arguments),
        Some(Command::Demo(arguments)) => demo::run(&context, &arguments),
        Some(Command::Key(command)) => key::run(&context, command),
        Some(Command::Token(command)) => token::run(&context, command),
        Some(Command::Plugin(command)) => plugin::run(&context, command),
        Some(Command::Config(command)) => config::run(&context, command),
        Some(Command::CompileComponent) => return Exit::Compiled(compile::run()),
    };
    outcome.unwrap_or_else(|failure| context.terminal.failed(&failure))
}

fn explain(context: &Context) -> Result<Exit, Failure> {
    let terminal = &context.terminal;
    terminal.print(&Cli::command().render_help().to_string());
    match context.config_path() {
        Some(path) => terminal.say(&format!("The configuration here is {}.", path.display())),
        None => terminal.say("There is no configuration here yet; create one with `witgate init`."),
    }
    Ok(Exit::Done)
}

/// The path, in full: for texts that are read somewhere else.
fn full(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Keep-alive of blocking threads: practically for ever. One is there from the start, since Tokio panics
/// where there is none and the system gives no other; with one, work waits.
const KEEP_THREADS: Duration = Duration::from_secs(365 * 86_400);

/// A runtime for the commands that wait.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(KEEP_THREADS)
        .build()
        .map_err(|error| Failure::new(format!("the system gives no threads: {error}")))?;
    drop(runtime.spawn_blocking(|| {}));
    Ok(runtime)
}

#[cfg(test)]
mod tests;
