//! The store that a command is about.

use std::path::PathBuf;

use serde_json::Value;
use witgate_api_key::store::Store;

use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_config::key_store::KeyStore;
use witgate_config::raw::Kind;
use witgate_config::resolve::{ConfiguredKey, Outline};

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
    let (outline, name) = policy(context, place)?;
    store_of(context, &outline, &name)
}

/// The keys of the store, and the `keys` of the policy beside it. A policy with `keys` needs no store.
pub(super) fn all_keys(
    context: &Context,
    place: &StorePlace,
) -> Result<(Store, Vec<ConfiguredKey>), CommandFailure> {
    if let Some(store) = &place.store {
        return Ok((KeyStore::at(store).read()?, Vec::new()));
    }
    let (outline, name) = policy(context, place)?;
    let configured = configured(context, &outline, &name);
    let has_store =
        outline.file.policies.get(&name).is_some_and(|policy| policy.config.contains_key("store"));
    if !has_store && !configured.is_empty() {
        return Ok((Store::default(), configured));
    }
    Ok((store_of(context, &outline, &name)?.read()?, configured))
}

/// The configuration, and the name of its api-key policy that the arguments choose.
fn policy(context: &Context, place: &StorePlace) -> Result<(Outline, String), CommandFailure> {
    let Some(path) = context.config_path() else {
        return Err(CommandFailure::new(
            "there is no configuration file that says where the keys are; name the store with `--store FILE`, the \
             configuration with `--config FILE`, or make one with `witgate init`",
        ));
    };
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    let policies = outline.file.policies.iter().filter(|(_, policy)| matches!(policy.kind, Kind::ApiKey));
    let policies: Vec<_> = policies.map(|(name, _)| name).collect();
    let names = || policies.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let shown = path.display();
    let name = match (&place.policy, policies.as_slice()) {
        (Some(wanted), _) => policies.iter().find(|name| **name == wanted).copied().ok_or_else(|| {
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
    let name = name.clone();
    Ok((outline, name))
}

fn configured(context: &Context, outline: &Outline, policy: &str) -> Vec<ConfiguredKey> {
    let policy = outline.file.policies.get(policy);
    policy.map(|policy| outline.configured_keys(policy, &context.environment)).unwrap_or_default()
}

fn store_of(context: &Context, outline: &Outline, name: &str) -> Result<KeyStore, CommandFailure> {
    let configured = configured(context, outline, name);
    match outline.file.policies.get(name).and_then(|policy| policy.config.get("store")) {
        Some(Value::String(store)) => Ok(KeyStore::at(outline.base.join(store)).beside(configured)),
        Some(_) => Err(CommandFailure::new(format!(
            "the store of `{name}` is in the configuration itself; move it into a file"
        ))),
        None if !configured.is_empty() => Err(CommandFailure::new(format!(
            "the policy `{name}` has no store: its keys are those of `keys` in the configuration, from variables and \
             files. For further keys, add `store = \"keys.toml\"` to its `config`"
        ))),
        None => Err(CommandFailure::new(format!(
            "the policy `{name}` names no store; add `store = \"keys.toml\"` to its `config`"
        ))),
    }
}
