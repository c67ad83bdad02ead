//! `witgate accounts keys`.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use witgate_api_key::store::Time;
use witgate_basic::credential::composed;

use super::accounts_place::opened;
use crate::cli::change_state::{self, ChangeState, WaitOption};
use crate::cli::context::Context;
use crate::cli::key::{lifetime, written};
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::table;
use witgate_accounts::database::own_keys::{KeyOrigin, OwnKey, OwnKeyFault, OwnKeyTerms};
use witgate_accounts::database::{AccountDatabase, now_ms};
use witgate_config::raw::Kind;
use witgate_config::resolve::Outline;

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum OwnKeyCommand {
    /// List the keys of a user
    List {
        /// Name or id of the user
        name: String,
    },
    /// Make a key of a user and print it; it cannot be printed again
    Create(OwnKeyCreation),
    /// End a key of a user, or all of them
    End(OwnKeyEnd),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct OwnKeyCreation {
    /// Name or id of the user
    name: String,
    /// Name of the key
    key: String,
    /// Scope of the key; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Lifetime of the key, such as `30d` or `12h` [default: unlimited]
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
    #[command(flatten)]
    wait: WaitOption,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false, args = ["key", "all"])]
pub(in crate::cli) struct OwnKeyEnd {
    /// Name or id of the user
    name: String,
    /// Name or id of the key
    key: Option<String>,
    /// End all keys of the user
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    wait: WaitOption,
}

pub(super) fn run(context: &Context, command: OwnKeyCommand) -> Result<Exit, CommandFailure> {
    match command {
        OwnKeyCommand::List { name } => list(context, &name),
        OwnKeyCommand::Create(arguments) => create(context, arguments),
        OwnKeyCommand::End(arguments) => end(context, &arguments),
    }
}

fn list(context: &Context, name: &str) -> Result<Exit, CommandFailure> {
    let database = opened(context)?;
    let user = database.named_user(&composed(name))?;
    let keys = database.keys_of(&user.id)?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&keys.iter().map(to_json).collect()),
        false => {
            let rows: Vec<_> = keys.iter().map(row).collect();
            context.terminal.print(&table(&["NAME", "ID", "SCOPES", "CREATED", "EXPIRES"], &rows));
        }
    }
    Ok(Exit::Done)
}

fn create(context: &Context, arguments: OwnKeyCreation) -> Result<Exit, CommandFailure> {
    let OwnKeyCreation { name, key, scope, expires, wait } = arguments;
    let known = known_scopes(context)?;
    if let Some(odd) = scope.iter().find(|scope| !known.contains(scope)) {
        return Err(CommandFailure::new(format!(
            "there is no scope `{odd}` under `accounts.scopes`; there are: {}",
            known.join(", ")
        )));
    }
    let mut database = opened(context)?;
    let user = database.named_user(&composed(&name))?;
    let now = now_ms();
    let lifetime = expires.map(|expires| i64::try_from(expires.as_millis()).unwrap_or(i64::MAX));
    let terms = OwnKeyTerms {
        name: key,
        scopes: scope,
        expires: lifetime.map(|lifetime| now.saturating_add(lifetime)),
    };
    let made = database.make_key(&user.id, terms, KeyOrigin::Operator, now);
    let (key, text) = made.map_err(|fault| match fault {
        OwnKeyFault::Store(error) => error.into(),
        fault => CommandFailure::new(fault.to_string()),
    })?;
    let terminal = &context.terminal;
    terminal.say(&format!(
        "Made the key `{}` of the user `{}`. It is shown only this once:",
        key.terms.name, user.name
    ));
    if terminal.is_json() {
        let mut json = to_json(&key);
        if let Some(members) = json.as_object_mut() {
            members.insert("key".to_owned(), text.expose_secret().into());
        }
        terminal.print_json(&json);
    } else {
        terminal.print(text.expose_secret());
    }
    Ok(in_force(context, &database, wait))
}

fn end(context: &Context, arguments: &OwnKeyEnd) -> Result<Exit, CommandFailure> {
    let mut database = opened(context)?;
    let user = database.named_user(&composed(&arguments.name))?;
    let ended = match &arguments.key {
        None => database.end_keys(&user.id, now_ms())?,
        Some(key) => match database.end_key(&user.id, key, now_ms())? {
            Some(_) => 1,
            None => {
                return Err(CommandFailure::new(format!("the user `{}` has no key `{key}`", user.name)));
            }
        },
    };
    let terminal = &context.terminal;
    terminal.say(&format!("Ended {ended} of the keys of the user `{}`.", user.name));
    if terminal.is_json() {
        terminal.print_json(&json!({ "user": user.name, "ended": ended }));
    }
    Ok(in_force(context, &database, arguments.wait))
}

fn in_force(context: &Context, database: &AccountDatabase, until: WaitOption) -> Exit {
    let outcome = wait(context, database, until);
    outcome.say(&context.terminal);
    outcome.exit()
}

/// Waits until the running Witgate uses the keys. The file is made from the accounts, so each later one has the change.
pub(super) fn wait(context: &Context, database: &AccountDatabase, until: WaitOption) -> ChangeState {
    change_state::wait(context, &database.place().own_keys(), until, |_| true)
}

/// True if a policy accepts the keys of users.
pub(super) fn are_used(context: &Context) -> bool {
    let outline = context.config_path().and_then(|path| Outline::read(&path).ok());
    outline.is_some_and(|outline| {
        outline.file.policies.values().any(|policy| {
            matches!(policy.kind, Kind::ApiKey) && policy.config.get("accounts") == Some(&Value::Bool(true))
        })
    })
}

fn known_scopes(context: &Context) -> Result<Vec<String>, CommandFailure> {
    let Some(path) = context.config_path() else { return Ok(Vec::new()) };
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    let accounts = outline.file.accounts.as_ref();
    Ok(accounts.map(|accounts| accounts.scopes.keys().cloned().collect()).unwrap_or_default())
}

fn to_json(key: &OwnKey) -> Value {
    json!({
        "name": key.terms.name,
        "id": key.id,
        "scopes": key.terms.scopes,
        "created": time(key.created),
        "expires": key.terms.expires.map(time),
        "resource": key.resource,
    })
}

fn row(key: &OwnKey) -> Vec<String> {
    let scopes = if key.terms.scopes.is_empty() { "-".to_owned() } else { key.terms.scopes.join(" ") };
    let end = key.terms.expires.map_or_else(|| "never".to_owned(), time);
    vec![key.terms.name.clone(), key.id.clone(), scopes, time(key.created), end]
}

fn time(ms: i64) -> String {
    written(Time(u64::try_from(ms / 1_000).unwrap_or_default()))
}
