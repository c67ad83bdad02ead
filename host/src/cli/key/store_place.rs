//! The store that a command is about.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_config::key_store::KeyStore;
use witgate_config::raw::{Kind, Policy};
use witgate_config::resolve::Outline;

/// The options that choose a store.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StorePlace {
    /// Policy of kind api-key whose key store to use, if there are several
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Path of the key store, if there is no configuration
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    pub(in crate::cli) store: Option<PathBuf>,
}

/// The store that the arguments name, or else the configuration.
pub(in crate::cli) fn place(context: &Context, place: &StorePlace) -> Result<KeyStore, CommandFailure> {
    if let Some(store) = &place.store {
        return Ok(KeyStore::at(store));
    }
    let Some(path) = context.config_path() else {
        return Err(CommandFailure::new(
            "there is no configuration file that says where the keys are; name the store with `--store FILE`, the \
             configuration with `--config FILE`, or make one with `witgate init`",
        ));
    };
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    let stores: Vec<_> =
        outline.file.policies.iter().filter(|(_, policy)| matches!(policy.kind, Kind::ApiKey)).collect();
    let names = || stores.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let shown = path.display();
    let (name, policy) = match (&place.policy, stores.as_slice()) {
        (Some(wanted), _) => stores.iter().find(|(name, _)| *name == wanted).copied().ok_or_else(|| {
            CommandFailure::new(format!("{shown} has no api-key policy `{wanted}`; there are: {}", names()))
        })?,
        (None, [only]) => *only,
        (None, []) => {
            return Err(CommandFailure::new(format!(
                "{shown} has no api-key policy; add `[policies.keys]` with `kind = \"api-key\"` and `config = {{ store = \
                 \"keys.toml\" }}`, or name a store with `--store FILE`"
            )));
        }
        (None, _) => {
            return Err(CommandFailure::new(format!(
                "{shown} has several api-key policies; name one with `--policy NAME`: {}",
                names()
            )));
        }
    };
    store_of(&outline, name, policy)
}

fn store_of(outline: &Outline, name: &str, policy: &Policy) -> Result<KeyStore, CommandFailure> {
    match policy.config.get("store") {
        Some(Value::String(store)) => Ok(KeyStore::at(outline.base.join(store))),
        Some(_) => Err(CommandFailure::new(format!(
            "the store of `{name}` is in the configuration itself; move it into a file"
        ))),
        None => Err(CommandFailure::new(format!(
            "the policy `{name}` names no store; add `config = {{ store = \"keys.toml\" }}`"
        ))),
    }
}
