//! The stores of keys and users: whether they can be read, whether anybody in them can call, and who soon cannot.

use serde_json::Value;
use witgate_api_key::store::{StoredKey, Time};

use super::finding::CheckFinding;
use super::installation::Installation;
use crate::cli::key::{now, written};
use witgate_config::key_store::KeyStore;
use witgate_config::user_store::UserStore;
use witgate_config::{Policy, PolicyKind};

/// The time before the expiry of a key from which on it is a warning: long enough for a person's holiday.
const SOON_S: u64 = 14 * 86_400;

/// The most names in a message.
const NAMES: usize = 5;

pub(super) fn examine(installation: &Installation) -> Vec<CheckFinding> {
    let policies = installation.config.policies.values();
    policies.flat_map(|policy| of_policy(installation, policy)).collect()
}

fn of_policy(installation: &Installation, policy: &Policy) -> Vec<CheckFinding> {
    let (setting, name) = match policy.kind {
        PolicyKind::ApiKey => ("store", &policy.name),
        PolicyKind::Basic => ("users", &policy.name),
        _ => return Vec::new(),
    };
    let Some(file) = policy.config.get(setting).and_then(Value::as_str) else { return Vec::new() };
    let path = installation.path(file);
    let findings = match policy.kind {
        PolicyKind::ApiKey => match KeyStore::at(&path).read() {
            Ok(store) => keys(name, &store.keys, has_other_keys(policy), now()),
            Err(error) => vec![unreadable(name, &error.to_string())],
        },
        _ => match UserStore::at(&path).read() {
            Ok(store) => users(name, store.users.iter().map(|user| user.disabled.is_some())),
            Err(error) => vec![unreadable(name, &error.to_string())],
        },
    };
    let at = ["policies", name, "config", setting];
    let placed = |finding: CheckFinding| {
        if finding.fix.is_some() { finding.at(installation.place(&at)) } else { finding }
    };
    findings.into_iter().map(placed).collect()
}

/// True if the policy has keys beside those of its store.
fn has_other_keys(policy: &Policy) -> bool {
    let has = |setting| {
        policy.config.get(setting).is_some_and(|value| value.as_array().is_none_or(|all| !all.is_empty()))
    };
    has("keys") || has("owned")
}

fn unreadable(policy: &str, why: &str) -> CheckFinding {
    CheckFinding::fail(format!("the store of `{policy}` cannot be used: {why}"))
        .because("the policy denies every call")
        .fix("correct the path, or the file")
}

fn keys(policy: &str, keys: &[StoredKey], has_others: bool, now: Time) -> Vec<CheckFinding> {
    let current: Vec<_> = keys.iter().filter(|key| key.revoked.is_none()).collect();
    let ends =
        |key: &&StoredKey, from: u64, to: u64| key.expires.is_some_and(|end| (from..to).contains(&end.0));
    let expired: Vec<_> = current.iter().copied().filter(|key| ends(key, 0, now.0 + 1)).collect();
    let soon = now.0.saturating_add(SOON_S);
    let expiring: Vec<_> = current.iter().copied().filter(|key| ends(key, now.0 + 1, soon)).collect();
    let usable = current.len() - expired.len();
    let mut findings = Vec::new();
    if usable == 0 && !has_others {
        findings.push(
            CheckFinding::warn(format!("the store of `{policy}` has no key that is valid"))
                .because("nobody can call with a key")
                .fix("`witgate key create NAME` makes one"),
        );
    }
    if !expired.is_empty() {
        findings.push(
            CheckFinding::warn(format!("expired keys of `{policy}`: {}", names(&expired)))
                .because("calls with them are refused, and a list of old keys hides the current ones")
                .fix("`witgate key rotate NAME --expires 90d` renews one, `witgate key revoke NAME` ends it"),
        );
    }
    if !expiring.is_empty() {
        findings.push(
            CheckFinding::warn(format!(
                "keys of `{policy}` that expire within 14 days: {}",
                names(&expiring)
            ))
            .because("calls with them will be refused then")
            .fix("`witgate key rotate NAME --expires 90d`, and give the new key to its user"),
        );
    }
    if findings.is_empty() {
        findings.push(CheckFinding::pass(format!("valid keys of `{policy}`: {usable}")));
    }
    findings
}

/// The names of keys with the ends of their validity.
fn names(keys: &[&StoredKey]) -> String {
    let shown = keys.iter().take(NAMES).map(|key| match key.expires {
        Some(end) => format!("`{}` ({})", key.name, written(end)),
        None => format!("`{}`", key.name),
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if let Some(others) = keys.len().checked_sub(NAMES).filter(|others| *others > 0) {
        text.push_str(&format!(", and {others} others"));
    }
    text
}

/// Each user is true if disabled.
fn users(policy: &str, users: impl Iterator<Item = bool>) -> Vec<CheckFinding> {
    let enabled = users.filter(|is_disabled| !is_disabled).count();
    vec![match enabled {
        0 => CheckFinding::warn(format!("the store of `{policy}` has no user who is enabled"))
            .because("nobody can log in with a password")
            .fix("`witgate user add NAME` adds one"),
        _ => CheckFinding::pass(format!("enabled users of `{policy}`: {enabled}")),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::*;
    use witgate_config::key_store::NewKey;

    /// The keys of a store with keys of these names and expiries.
    fn stored(made: &[(&str, Option<u64>)]) -> Vec<StoredKey> {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::at(folder.path().join("keys.toml"));
        for (name, end) in made {
            let key = NewKey { name: (*name).to_owned(), expires: end.map(Time), ..NewKey::default() };
            store.create(key, Time(0)).unwrap();
        }
        store.read().unwrap().keys
    }

    #[test]
    fn keys_that_are_valid_for_long_pass() {
        let all = stored(&[("ci", None), ("ada", Some(SOON_S + 1001))]);
        let findings = keys("keys", &all, false, Time(1000));
        assert_eq!(findings, [CheckFinding::pass("valid keys of `keys`: 2")]);
    }

    #[test]
    fn expired_and_expiring_keys_are_named() {
        let all = stored(&[("old", Some(1000)), ("soon", Some(1001)), ("ci", None)]);
        let findings = keys("keys", &all, false, Time(1000));
        assert!(findings[0].message.starts_with("expired keys of `keys`: `old`"), "{findings:?}");
        assert!(findings[1].message.contains("14 days: `soon`"), "{findings:?}");
        assert!(findings.iter().all(|finding| finding.level == FindingLevel::Warn && findings.len() == 2));
    }

    #[test]
    fn a_store_in_which_nobody_can_call_is_a_warning() {
        let findings = keys("keys", &stored(&[("old", Some(1))]), false, Time(1000));
        assert!(findings[0].message.contains("no key that is valid"), "{findings:?}");
        // Keys of variables are enough.
        assert_eq!(keys("keys", &[], true, Time(1000))[0].level, FindingLevel::Pass);
        assert_eq!(users("people", [true].into_iter())[0].level, FindingLevel::Warn);
        assert_eq!(users("people", [true, false].into_iter())[0].level, FindingLevel::Pass);
    }
}
