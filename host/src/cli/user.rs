//! `witgate user`.

mod accounts;
mod entry;
mod import;
mod link;
mod password;
mod second_factor;
mod users_place;

use witgate_basic::credential::composed;
use witgate_basic::hash::PasswordHash;
use witgate_basic::users::StoredUser;

use self::entry::{algorithm, finish, has, state, to_json};
use self::password::PasswordOptions;
use self::users_place::{UsersPlace, password_terms, place};
use super::change_state::WaitOption;
use super::context::Context;
use super::key::now;
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;
use witgate_config::user_store::NewUser;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a user; the password is read from the terminal
    Add(Add),
    /// List users with their roles and patterns, without the hashes
    List(UsersPlace),
    /// Give a user a new password
    Passwd(Passwd),
    /// Refuse a user immediately, until they are enabled again
    Disable(NamedUser),
    /// Accept a disabled user again
    Enable(NamedUser),
    /// Remove a user from the store
    Remove(NamedUser),
    /// Make a link with which a user of accounts chooses a new password, once
    ResetLink(link::ResetLink),
    /// Show whether a user of accounts has a second factor and passkeys, or remove them
    SecondFactor(second_factor::FactorArguments),
    /// Import users with hashed passwords, from a file of htpasswd or JSON: {NAME: {"hash": HASH, "roles": [ROLE]}}
    Import(import::Arguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// Name of the user
    name: String,
    /// Role of the user, for authorizers such as rbac; may be repeated
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Scope of the user, for authorizers that require scopes; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Pattern of allowed calls: `get_*` (tools), `resource:…`, `prompt:…`, `method:…`, `*`; may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,
    /// Pattern of denied calls, which overrides --allow; may be repeated
    #[arg(long, value_name = "PATTERN")]
    deny: Vec<String>,
    /// With --accounts: ask for no password, and print a link with which the user chooses one
    #[arg(long, requires = "accounts", conflicts_with_all = ["password_stdin", "weak"])]
    invite: bool,
    #[command(flatten)]
    password: PasswordOptions,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: UsersPlace,
}

#[derive(Debug, clap::Args)]
pub(super) struct Passwd {
    /// Name or id of the user
    name: String,
    #[command(flatten)]
    password: PasswordOptions,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: UsersPlace,
}

#[derive(Debug, clap::Args)]
pub(super) struct NamedUser {
    /// Name or id of the user
    name: String,
    #[command(flatten)]
    wait: WaitOption,
    #[command(flatten)]
    place: UsersPlace,
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Add(arguments) => add(context, &arguments),
        Command::List(place) => list(context, &place),
        Command::Passwd(arguments) => passwd(context, &arguments),
        Command::Disable(arguments) => disable(context, &arguments),
        Command::Enable(arguments) => enable(context, &arguments),
        Command::Remove(arguments) => remove(context, &arguments),
        Command::ResetLink(arguments) => link::reset_link(context, &arguments),
        Command::SecondFactor(arguments) => second_factor::second_factor(context, &arguments),
        Command::Import(arguments) => import::run(context, &arguments),
    }
}

fn add(context: &Context, arguments: &Add) -> Result<Exit, CommandFailure> {
    if arguments.place.accounts {
        return add_account(context, arguments);
    }
    let store = place(context, &arguments.place)?;
    let Add { role, scope, allow, deny, .. } = arguments;
    let name = composed(&arguments.name);
    let (roles, scopes, allow, deny) = (role.clone(), scope.clone(), allow.clone(), deny.clone());
    let is_useless = allow.is_empty() && roles.is_empty();
    let mut new = NewUser { name, hash: PasswordHash::nobody(), roles, scopes, allow, deny };
    // Before somebody enters a password.
    store.can_add(&new, now())?;
    new.hash = arguments.password.hash(&new.name, &password_terms(context)?)?;
    let user = store.add(new, now())?;
    context.terminal.say(&format!("Added the user `{}` in {}.", user.name, store.path().display()));
    if is_useless {
        context
            .terminal
            .say("They have neither a pattern (--allow) nor a role (--role), so they may do nothing yet.");
    }
    Ok(finish(context, &store, arguments.wait, &user, |users| has(users, &user)))
}

