//! The `witgate` command: one file per command. What a program may want to read goes to standard
//! output, everything else to standard error.

mod accounts;
mod audit;
mod call_history;
mod can;
mod change_state;
mod check;
mod config;
mod context;
mod control;
mod credential;
mod demo;
mod diff;
mod doctor;
mod explain;
mod import;
mod init;
mod key;
mod limits;
mod lint;
mod live_lists;
mod lockout;
mod log;
mod log_option;
mod outcome;
mod peers;
mod plugin;
mod reload;
mod runtime;
mod secret;
mod serve;
mod status;
mod suggest;
mod terminal;
mod token;
mod trace;
mod unused;
mod upstream;
mod user;
mod who_can;
mod wrap;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use context::Context;
use terminal::Terminal;
use witgate_component::compile;
use witgate_config::environment::Environment;

pub use outcome::{CommandFailure, Exit};

/// Authenticate and authorize calls to MCP servers, with plugins that can be replaced at run time
#[derive(Debug, Parser)]
#[command(name = "witgate", version, about = "Authenticate and authorize calls to MCP servers, with plugins that can be replaced at run time", after_help = AFTER_HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file [default: WITGATE_CONFIG, else witgate.toml]
    // Not clap's `env`: an empty variable is no file, and tests hand in their own environment.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// File with environment variables, such as `.env`; variables that are set precede it
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
First steps:
  witgate wrap -- COMMAND         guard your own server over stdio with the key in MCP_API_KEY
  witgate init --command CMD ARG  write a configuration for your own server and create a key
  witgate check                   check it
  witgate doctor                  try servers, issuers, files and clocks, too
  witgate serve                   run the gateway with this configuration
  witgate key create NAME --role user --allow 'get-*'
                                  create a key for a caller

Exit codes: 0 success; 1 negative result, such as a failed case; 2 wrong usage; 3 the end of the audit log is missing; 65 invalid file; 69 could not run; 75 change written, but not in use by the running Witgate; 78 invalid configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until it is stopped
    Serve(serve::Arguments),
    /// Guard one MCP server over standard input and output, configured by the environment alone
    Wrap(wrap::Arguments),
    /// Check the configuration and report every fault
    Check,
    /// Try all that a running Witgate needs, and say what is wrong and which line to change
    Doctor(doctor::Arguments),
    /// Write a starter configuration, create a first API key, and print the settings for Claude Desktop
    Init(init::Arguments),
    /// Show allowed and denied calls and a policy swap, with a temporary configuration
    Demo(demo::Arguments),
    /// Create, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Add, list, disable and import users with passwords
    #[command(subcommand)]
    User(user::Command),
    /// Back up the accounts, rotate their key, and end logins
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// Use the changed files in the running Witgate now, or tell what that would change
    Reload(reload::Arguments),
    /// Keep secrets in an encrypted store
    #[command(subcommand)]
    Secret(secret::Command),
    /// Issue, verify and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Show who may call the running Witgate: upstreams, policies, whether credentials are required
    Status,
    /// Log in for credentials towards upstreams, and show their state
    #[command(subcommand)]
    Credential(credential::Command),
    /// Say why a call is allowed or refused, and what would change that
    Explain(explain::Arguments),
    /// Show what a caller may list and call, over the live lists of an upstream
    Can(can::Arguments),
    /// Show which keys, users and roles may make a call
    WhoCan(who_can::Arguments),
    /// Show the access that callers gain and lose between two configurations, generations or components
    Diff(diff::Arguments),
    /// Find settings that are valid, and probably mistakes
    Lint(lint::Arguments),
    /// List rules, roles, keys and tools that no decision of the audit log has used
    Unused(unused::Arguments),
    /// Write the least policy that allows what the audit log has as allowed
    Suggest(suggest::Arguments),
    /// Show the decisions of the running Witgate as they are made
    Trace(trace::Arguments),
    /// Show what remains of the limits in the running Witgate
    Limits,
    /// Show and end the pauses after failed authentications in the running Witgate
    #[command(subcommand)]
    Lockout(lockout::Command),
    /// Refuse connections from addresses and networks in the running Witgate
    #[command(subcommand)]
    Peers(peers::Command),
    /// Show upstreams, and approve the definitions of their tools, prompts and resources
    #[command(subcommand)]
    Upstream(upstream::Command),
    /// Create, build and test plugins; show and control the policies of a running Witgate
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Verify, prove, search and export the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Show or change the log of a running Witgate
    #[command(subcommand)]
    Log(log::Command),
    /// Print the schema of the configuration, or the effective configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Compile the component on standard input; `serve` starts this command
    #[command(name = compile::COMMAND, hide = true)]
    CompileComponent,
}

