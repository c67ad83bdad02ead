//! `witgate accounts`, and what it shares with `witgate user --accounts`.

mod accounts_place;
mod keys;

use std::path::PathBuf;

use serde_json::{Value, json};
use witgate_basic::credential::composed;

use self::accounts_place::{outline, place};
use super::change_state::{self, ChangeState, WaitOption};
use super::context::Context;
use super::outcome::{CommandFailure, Exit};
use super::terminal::table;
use witgate_accounts::database::AccountDatabase;
use witgate_accounts::database::identities::UserIdentity;
use witgate_accounts::database::users::AccountUser;
use witgate_base::printable::clean;

pub(super) use self::accounts_place::{made, opened};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Write a copy of the accounts to a new file
    Backup {
        /// File to write, which must not exist
        file: PathBuf,
    },
    /// Write the files again from which policies judge tokens and keys
    Repair,
    /// Sign tokens with a new key; tokens of the former one stay valid until they expire
    RotateKey {
        /// Refuse tokens of the former key at once, because somebody else may have it
        #[arg(long)]
        distrust_former: bool,
        #[command(flatten)]
        wait: WaitOption,
    },
    /// Replace the roles of a user, and end all their logins
    Roles {
        /// Name or id of the user
        name: String,
        /// Role of the user; may be repeated. Without it, the user has no role
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
        #[command(flatten)]
        wait: WaitOption,
    },
    /// Let a user log in through a provider
    Link {
        /// Name or id of the user
        name: String,
        /// Name of the provider in `[accounts.login]`
        #[arg(long, value_name = "NAME")]
        provider: String,
        /// Id of the person there, as the log shows it after a login without an account
        #[arg(long, value_name = "ID")]
        subject: String,
    },
    /// Let a user no longer log in through a provider, and end all their logins
    Unlink {
        /// Name or id of the user
        name: String,
        /// Name of the provider in `[accounts.login]`
        #[arg(long, value_name = "NAME")]
        provider: String,
        /// Id of the person there
        #[arg(long, value_name = "ID")]
        subject: String,
        #[command(flatten)]
        wait: WaitOption,
    },
    /// Show with which identities at providers a user can log in
    Identities {
        /// Name or id of the user
        name: String,
    },
    /// End all logins of a user: in browsers, and of all programs
    End {
        /// Name or id of the user
        name: String,
        #[command(flatten)]
        wait: WaitOption,
    },
    /// List, make and end the keys of a user
    #[command(subcommand)]
    Keys(keys::OwnKeyCommand),
}

pub(super) fn run(context: &Context, command: Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Backup { file } => {
            opened(context)?.back_up(&file)?;
            let key = place(context)?.sealing_key();
            context.terminal.say(&format!(
                "The accounts are copied to {}. They are of use only with the key {}: keep a copy of it elsewhere.",
                file.display(),
                key.display()
            ));
            Ok(Exit::Done)
        }
        Command::Repair => {
            opened(context)?.publish()?;
            context.terminal.say(
                "The public keys, the list of ended logins and the keys of users are as in the accounts.",
            );
            Ok(Exit::Done)
        }
        Command::RotateKey { distrust_former, wait } => rotate(context, distrust_former, wait),
        Command::Roles { name, role, wait } => {
            let mut database = opened(context)?;
            let user = database.set_roles(&composed(&name), &role)?;
            let said = format!("The user `{}` has new roles. All their logins have ended.", user.name);
            Ok(finish(context, &database, wait, &user, &said))
        }
        Command::Link { name, provider, subject } => {
            let issuer = identity_issuer(context, &provider)?;
            let user = opened(context)?.link_identity(&composed(&name), &issuer, &subject)?;
            context.terminal.say(&format!("The user `{}` can log in through `{provider}` now.", user.name));
            Ok(Exit::Done)
        }
        Command::Unlink { name, provider, subject, wait } => {
            let issuer = identity_issuer(context, &provider)?;
            let mut database = opened(context)?;
            let user = database.unlink_identity(&composed(&name), &issuer, &subject)?;
            let said = format!(
                "The user `{}` cannot log in with this identity any more. All their logins have ended.",
                user.name
            );
            Ok(finish(context, &database, wait, &user, &said))
        }
        Command::Identities { name } => identities(context, &composed(&name)),
        Command::End { name, wait } => {
            let mut database = opened(context)?;
            let user = database.end_logins(&composed(&name), "ended-by-operator")?;
            let said = format!("All logins of the user `{}` have ended.", user.name);
            Ok(finish(context, &database, wait, &user, &said))
        }
        Command::Keys(command) => keys::run(context, command),
    }
}

