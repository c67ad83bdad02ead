//! The commands for users, on the users of `[accounts]`.

use serde_json::json;
use witgate_basic::credential::composed;

use super::password::PasswordOptions;
use super::users_place::password_terms;
use crate::cli::accounts::{finish, made, opened, row, to_json};
use crate::cli::change_state::WaitOption;
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::terminal::table;
use witgate_accounts::database::AccountDatabase;
use witgate_accounts::database::users::AccountUser;
use witgate_accounts::error::AccountsError;

pub(super) fn add(
    context: &Context,
    name: &str,
    roles: &[String],
    password: PasswordOptions,
) -> Result<Exit, CommandFailure> {
    let name = composed(name);
    let mut database = made(context)?;
    // Before somebody enters a password.
    if database.user_at_login(&name)?.is_some() {
        return Err(AccountsError::Taken(name).into());
    }
    let hash = password.hash(&name, &password_terms(context)?)?;
    let user = database.add_user(&name, &hash, roles)?;
    let shown = database.place().store.display();
    context.terminal.say(&format!("Added the user `{}` in {shown}. They can log in now.", user.name));
    if user.roles.is_empty() {
        context.terminal.say("They have no role (--role), so they may do nothing yet.");
    }
    if context.terminal.is_json() {
        context.terminal.print_json(&to_json(&user));
    }
    Ok(Exit::Done)
}

pub(super) fn list(context: &Context) -> Result<Exit, CommandFailure> {
    let users = opened(context)?.users()?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&json!(users.iter().map(to_json).collect::<Vec<_>>())),
        false => {
            let rows: Vec<_> = users.iter().map(row).collect();
            context.terminal.print(&table(&["NAME", "ID", "STATE", "ROLES"], &rows));
        }
    }
    Ok(Exit::Done)
}

pub(super) fn passwd(
    context: &Context,
    name: &str,
    password: PasswordOptions,
    wait: WaitOption,
) -> Result<Exit, CommandFailure> {
    let mut database = opened(context)?;
    // Before somebody enters a password.
    let known = database.named_user(&composed(name))?;
    let hash = password.hash(&known.name, &password_terms(context)?)?;
    // By id: somebody else may have the name by now.
    let user = database.set_password(&known.id, &hash)?;
    let said = format!(
        "The user `{}` has a new password. All their logins have ended, and their passkeys are removed.",
        user.name
    );
    Ok(finish(context, &database, wait, &user, &said))
}

pub(super) fn disable(context: &Context, name: &str, wait: WaitOption) -> Result<Exit, CommandFailure> {
    let said = |name: &str| format!("The user `{name}` is disabled. All their logins have ended.");
    change(context, (name, wait), AccountDatabase::disable_user, said)
}

pub(super) fn enable(context: &Context, name: &str, wait: WaitOption) -> Result<Exit, CommandFailure> {
    change(context, (name, wait), AccountDatabase::enable_user, |name| {
        format!("The user `{name}` is enabled, and can log in again.")
    })
}

pub(super) fn remove(context: &Context, name: &str, wait: WaitOption) -> Result<Exit, CommandFailure> {
    let said = |name: &str| format!("The user `{name}` is removed. All their logins have ended.");
    change(context, (name, wait), AccountDatabase::remove_user, said)
}

fn change(
    context: &Context,
    (name, wait): (&str, WaitOption),
    change: impl FnOnce(&mut AccountDatabase, &str) -> Result<AccountUser, AccountsError>,
    said: impl FnOnce(&str) -> String,
) -> Result<Exit, CommandFailure> {
    let mut database = opened(context)?;
    let user = change(&mut database, &composed(name))?;
    Ok(finish(context, &database, wait, &user, &said(&user.name)))
}
