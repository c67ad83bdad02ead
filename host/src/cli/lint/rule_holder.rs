//! The entries of key stores and of stores of users, with their roles and patterns.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use witgate_api_key::store::Store;
use witgate_basic::users::Users;

use super::pipeline_place::{PipelineList, upstreams_of};
use super::placed_rules::{PatternUse, PlacedPattern, RuleOwner, RulePlace, RuleSet, RuleSource};
use witgate_config::{Config, Policy, PolicyKind};

/// An entry of a store that is neither revoked nor disabled, or a key in the configuration.
pub(in crate::cli) struct RuleHolder {
    /// `key` or `user`.
    pub(in crate::cli) kind: &'static str,
    /// The subject of its identity.
    pub(in crate::cli) name: String,
    /// The policy that knows it.
    pub(in crate::cli) policy: String,
    pub(in crate::cli) roles: Vec<String>,
    pub(in crate::cli) place: RulePlace,
    allow: Vec<PlacedPattern>,
    deny: Vec<PlacedPattern>,
    /// The upstreams whose calls its patterns are about.
    upstreams: Arc<[String]>,
}

/// The rights of an entry, as written.
struct WrittenRights {
    name: String,
    roles: Vec<String>,
    allow: Vec<String>,
    deny: Vec<String>,
}

impl RuleHolder {
    fn new(
        kind: &'static str,
        policy: &Policy,
        rights: WrittenRights,
        place: RulePlace,
        upstreams: &Arc<[String]>,
    ) -> Self {
        let list = |name: &str, texts: &[String], usage| {
            PlacedPattern::list(texts, usage, &place.below(&[name]), upstreams)
        };
        Self {
            kind,
            policy: policy.name.clone(),
            allow: list("allow", &rights.allow, PatternUse::Allow),
            deny: list("deny", &rights.deny, PatternUse::Deny),
            name: rights.name,
            roles: rights.roles,
            upstreams: Arc::clone(upstreams),
            place,
        }
    }

    pub(super) fn rule_set(&self) -> RuleSet {
        RuleSet {
            owner: RuleOwner::Entry(self.kind, self.name.clone()),
            policy: self.policy.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            inherited_allow: Vec::new(),
            inherited_deny: Vec::new(),
            upstreams: Arc::clone(&self.upstreams),
        }
    }
}

/// The entries of all stores.
#[derive(Default)]
pub(super) struct StoreEntries {
    pub(super) holders: Vec<RuleHolder>,
    /// The policies whose store cannot be read, so that their callers are unknown. `witgate check` reports them.
    pub(super) unreadable: BTreeSet<String>,
}

impl StoreEntries {
    /// Reads the stores of all policies. `source` is the configuration.
    pub(super) fn of(config: &Config, source: &Arc<RuleSource>) -> Self {
        let mut all = Self::default();
        for policy in config.policies.values() {
            let upstreams = upstreams_of(config, &policy.name, PipelineList::Authorize);
            let (setting, entries) = match policy.kind {
                PolicyKind::ApiKey => ("store", keys(config, policy, &upstreams)),
                PolicyKind::Basic => ("users", users(config, policy, &upstreams)),
                _ => continue,
            };
            if policy.config.get(setting).is_some() && entries.is_none() {
                all.unreadable.insert(policy.name.clone());
            }
            all.holders.extend(entries.into_iter().flatten());
            if policy.kind == PolicyKind::ApiKey {
                all.holders.extend(configured_keys(policy, source, &upstreams));
            }
        }
        all
    }
}

/// The text of the file that a setting of a policy names.
fn source_of(config: &Config, policy: &Policy, setting: &str) -> Option<Arc<RuleSource>> {
    let path = config.dir().join(policy.config.get(setting)?.as_str()?);
    let text = std::fs::read_to_string(&path).ok()?;
    Some(Arc::new(RuleSource { name: path.display().to_string(), text }))
}

fn keys(config: &Config, policy: &Policy, upstreams: &Arc<[String]>) -> Option<Vec<RuleHolder>> {
    let source = source_of(config, policy, "store")?;
    let keys = Store::parse(&source.text).ok()?.keys;
    let keys = keys.into_iter().enumerate().filter(|(_, key)| key.revoked.is_none());
    let holder = |(index, key): (usize, witgate_api_key::store::StoredKey)| {
        let place = RulePlace::new(&source, &["keys", &index.to_string()]);
        let rights = WrittenRights { name: key.name, roles: key.roles, allow: key.allow, deny: key.deny };
        RuleHolder::new("key", policy, rights, place, upstreams)
    };
    Some(keys.map(holder).collect())
}

fn users(config: &Config, policy: &Policy, upstreams: &Arc<[String]>) -> Option<Vec<RuleHolder>> {
    let source = source_of(config, policy, "users")?;
    let users = Users::parse(&source.text).ok()?.users;
    let users = users.into_iter().enumerate().filter(|(_, user)| user.disabled.is_none());
    let holder = |(index, user): (usize, witgate_basic::users::StoredUser)| {
        let place = RulePlace::new(&source, &["users", &index.to_string()]);
        let rights = WrittenRights { name: user.name, roles: user.roles, allow: user.allow, deny: user.deny };
        RuleHolder::new("user", policy, rights, place, upstreams)
    };
    Some(users.map(holder).collect())
}

/// The keys in the settings of a policy, which come from variables and files.
fn configured_keys(policy: &Policy, source: &Arc<RuleSource>, upstreams: &Arc<[String]>) -> Vec<RuleHolder> {
    let keys = policy.config.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let holder = |(index, key): (usize, &Value)| {
        let texts = |name: &str| -> Vec<String> {
            let list = key.get(name).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let name = key.get("name")?.as_str()?.to_owned();
        let rights =
            WrittenRights { name, roles: texts("roles"), allow: texts("allow"), deny: texts("deny") };
        let index = index.to_string();
        let place = RulePlace::new(source, &["policies", &policy.name, "config", "keys", &index]);
        Some(RuleHolder::new("key", policy, rights, place, upstreams))
    };
    keys.iter().enumerate().filter_map(holder).collect()
}
