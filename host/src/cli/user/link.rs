//! One-time links, with which users of accounts choose a password.

use std::time::Duration;

use witgate_basic::credential::composed;

use crate::cli::accounts::{made, opened, to_json};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_accounts::database::links::{INVITATION_TTL, RESET_TTL};
use witgate_accounts::database::now_ms;
use witgate_accounts::database::users::AccountUser;
use witgate_accounts::site::link_address;
use witgate_config::resolve::Outline;

/// The arguments of `user reset-link`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ResetLink {
    /// Name or id of the user
    name: String,
}

pub(super) fn invite(context: &Context, name: &str, roles: &[String]) -> Result<Exit, CommandFailure> {
    let origin = origin(context)?;
    let name = composed(name);
    let mut database = made(context)?;
    // A hash that no password has, and that looks like those of others.
    let hash = database.decoy(&name)?;
    let user = database.add_user(&name, &hash, roles)?;
    let shown = database.place().store.display().to_string();
    let (user, secret) = database.make_link(&user.id, INVITATION_TTL, now_ms())?;
    context.terminal.say(&format!("Added the user `{}` in {shown}.", user.name));
    print_link(context, &user, &link_address(&origin, &secret), INVITATION_TTL);
    Ok(Exit::Done)
}

pub(super) fn reset_link(context: &Context, arguments: &ResetLink) -> Result<Exit, CommandFailure> {
    let origin = origin(context)?;
    let (user, secret) = opened(context)?.make_link(&composed(&arguments.name), RESET_TTL, now_ms())?;
    print_link(context, &user, &link_address(&origin, &secret), RESET_TTL);
    Ok(Exit::Done)
}

fn print_link(context: &Context, user: &AccountUser, link: &str, lifetime: Duration) {
    let hours = lifetime.as_secs() / 3_600;
    let unit = if hours == 1 { "hour" } else { "hours" };
    context.terminal.say(&format!(
        "With this link, whoever has it sets the password of `{}`, once, within {hours} {unit}. All their logins end \
         then, and their passkeys are removed. Give it to nobody else.",
        user.name
    ));
    if context.terminal.is_json() {
        let mut json = to_json(user);
        if let Some(members) = json.as_object_mut() {
            members.insert("link".to_owned(), link.into());
            members.insert("expires_in".to_owned(), lifetime.as_secs().into());
        }
        context.terminal.print_json(&json);
    } else {
        context.terminal.print(link);
    }
}

/// The origin of the pages.
fn origin(context: &Context) -> Result<String, CommandFailure> {
    let no_accounts = || CommandFailure::new("the configuration has no accounts; add a table `[accounts]`");
    let path = context.config_path().ok_or_else(no_accounts)?;
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    outline.accounts_origin().ok_or_else(no_accounts)
}
