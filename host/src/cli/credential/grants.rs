//! The credentials of the configuration, and the store of their grants, for the commands.

use std::sync::Arc;

use crate::cli::outcome::CommandFailure;
use witgate_config::Config;
use witgate_config::credentials::{CredentialSettings, GrantSettings, OutboundSource};
use witgate_config::shape::nearest;
use witgate_credentials::grant_key::GrantKey;
use witgate_credentials::grant_store::{GrantError, GrantStore, StoredGrant};
use witgate_services::network::Ways;

pub(super) fn named<'c>(
    config: &'c Config,
    name: &str,
) -> Result<&'c Arc<CredentialSettings>, CommandFailure> {
    config.credentials.get(name).ok_or_else(|| {
        let help = match nearest(name, config.credentials.keys().map(String::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => "; `witgate credential list` lists all".to_owned(),
        };
        CommandFailure::new(format!("there is no credential `{name}`{help}"))
    })
}

/// The settings of a login.
pub(super) fn grant<'c>(
    config: &'c Config,
    name: &str,
) -> Result<(&'c CredentialSettings, &'c GrantSettings), CommandFailure> {
    let credential = named(config, name)?;
    match &credential.source {
        OutboundSource::Grant(settings) => Ok((credential, settings)),
        _ => Err(CommandFailure::new(format!(
            "the credential `{name}` is of the kind `{}`, so nobody logs in for it",
            credential.source.kind()
        ))),
    }
}

/// Replaces the stored grant with this key.
pub(super) fn store(
    settings: &GrantSettings,
    key: &GrantKey,
    grant: &StoredGrant,
) -> Result<(), CommandFailure> {
    let store = GrantStore::of(settings);
    let lock = store.lock(key).map_err(failed)?;
    store.write(key, grant, &lock).map_err(failed)
}

pub(super) fn failed(error: GrantError) -> CommandFailure {
    CommandFailure::new(error.to_string())
}

pub(super) fn ways(config: &Config) -> Arc<Ways> {
    config.network.as_ref().map_or_else(Ways::closed, Ways::new)
}