fn add_account(context: &Context, arguments: &Add) -> Result<Exit, CommandFailure> {
    let Add { role, scope, allow, deny, .. } = arguments;
    if !(scope.is_empty() && allow.is_empty() && deny.is_empty()) {
        return Err(CommandFailure::new(
            "users of accounts have roles (--role) only: their clients get the scopes, and rbac has the patterns",
        ));
    }
    match arguments.invite {
        true => link::invite(context, &arguments.name, role),
        false => accounts::add(context, &arguments.name, role, arguments.password),
    }
}

fn list(context: &Context, at: &UsersPlace) -> Result<Exit, CommandFailure> {
    if at.accounts {
        return accounts::list(context);
    }
    let users = place(context, at)?.read()?.users;
    if context.terminal.is_json() {
        context.terminal.print_json(&users.iter().map(to_json).collect());
        return Ok(Exit::Done);
    }
    let joined = |texts: &[String]| if texts.is_empty() { "-".to_owned() } else { texts.join(" ") };
    let row = |user: &StoredUser| {
        vec![
            user.name.clone(),
            user.id.clone(),
            state(user).to_owned(),
            joined(&user.roles),
            joined(&user.scopes),
            joined(&user.allow),
            joined(&user.deny),
            algorithm(user).to_owned(),
        ]
    };
    let rows: Vec<_> = users.iter().map(row).collect();
    let heading = ["NAME", "ID", "STATE", "ROLES", "SCOPES", "ALLOW", "DENY", "HASH"];
    context.terminal.print(&table(&heading, &rows));
    Ok(Exit::Done)
}

fn passwd(context: &Context, arguments: &Passwd) -> Result<Exit, CommandFailure> {
    if arguments.place.accounts {
        return accounts::passwd(context, &arguments.name, arguments.password, arguments.wait);
    }
    let store = place(context, &arguments.place)?;
    let wanted = composed(&arguments.name);
    // Before somebody enters a password.
    let name = store.find(&wanted)?.name;
    let hash = arguments.password.hash(&name, &password_terms(context)?)?;
    let user = store.set_hash(&name, hash)?;
    let said = format!(
        "The user `{}` has a new password in {}. The former one is no longer valid.",
        user.name,
        store.path().display()
    );
    context.terminal.say(&said);
    Ok(finish(context, &store, arguments.wait, &user, |users| has(users, &user)))
}

fn disable(context: &Context, arguments: &NamedUser) -> Result<Exit, CommandFailure> {
    if arguments.place.accounts {
        return accounts::disable(context, &arguments.name, arguments.wait);
    }
    let store = place(context, &arguments.place)?;
    let user = store.disable(&composed(&arguments.name), now())?;
    context.terminal.say(&format!("The user `{}` is disabled in {}.", user.name, store.path().display()));
    let is_disabled =
        |users: &[StoredUser]| users.iter().any(|now| now.id == user.id && now.disabled.is_some());
    Ok(finish(context, &store, arguments.wait, &user, is_disabled))
}

fn enable(context: &Context, arguments: &NamedUser) -> Result<Exit, CommandFailure> {
    if arguments.place.accounts {
        return accounts::enable(context, &arguments.name, arguments.wait);
    }
    let store = place(context, &arguments.place)?;
    let user = store.enable(&composed(&arguments.name))?;
    context.terminal.say(&format!("The user `{}` is enabled in {}.", user.name, store.path().display()));
    let is_enabled =
        |users: &[StoredUser]| users.iter().any(|now| now.id == user.id && now.disabled.is_none());
    Ok(finish(context, &store, arguments.wait, &user, is_enabled))
}

fn remove(context: &Context, arguments: &NamedUser) -> Result<Exit, CommandFailure> {
    if arguments.place.accounts {
        return accounts::remove(context, &arguments.name, arguments.wait);
    }
    let store = place(context, &arguments.place)?;
    let user = store.remove(&composed(&arguments.name))?;
    context.terminal.say(&format!("The user `{}` is removed from {}.", user.name, store.path().display()));
    let is_gone = |users: &[StoredUser]| users.iter().all(|now| now.id != user.id);
    Ok(finish(context, &store, arguments.wait, &user, is_gone))
}