/// Runs what was asked for, and says what came of it.
pub fn run(cli: Cli, environment: Environment) -> Exit {
    let mut context = Context { config: cli.config, environment, terminal: Terminal::new(cli.json) };
    if let Some(file) = &cli.env_file
        && let Err(failure) = context.read_env_file(file)
    {
        return context.terminal.failed(&failure);
    }
    let outcome = match cli.command {
        None => introduce(&context),
        Some(Command::Serve(arguments)) => serve::run(&context, &arguments),
        Some(Command::Wrap(arguments)) => wrap::run(&context, &arguments),
        Some(Command::Check) => check::run(&context),
        Some(Command::Doctor(arguments)) => doctor::run(&context, &arguments),
        Some(Command::Init(arguments)) => init::run(&context, &arguments),
        Some(Command::Demo(arguments)) => demo::run(&context, &arguments),
        Some(Command::Key(command)) => key::run(&context, command),
        Some(Command::User(command)) => user::run(&context, command),
        Some(Command::Accounts(command)) => accounts::run(&context, command),
        Some(Command::Reload(arguments)) => reload::run(&context, &arguments),
        Some(Command::Secret(command)) => secret::run(&context, command),
        Some(Command::Token(command)) => token::run(&context, command),
        Some(Command::Status) => status::run(&context),
        Some(Command::Credential(command)) => credential::run(&context, command),
        Some(Command::Explain(arguments)) => explain::run(&context, &arguments),
        Some(Command::Can(arguments)) => can::run(&context, &arguments),
        Some(Command::WhoCan(arguments)) => who_can::run(&context, &arguments),
        Some(Command::Diff(arguments)) => diff::run(&context, &arguments),
        Some(Command::Lint(arguments)) => lint::run(&context, &arguments),
        Some(Command::Unused(arguments)) => unused::run(&context, &arguments),
        Some(Command::Suggest(arguments)) => suggest::run(&context, &arguments),
        Some(Command::Trace(arguments)) => trace::run(&context, &arguments),
        Some(Command::Limits) => limits::run(&context),
        Some(Command::Lockout(command)) => lockout::run(&context, command),
        Some(Command::Peers(command)) => peers::run(&context, command),
        Some(Command::Upstream(command)) => upstream::run(&context, command),
        Some(Command::Plugin(command)) => plugin::run(&context, command),
        Some(Command::Audit(command)) => audit::run(&context, command),
        Some(Command::Log(command)) => log::run(&context, command),
        Some(Command::Config(command)) => config::run(&context, command),
        Some(Command::CompileComponent) => return Exit::Compiled(compile::run()),
    };
    outcome.unwrap_or_else(|failure| context.terminal.failed(&failure))
}

fn introduce(context: &Context) -> Result<Exit, CommandFailure> {
    let terminal = &context.terminal;
    terminal.print(&Cli::command().render_help().to_string());
    match context.config_path() {
        Some(path) => terminal.say(&format!("The configuration here is {}.", path.display())),
        None => terminal.say("There is no configuration here yet; create one with `witgate init`."),
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests;