/// Signs with a new key as soon as the running Witgate knows it, so that no token comes before its key.
fn rotate(context: &Context, distrusts_former: bool, until: WaitOption) -> Result<Exit, CommandFailure> {
    let mut database = opened(context)?;
    database.prepare_signing_key(distrusts_former)?;
    let file = database.place().key_set();
    let known = change_state::wait(context, &file, until, |_| true);
    if let ChangeState::No(_) = known {
        known.say(&context.terminal);
        context.terminal.say("Tokens are signed with the former key until you repeat the command.");
        return Ok(known.exit());
    }
    database.use_next_signing_key(distrusts_former)?;
    let state = match distrusts_former {
        true => change_state::wait(context, &file, until, |_| true),
        false => known,
    };
    context.terminal.say(match distrusts_former {
        true => "New tokens have a new key. Those of the former one are refused; clients refresh them.",
        false => "New tokens have a new key. Those of the former one stay valid until they expire.",
    });
    if context.terminal.is_json() {
        context.terminal.print_json(&json!({ "in_force": state.json() }));
    }
    state.say(&context.terminal);
    Ok(state.exit())
}

fn identities(context: &Context, name: &str) -> Result<Exit, CommandFailure> {
    let identities = opened(context)?.identities_of(name)?;
    if context.terminal.is_json() {
        let json = |identity: &UserIdentity| json!({ "issuer": identity.issuer, "subject": identity.subject, "name": identity.name });
        context.terminal.print_json(&identities.iter().map(json).collect::<Vec<_>>().into());
        return Ok(Exit::Done);
    }
    let row = |identity: &UserIdentity| {
        [&identity.issuer, &identity.subject, &identity.name].map(|text| clean(text)).to_vec()
    };
    let rows: Vec<_> = identities.iter().map(row).collect();
    context.terminal.print(&table(&["ISSUER", "SUBJECT", "NAME"], &rows));
    Ok(Exit::Done)
}

/// The issuer of the identities at a provider of the configuration.
fn identity_issuer(context: &Context, provider: &str) -> Result<String, CommandFailure> {
    outline(context)?.1.identity_issuer(provider).ok_or_else(|| {
        CommandFailure::new(format!("there is no provider `{provider}`; add `[accounts.login.{provider}]`"))
    })
}

/// Waits until the running Witgate refuses the logins that have ended, and prints the result.
pub(super) fn finish(
    context: &Context,
    database: &AccountDatabase,
    until: WaitOption,
    user: &AccountUser,
    said: &str,
) -> Exit {
    let outcome = until_ended(context, database, until);
    context.terminal.say(said);
    if context.terminal.is_json() {
        let mut json = to_json(user);
        if let Some(members) = json.as_object_mut() {
            members.insert("in_force".to_owned(), outcome.json());
        }
        context.terminal.print_json(&json);
    }
    outcome.say(&context.terminal);
    outcome.exit()
}

/// Waits until the running Witgate refuses all logins that have ended now, and knows the rights of keys.
pub(super) fn until_ended(context: &Context, database: &AccountDatabase, until: WaitOption) -> ChangeState {
    let ended = database.place().ended();
    // Whoever writes the list has read the newest state of the database, so that it has each change.
    match change_state::wait(context, &ended, until, |_| true) {
        ChangeState::Yes(_) if keys::are_used(context) => keys::wait(context, database, until),
        outcome => outcome,
    }
}

pub(super) fn to_json(user: &AccountUser) -> Value {
    json!({ "name": user.name, "id": user.id, "state": state(user), "roles": user.roles })
}

pub(super) fn row(user: &AccountUser) -> Vec<String> {
    let roles = if user.roles.is_empty() { "-".to_owned() } else { user.roles.join(" ") };
    vec![user.name.clone(), user.id.clone(), state(user).to_owned(), roles]
}

fn state(user: &AccountUser) -> &'static str {
    if user.disabled.is_some() { "disabled" } else { "good" }
}
