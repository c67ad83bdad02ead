//! The caller whose account a command is about, for credentials with `per = "principal"`.

use std::collections::BTreeSet;

use super::grants::failed;
use crate::cli::outcome::CommandFailure;
use witgate_base::party::Principal;
use witgate_config::credentials::{CredentialSettings, GrantSettings, OutboundSource};
use witgate_config::{Config, Mode, PolicyKind};
use witgate_credentials::grant_key::GrantKey;
use witgate_credentials::grant_store::{GrantStore, ListedGrants};

#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct OwnerArguments {
    /// Subject of the caller, for a credential with `per = "principal"`
    #[arg(long = "as", value_name = "SUBJECT")]
    subject: Option<String>,
    /// Policy that authenticates the caller [default: the only one of the upstreams that use the credential]
    #[arg(long, value_name = "NAME", requires = "subject")]
    policy: Option<String>,
    /// Issuer of the caller's tokens
    #[arg(long, value_name = "URL", requires = "subject")]
    issuer: Option<String>,
}

impl OwnerArguments {
    /// True if they name a caller.
    pub(super) fn names_somebody(&self) -> bool {
        self.subject.is_some()
    }

    /// The key of a grant that may not exist yet.
    pub(super) fn new_key(
        &self,
        config: &Config,
        credential: &CredentialSettings,
    ) -> Result<GrantKey, CommandFailure> {
        let Some(subject) = self.subject_of(credential)? else {
            return Ok(GrantKey::shared(&credential.name));
        };
        let policy = self.policy_in(config, credential)?;
        let is_jwt = config.policies.get(&policy).is_some_and(|policy| policy.kind == PolicyKind::Jwt);
        if is_jwt && self.issuer.is_none() {
            return Err(CommandFailure::new(format!(
                "callers of the policy `{policy}` have an issuer: name it by `--issuer`"
            )));
        }
        let principal = Principal::new(policy.into(), self.issuer.as_deref(), subject);
        Ok(GrantKey::of(&credential.name, principal))
    }

    /// The key of a grant that exists. If there is none, it is that of no grant.
    pub(super) fn key(
        &self,
        config: &Config,
        credential: &CredentialSettings,
        settings: &GrantSettings,
    ) -> Result<GrantKey, CommandFailure> {
        let Some(subject) = self.subject_of(credential)? else {
            return Ok(GrantKey::shared(&credential.name));
        };
        let keys = GrantStore::of(settings).of_principals(&credential.name).map_err(failed)?.keys;
        let is_meant = |owner: &Principal| {
            let is_policy = self.policy.as_deref().is_none_or(|policy| policy == owner.proven_by());
            let is_issuer = self.issuer.is_none() || self.issuer.as_deref() == owner.issuer();
            owner.subject() == subject && is_policy && is_issuer
        };
        let meant: Vec<_> = keys.into_iter().filter(|key| key.owner().is_some_and(is_meant)).collect();
        match &*meant {
            [] => self.new_key(config, credential),
            [key] => Ok(key.clone()),
            _ => Err(CommandFailure::new(format!(
                "several callers have the subject `{subject}`: name the policy by `--policy`, and the issuer by `--issuer`"
            ))),
        }
    }

    /// The subject. None: all callers share the grant.
    fn subject_of(&self, credential: &CredentialSettings) -> Result<Option<&str>, CommandFailure> {
        let name = &credential.name;
        match (credential.source.is_of_principals(), &self.subject) {
            (false, None) => Ok(None),
            (true, Some(subject)) => Ok(Some(subject)),
            (false, Some(_)) => {
                Err(CommandFailure::new(format!("`{name}` is the same for all callers: leave `--as` out")))
            }
            (true, None) => Err(CommandFailure::new(format!(
                "each caller has an account of their own for `{name}`: name the caller by `--as SUBJECT`"
            ))),
        }
    }

    fn policy_in(&self, config: &Config, credential: &CredentialSettings) -> Result<String, CommandFailure> {
        let policies = authenticators(config, credential);
        match (&self.policy, policies.iter().next()) {
            (Some(policy), _) if policies.contains(policy.as_str()) => Ok(policy.clone()),
            (Some(policy), _) => Err(CommandFailure::new(format!(
                "`{policy}` authenticates no callers who use `{}`",
                credential.name
            ))),
            (None, Some(only)) if policies.len() == 1 => Ok((*only).to_owned()),
            (None, _) => {
                let names = policies.into_iter().collect::<Vec<_>>().join("`, `");
                let message =
                    format!("name the policy that authenticates the caller by `--policy`: `{names}`");
                Err(CommandFailure::new(message))
            }
        }
    }
}

/// The policies that authenticate the callers of the upstreams that use a credential.
fn authenticators<'c>(config: &'c Config, credential: &CredentialSettings) -> BTreeSet<&'c str> {
    let uses_it = |upstream: &&witgate_config::Upstream| {
        upstream.credentials.own.as_ref().is_some_and(|own| own.name == credential.name)
    };
    let upstreams = config.upstreams.iter().filter(uses_it);
    let named = upstreams.flat_map(|upstream| &upstream.pipeline.authenticate);
    let is_enforced =
        |name: &&String| config.policies.get(*name).is_some_and(|policy| policy.mode != Mode::Shadow);
    named.filter(is_enforced).map(String::as_str).collect()
}

/// All grants of a credential: that of all callers, or those of principals.
pub(super) fn grants(credential: &CredentialSettings) -> Result<ListedGrants, CommandFailure> {
    match &credential.source {
        OutboundSource::Grant(settings) if settings.connect.is_some() => {
            GrantStore::of(settings).of_principals(&credential.name).map_err(failed)
        }
        _ => Ok(ListedGrants { keys: vec![GrantKey::shared(&credential.name)], unreadable: Vec::new() }),
    }
}
