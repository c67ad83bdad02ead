//! The accounts that the commands use.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_accounts::database::AccountDatabase;
use witgate_config::accounts::AccountPlace;
use witgate_config::resolve::Outline;

/// The accounts of the configuration.
pub(in crate::cli) fn opened(context: &Context) -> Result<AccountDatabase, CommandFailure> {
    Ok(AccountDatabase::open(&place(context)?)?)
}

/// The same, which are made if there are none.
pub(in crate::cli) fn made(context: &Context) -> Result<AccountDatabase, CommandFailure> {
    Ok(AccountDatabase::make(&place(context)?)?)
}

/// The files of the accounts.
pub(super) fn place(context: &Context) -> Result<AccountPlace, CommandFailure> {
    let (path, outline) = outline(context)?;
    outline.accounts().ok_or_else(|| {
        CommandFailure::new(format!("{} has no accounts; add a table `[accounts]`", path.display()))
    })
}

/// The configuration with the accounts, and its path.
pub(super) fn outline(context: &Context) -> Result<(PathBuf, Outline), CommandFailure> {
    let Some(path) = context.config_path() else {
        return Err(CommandFailure::new(
            "there is no configuration file that says where the accounts are; name it with `--config FILE`",
        ));
    };
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    Ok((path, outline))
}
