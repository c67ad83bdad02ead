//! `witgate user second-factor`.

use witgate_basic::credential::composed;

use crate::cli::accounts::{opened, to_json};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};

/// The arguments of `user second-factor`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FactorArguments {
    /// Name or id of the user
    name: String,
    /// Remove it, with the recovery codes and all passkeys, for a user who has lost their devices
    #[arg(long)]
    remove: bool,
}

pub(super) fn second_factor(context: &Context, arguments: &FactorArguments) -> Result<Exit, CommandFailure> {
    let mut database = opened(context)?;
    let user = database.named_user(&composed(&arguments.name))?;
    if arguments.remove {
        let had_factor = database.remove_authenticator(&user.id)?;
        let passkeys = database.remove_passkeys(&user.id)?;
        context.terminal.say(&match (had_factor, passkeys) {
            (false, 0) => format!("The user `{}` has neither a second factor nor a passkey.", user.name),
            _ => format!("The second factor and the passkeys of the user `{}` are removed.", user.name),
        });
    }
    let factor = database.authenticator_of(&user.id)?;
    let passkeys = database.passkeys_of(&user.id)?.len();
    if !arguments.remove {
        let factor = factor.map_or("no second factor".to_owned(), |factor| {
            format!("a second factor with {} recovery codes", factor.codes_left)
        });
        context.terminal.say(&format!("The user `{}` has {factor}, and {passkeys} passkeys.", user.name));
    }
    if context.terminal.is_json() {
        let mut json = to_json(&user);
        if let Some(members) = json.as_object_mut() {
            members.insert("second_factor".to_owned(), factor.is_some().into());
            members.insert("passkeys".to_owned(), passkeys.into());
        }
        context.terminal.print_json(&json);
    }
    Ok(Exit::Done)
}
