//! The principals that a configuration knows: the owners of keys, users, people of accounts, and roles.

use std::collections::BTreeSet;
use std::path::Path;

use secrecy::SecretString;
use serde_json::{Value, json};
use witgate_accounts::database::AccountDatabase;
use witgate_accounts::database::users::AccountUser;
use witgate_accounts::error::AccountsError;
use witgate_api_key::store::{KEY_PREFIX, StoredKey};
use witgate_basic::users::StoredUser;
use witgate_config::key_store::KeyStore;
use witgate_config::user_store::UserStore;
use witgate_config::{Policy, PolicyKind};
use witgate_plugin::Identity;
use witgate_rbac::settings::Condition;

use super::condition_values::{escaped, passing, placed};
use super::question::QuestionSender;
use super::scene::DecisionScene;
use super::written_rules::WrittenRules;

/// The text that stands for a key. It is nobody's, because a key has 43 characters after the prefix.
const STAND_IN: &str = "explained";

/// The policy that is said to know somebody of whom only the role counts. No policy has this name.
const NO_POLICY: &str = "-";

/// A principal that may make calls.
#[derive(Clone, Debug)]
pub(crate) struct KnownPrincipal {
    /// `anonymous`, `key`, `user`, `account`, `role` or `subject`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    /// The policy that knows them. Two stores may have the same name.
    pub(crate) policy: Option<String>,
    pub(crate) sender: QuestionSender,
}

impl KnownPrincipal {
    /// A principal whom a policy is assumed to know.
    pub(crate) fn assumed(kind: &'static str, name: String, identity: Identity, proven_by: &str) -> Self {
        let sender = QuestionSender::Assumed { identity, proven_by: proven_by.into() };
        Self { kind, name, policy: Some(proven_by.to_owned()), sender }
    }

    /// Somebody with these roles, of whom nothing else is known.
    fn with_roles(name: String, roles: &[String], scopes: &[String], claims: Option<&Value>) -> Self {
        let identity = Identity {
            subject: "somebody".to_owned(),
            roles: roles.to_vec(),
            scopes: scopes.to_vec(),
            claims: claims.map(Value::to_string),
            ..Identity::default()
        };
        Self::assumed("role", name, identity, NO_POLICY)
    }
}

/// Everybody whom the configuration knows at the upstream at `place`, without the people of accounts.
pub(crate) fn principals(scene: DecisionScene<'_>, place: usize) -> Vec<KnownPrincipal> {
    let mut known = vec![KnownPrincipal {
        kind: "anonymous",
        name: "-".to_owned(),
        policy: None,
        sender: QuestionSender::Nobody,
    }];
    known.extend(keys(scene, place).into_iter().map(|(policy, key)| KnownPrincipal {
        kind: "key",
        sender: sender_of(scene, policy, &key),
        name: key.name,
        policy: Some(policy.name.clone()),
    }));
    known.extend(users(scene, place).into_iter().map(|(policy, user)| {
        let StoredUser { name, roles, scopes, .. } = user;
        let identity = Identity { subject: name.clone(), roles, scopes, ..Identity::default() };
        KnownPrincipal::assumed("user", name, identity, &policy.name)
    }));
    let roles = known_roles(scene, place).into_iter();
    known.extend(roles.map(|role| KnownPrincipal::with_roles(role.clone(), &[role], &[], None)));
    known
}

/// Holders of these roles: without scopes, with all `scopes`, and with `claims` as well, as far as there are any.
pub(crate) fn role_holders(
    roles: &[String],
    scopes: &BTreeSet<String>,
    claims: Option<&Value>,
) -> Vec<KnownPrincipal> {
    let (name, scopes) = (roles.join(" and "), scopes.iter().cloned().collect::<Vec<_>>());
    let mut holders = vec![KnownPrincipal::with_roles(name.clone(), roles, &[], None)];
    let scoped = if scopes.is_empty() { name } else { format!("{name} with all scopes") };
    if !scopes.is_empty() {
        holders.push(KnownPrincipal::with_roles(scoped.clone(), roles, &scopes, None));
    }
    if let Some(claims) = claims {
        let name = format!("{scoped} with {claims}");
        holders.push(KnownPrincipal::with_roles(name, roles, &scopes, Some(claims)));
    }
    holders
}

/// Claims that fulfil these conditions, as far as one value for each claim can. None: no condition is on a claim.
pub(crate) fn fulfilling_claims<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Option<Value> {
    let mut claims = None;
    for condition in conditions {
        let (Some(path), Some(value)) = (&condition.claim, passing(condition).into_iter().next()) else {
            continue;
        };
        let pointer: String = path.split('.').map(|step| format!("/{}", escaped(step))).collect();
        let known = claims.clone().unwrap_or_else(|| json!({}));
        if known.pointer(&pointer).is_none() {
            claims = placed(known, &pointer, value).or(claims);
        }
    }
    claims
}

/// The authenticators of an upstream's pipeline that are enforced.
pub(crate) fn authenticators(scene: DecisionScene<'_>, place: usize) -> impl Iterator<Item = &Policy> {
    let names = scene.generation.pipeline(place).authenticate.iter().map(|policy| &**policy.name());
    names.filter_map(|name| scene.config.policies.get(name))
}

/// The users of the stores of an upstream's pipeline who are not disabled, each with their policy.
pub(crate) fn users(scene: DecisionScene<'_>, place: usize) -> Vec<(&Policy, StoredUser)> {
    let policies = authenticators(scene, place).filter(|policy| policy.kind == PolicyKind::Basic);
    let stored = policies.filter_map(|policy| {
        let store = policy.config.get("users").and_then(Value::as_str)?;
        let users = UserStore::at(scene.config.dir().join(store)).read().ok()?.users;
        Some(users.into_iter().filter(|user| user.disabled.is_none()).map(move |user| (policy, user)))
    });
    stored.flatten().collect()
}

