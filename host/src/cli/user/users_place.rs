//! The store of users that a command is about.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::outcome::CommandFailure;
use witgate_basic::hash::{Argon2Hash, RECOMMENDED};
use witgate_config::raw::Kind;
use witgate_config::resolve::{Outline, password_cost};
use witgate_config::user_store::UserStore;

/// The options that choose a store of users.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct UsersPlace {
    /// Policy of kind basic whose store of users to use, if there are several
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Path of the store of users, if there is no configuration
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    store: Option<PathBuf>,
    /// The users of `[accounts]`, who log in at Witgate's own page
    #[arg(long, conflicts_with_all = ["policy", "store"])]
    pub(super) accounts: bool,
}

/// The requirements for new passwords, and the cost of their hashes.
pub(super) struct PasswordTerms {
    pub(super) cost: Argon2Hash,
    /// The names of the service, which are no passwords.
    pub(super) services: Vec<String>,
}

/// The terms of the configuration, if there is one.
pub(super) fn password_terms(context: &Context) -> Result<PasswordTerms, CommandFailure> {
    match context.config_path() {
        Some(path) => {
            let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
            let cost = password_cost(&outline.file.passwords);
            Ok(PasswordTerms { cost, services: outline.service_names() })
        }
        None => Ok(PasswordTerms { cost: RECOMMENDED, services: Vec::new() }),
    }
}

/// The store that the arguments name, or else the configuration.
pub(super) fn place(context: &Context, place: &UsersPlace) -> Result<UserStore, CommandFailure> {
    if place.accounts {
        return Err(CommandFailure::new("this command is not for users of accounts"));
    }
    if let Some(store) = &place.store {
        return Ok(UserStore::at(store));
    }
    let Some(path) = context.config_path() else {
        return Err(CommandFailure::new(
            "there is no configuration file that says where the users are; name the store with `--store FILE`, or the \
             configuration with `--config FILE`",
        ));
    };
    let outline = Outline::read(&path).map_err(CommandFailure::Config)?;
    let policies = outline.file.policies.iter().filter(|(_, policy)| matches!(policy.kind, Kind::Basic));
    let policies: Vec<_> = policies.collect();
    let names = || policies.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let shown = path.display();
    let (name, policy) = match (&place.policy, policies.as_slice()) {
        (Some(wanted), _) => policies.iter().find(|(name, _)| *name == wanted).copied().ok_or_else(|| {
            CommandFailure::new(format!("{shown} has no basic policy `{wanted}`; there are: {}", names()))
        })?,
        (None, [only]) => *only,
        (None, []) => {
            return Err(CommandFailure::new(format!(
                "{shown} has no basic policy; add `[policies.people]` with `kind = \"basic\"` and `config = {{ users = \
                 \"users.toml\" }}`, or name a store with `--store FILE`"
            )));
        }
        (None, _) => {
            return Err(CommandFailure::new(format!(
                "{shown} has several basic policies; name one with `--policy NAME`: {}",
                names()
            )));
        }
    };
    match policy.config.get("users") {
        Some(Value::String(store)) => Ok(UserStore::at(outline.base.join(store))),
        Some(_) => Err(CommandFailure::new(format!(
            "the users of `{name}` are in the configuration itself; move them into a file"
        ))),
        None => Err(CommandFailure::new(format!(
            "the policy `{name}` names no store; add `users = \"users.toml\"` to its `config`"
        ))),
    }
}
