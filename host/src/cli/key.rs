//! `witgate key`.

mod check;
mod entry;
pub(super) mod import;
mod store_place;

use std::time::Duration;

use serde_json::Value;
use witgate_api_key::store::StoredKey;

use self::entry::{has_text, state, to_json, wait, wait_and_say};
use self::store_place::{StorePlace, place};
use super::change_state::WaitOption;
use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;
use witgate_config::key_store::{IssuedKey, KeyFormat, KeyStore, KeyText, NewKey};
use witgate_config::raw::Kind;
use witgate_config::resolve::Outline;

pub(super) use self::entry::{from_now, now, written};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create a key and print it; it cannot be printed again
    Create(Create),
    /// List keys with their patterns and expiry, without the secrets
    List(StorePlace),
    /// Revoke a key immediately and permanently
    Revoke(Revoke),
    /// Issue a new secret for a key; the old one stays valid for --overlap
    Rotate(Rotate),
    /// Import keys from JSON: {"api_keys": {NAME: KEY}, "key_permissions": {NAME: [PATTERN]}}
    Import(import::Arguments),
    /// Say whether a key is valid, and if not, why; the key is not shown
    Check(check::Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Name of the key
    name: String,
    /// Pattern of allowed calls: `get_*` (tools), `resource:…`, `prompt:…`, `method:…`, `*`; may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,
    /// Pattern of denied calls, which overrides --allow; may be repeated
    #[arg(long, value_name = "PATTERN")]
    deny: Vec<String>,
    /// Role of the caller, for authorizers such as rbac; may be repeated
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Scope of the caller, for authorizers that require scopes; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    #[command(flatten)]
    form: FormOption,
    /// Lifetime of the key, such as `30d` or `12h` [default: unlimited]
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: StorePlace,
}

/// The form of a new text.
#[derive(Debug, clap::Args)]
struct FormOption {
    /// Form of the key: `wgk_` and 43 characters, 64 hexadecimal digits, or 43 characters of base64url
    #[arg(long, value_enum, default_value = "wgk")]
    format: Format,
    /// Number of characters of the key, from 32 to 512 [default: that of the form]
    #[arg(long, value_name = "N")]
    length: Option<usize>,
}

/// A lifetime. A key without one would have expired already.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match lifetime.as_secs() {
        0 => Err("the key would have expired at once; choose a longer lifetime, such as `30d`".to_owned()),
        _ => Ok(lifetime),
    }
}

/// The form of a new key.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Wgk,
    Hex64,
    Urlsafe43,
}

impl From<Format> for KeyFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Wgk => Self::Wgk,
            Format::Hex64 => Self::Hex,
            Format::Urlsafe43 => Self::UrlSafe,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// Name or id of the key
    name: String,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: StorePlace,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// Name or id of the key
    name: String,
    /// Time for which the old secret stays valid; 0s: none
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    overlap: Duration,
    /// Lifetime of the key from now on [default: its former expiry stays]
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
    #[command(flatten)]
    form: FormOption,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: StorePlace,
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Create(arguments) => create(context, &arguments),
        Command::List(place) => list(context, &place),
        Command::Revoke(arguments) => revoke(context, &arguments),
        Command::Rotate(arguments) => rotate(context, &arguments),
        Command::Import(arguments) => import::run(context, &arguments),
        Command::Check(arguments) => check::run(context, &arguments),
    }
}

fn create(context: &Context, arguments: &Create) -> Result<Exit, CommandFailure> {
    let store = place(context, &arguments.place)?;
    let Create { name, allow, deny, role: roles, scope, expires, .. } = arguments;
    let (name, allow, deny, roles) = (name.clone(), allow.clone(), deny.clone(), roles.clone());
    let (useless, without_role) = (allow.is_empty() && roles.is_empty(), roles.is_empty());
    let new = NewKey {
        name,
        roles,
        scopes: scope.clone(),
        allow,
        deny,
        expires: expires.map(from_now),
        format: arguments.form.format.into(),
        length: arguments.form.length,
    };
    let made = store.create(new, now())?;
    context.terminal.say(&format!(
        "Created the key `{}` in {}. It is shown only this once:",
        made.key.name,
        store.path().display()
    ));
    show(context, &store, &made);
    if useless {
        context
            .terminal
            .say("It has neither a pattern (--allow) nor a role (--role), so it may do nothing yet.");
    } else if without_role && arguments.place.store.is_none() {
        hint_at_roles(context);
    }
    Ok(wait_and_say(context, &store, arguments.wait, |keys| has_text(keys, &made.key)))
}

