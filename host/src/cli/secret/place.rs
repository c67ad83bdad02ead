//! The store that the configuration names, or the default one.

use std::path::Path;

use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_config::raw::File;
use witgate_config::resolve::{self, Outline};
use witgate_config::secret_store::SecretStore;
use witgate_config::secrets::SecretSources;

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
