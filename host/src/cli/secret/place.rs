//! The store that the configuration names, or the default one.

use std::path::Path;

use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::raw::File;
use witgate_config::resolve::{self, Outline};
use witgate_config::secret_store::{SecretStore, StoredSecrets};
use witgate_config::secrets::SecretSources;

/// The option of commands that change the store.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(in crate::cli) struct OlderStore {
    /// Change the store although it is older than the last one that was used here
    #[arg(long)]
    accept_older: bool,
}

/// The store, for a change.
pub(super) fn changeable(context: &Context, older: OlderStore) -> Result<SecretStore, CommandFailure> {
    Ok(place(context)?.accepting_older(older.accept_older))
}

/// The secrets of the store. If they may be older than the last ones that were used here, a warning says so.
pub(super) fn read(context: &Context, store: &SecretStore) -> Result<StoredSecrets, CommandFailure> {
    let secrets = store.read()?;
    if let Some(why) = store.rollback(&secrets) {
        let help = "put the last one back, or change it with `--accept-older` if it is there on purpose";
        context.terminal.diagnose(&[Diagnostic::warning(why).help(help)]);
    }
    Ok(secrets)
}

/// The store. The rest of the configuration may be broken, and need not exist.
pub(super) fn place(context: &Context) -> Result<SecretStore, CommandFailure> {
    let sources: SecretSources = match context.config_path() {
        Some(path) => {
            let outline = Outline::recover(&path).map_err(CommandFailure::Config)?;
            // If the file of variables has a fault, the variables of the process still count.
            let environment = outline.environment(&context.environment);
            outline.sources(&environment.unwrap_or_else(|_| context.environment.clone()))
        }
        None => resolve::sources(&context.environment, &File::default(), Path::new(".")),
    };
    sources.store().cloned().ok_or_else(|| CommandFailure::new("there is no place for a store of secrets"))
}