/// Hints that patterns alone are not enough if an authorizer decides by roles: every authorizer must allow.
fn hint_at_roles(context: &Context) {
    let Some(outline) = context.config_path().and_then(|path| Outline::read(&path).ok()) else { return };
    let by_roles = outline.file.policies.iter().find(|(_, policy)| matches!(policy.kind, Kind::Rbac));
    let Some((name, policy)) = by_roles else { return };
    let roles = policy.config.get("roles").and_then(Value::as_object).into_iter().flatten();
    let roles: Vec<_> = roles.map(|(role, _)| role.as_str()).collect();
    context.terminal.say(&format!(
        "The policy `{name}` decides by roles, and this key has none, so this policy allows it nothing. Give a key a role with `--role` (there are: {}).",
        roles.join(", ")
    ));
}

fn list(context: &Context, at: &StorePlace) -> Result<Exit, CommandFailure> {
    let store = place(context, at)?.read()?;
    if context.terminal.is_json() {
        context.terminal.print_json(&store.keys.iter().map(to_json).collect());
        return Ok(Exit::Done);
    }
    let joined = |texts: &[String]| if texts.is_empty() { "-".to_owned() } else { texts.join(" ") };
    let row = |key: &StoredKey| {
        vec![
            key.name.clone(),
            key.id.clone(),
            state(key).to_owned(),
            joined(&key.roles),
            joined(&key.scopes),
            joined(&key.allow),
            joined(&key.deny),
            key.expires.map_or_else(|| "never".to_owned(), written),
        ]
    };
    let rows: Vec<_> = store.keys.iter().map(row).collect();
    context
        .terminal
        .print(&table(&["NAME", "ID", "STATE", "ROLES", "SCOPES", "ALLOW", "DENY", "EXPIRES"], &rows));
    Ok(Exit::Done)
}

fn revoke(context: &Context, arguments: &Revoke) -> Result<Exit, CommandFailure> {
    let store = place(context, &arguments.place)?;
    let key = store.revoke(&arguments.name, now())?;
    context.terminal.say(&format!("The key `{}` is revoked in {}.", key.name, store.path().display()));
    let is_revoked = |keys: &[StoredKey]| keys.iter().any(|now| now.id == key.id && now.revoked.is_some());
    let outcome = wait(context, &store, arguments.wait, is_revoked);
    if context.terminal.is_json() {
        let mut json = to_json(&key);
        if let Some(members) = json.as_object_mut() {
            members.insert("in_force".to_owned(), outcome.json());
        }
        context.terminal.print_json(&json);
    }
    outcome.say(&context.terminal);
    Ok(outcome.exit())
}

fn rotate(context: &Context, arguments: &Rotate) -> Result<Exit, CommandFailure> {
    let store = place(context, &arguments.place)?;
    let until = (!arguments.overlap.is_zero()).then(|| from_now(arguments.overlap));
    let form = (arguments.form.format.into(), arguments.form.length);
    let made = store.rotate(&arguments.name, until, arguments.expires.map(from_now), form)?;
    let old = until.map_or_else(
        || "The old one is no longer valid".to_owned(),
        |until| format!("The old one stays valid until {}", written(until)),
    );
    context
        .terminal
        .say(&format!("The key `{}` has a new secret, shown only this once. {old}.", made.key.name));
    show(context, &store, &made);
    Ok(wait_and_say(context, &store, arguments.wait, |keys| has_text(keys, &made.key)))
}

fn show(context: &Context, store: &KeyStore, made: &IssuedKey) {
    let terminal = &context.terminal;
    match terminal.is_json() {
        true => terminal.print_json(&made_json(store, &made.key, &made.text)),
        false => terminal.print(made.text.reveal()),
    }
}

fn made_json(store: &KeyStore, key: &StoredKey, text: &KeyText) -> Value {
    let mut json = to_json(key);
    if let Some(members) = json.as_object_mut() {
        members.insert("key".to_owned(), text.reveal().into());
        members.insert("store".to_owned(), store.path().display().to_string().into());
    }
    json
}
