//! `witgate user second-factor`.

use witgate_basic::credential::composed;

use crate::cli::accounts::{opened, to_json};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};

/// The arguments of `user second-factor`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SecondFactor {
    /// Name or id of the user
    name: String,
    /// Remove it, with the recovery codes, for a user who has lost both
    #[arg(long)]
    remove: bool,
}

pub(super) fn second_factor(context: &Context, arguments: &SecondFactor) -> Result<Exit, CommandFailure> {
    let mut database = opened(context)?;
    let user = database.named_user(&composed(&arguments.name))?;
    let factor = database.authenticator_of(&user.id)?;
    let has_factor = factor.is_some() && !arguments.remove;
    let said = match (factor, arguments.remove) {
        (None, _) => format!("The user `{}` has no second factor.", user.name),
        (Some(factor), false) => {
            format!("The user `{}` has a second factor, and {} recovery codes.", user.name, factor.codes_left)
        }
        (Some(_), true) => {
            database.remove_authenticator(&user.id)?;
            format!("The second factor of the user `{}` is removed. Their logins go on.", user.name)
        }
    };
    context.terminal.say(&said);
    if context.terminal.is_json() {
        let mut json = to_json(&user);
        if let Some(members) = json.as_object_mut() {
            members.insert("second_factor".to_owned(), has_factor.into());
        }
        context.terminal.print_json(&json);
    }
    Ok(Exit::Done)
}