/// The keys of the stores of an upstream's pipeline, and those that users have made, each with its policy.
pub(crate) fn keys(scene: DecisionScene<'_>, place: usize) -> Vec<(&Policy, StoredKey)> {
    let policies = authenticators(scene, place).filter(|policy| policy.kind == PolicyKind::ApiKey);
    let keys = policies.map(|policy| (policy, stored_keys(&scene.config.dir(), &policy.config)));
    keys.flat_map(|(policy, keys)| keys.into_iter().map(move |key| (policy, key))).collect()
}

/// The keys in the files of a policy with these settings, which are relative to `dir`.
fn stored_keys(dir: &Path, settings: &Value) -> Vec<StoredKey> {
    let files = ["store", "owned"].into_iter().filter_map(|name| settings.get(name)?.as_str());
    let stores = files.filter_map(|file| KeyStore::at(dir.join(file)).read().ok());
    stores.flat_map(|store| store.keys).collect()
}

/// The owner of a key. The real policy judges it, as if it were shown.
pub(crate) fn sender_of(scene: DecisionScene<'_>, policy: &Policy, key: &StoredKey) -> QuestionSender {
    let live = scene.generation.policy(&policy.name);
    let header = live.and_then(|policy| policy.credential_headers().first().cloned());
    let text = SecretString::from(format!("{KEY_PREFIX}{STAND_IN}"));
    QuestionSender::Key { policy: policy.name.clone(), header, text, digest: key.sha256.0 }
}

/// The roles that rules, key stores and keys of the configuration name.
pub(crate) fn known_roles(scene: DecisionScene<'_>, upstream: usize) -> BTreeSet<String> {
    let rules: Vec<_> = scene.config.policies.values().filter_map(WrittenRules::of).collect();
    let mut roles: BTreeSet<_> = rules.iter().flat_map(WrittenRules::names).map(str::to_owned).collect();
    roles.extend(keys(scene, upstream).into_iter().flat_map(|(_, key)| key.roles));
    let policies = scene.config.policies.values().filter(|policy| policy.kind == PolicyKind::ApiKey);
    let configured = policies.filter_map(|policy| policy.config.get("keys")?.as_array()).flatten();
    let configured = configured.filter_map(|key| key.get("roles")?.as_array()).flatten();
    roles.extend(configured.filter_map(Value::as_str).map(str::to_owned));
    roles
}

/// The policy of the kind `accounts` that judges the tokens of people of `[accounts]`, and their issuer.
pub(crate) fn judge_of_accounts(scene: DecisionScene<'_>, place: usize) -> Option<(&Policy, &str)> {
    let accounts = scene.config.accounts.as_ref()?;
    let key_set = accounts.place.key_set().display().to_string();
    let of_accounts = |policy: &&Policy| {
        let file = policy.config.pointer("/keys/0/jwks_file").and_then(Value::as_str);
        policy.kind == PolicyKind::Jwt && file == Some(&key_set)
    };
    Some((authenticators(scene, place).find(of_accounts)?, accounts.issuer.as_str()))
}

/// The people of `[accounts]`, if the configuration has such and this process may read their database.
///
/// # Errors
/// If it may not.
pub(crate) fn people(scene: DecisionScene<'_>) -> Result<Vec<AccountUser>, AccountsError> {
    let Some(accounts) = &scene.config.accounts else { return Ok(Vec::new()) };
    let mut people = AccountDatabase::open(&accounts.place)?.users()?;
    people.retain(|user| user.disabled.is_none());
    Ok(people)
}

/// The identity that a token of somebody of `[accounts]` gives them. Their scopes are those that a client asked for.
pub(crate) fn identity_of(user: &AccountUser, issuer: &str) -> Identity {
    Identity {
        subject: user.id.clone(),
        issuer: Some(issuer.to_owned()),
        roles: user.roles.clone(),
        ..Identity::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_users_have_made_are_found_beside_those_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = |name: &str, digit: &str, owner: &str| {
            format!(
                "version = 1\n[[keys]]\nname = '{name}'\nid = '{name}'\nsha256 = '{}'\n\
                 created = 2026-01-01T00:00:00Z\n{owner}",
                digit.repeat(64)
            )
        };
        std::fs::write(folder.path().join("keys.toml"), store("ci", "1", "")).unwrap();
        std::fs::write(folder.path().join("own.toml"), store("laptop", "2", "owner = 'u1'\n")).unwrap();
        let owned = folder.path().join("own.toml");
        let settings = json!({ "store": "keys.toml", "owned": owned });
        let names: Vec<_> =
            stored_keys(folder.path(), &settings).into_iter().map(|key| (key.name, key.owner)).collect();
        assert_eq!(names, [("ci".to_owned(), None), ("laptop".to_owned(), Some("u1".to_owned()))]);
    }

    #[test]
    fn claims_fulfil_the_first_condition_on_each() {
        let condition = |whole: Value| serde_json::from_value::<Condition>(whole).unwrap();
        let conditions = [
            condition(json!({ "on": "*", "claim": "team.name", "equals": "red" })),
            condition(json!({ "on": "*", "claim": "team.name", "equals": "blue" })),
            condition(json!({ "on": "*", "claim": "level", "min": 3 })),
            condition(json!({ "on": "*", "argument": "/a", "equals": 1 })),
        ];
        let claims = json!({ "team": { "name": "red" }, "level": 3 });
        assert_eq!(fulfilling_claims(conditions.iter()), Some(claims));
        assert_eq!(fulfilling_claims(conditions[3..].iter()), None);
    }
}
