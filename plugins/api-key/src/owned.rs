//! Keys with owners. They are in a file of their own, which Witgate makes from its accounts.

use std::collections::{BTreeSet, HashSet};

use witgate_plugin::ConfigError;

use crate::Config;
use crate::store::{Store, StoredKey};

/// Checks that no key of a store that people edit has an owner: it would act as a user of the accounts.
pub(crate) fn none_in(store: &Store) -> Result<(), ConfigError> {
    match store.keys.iter().find(|key| key.owner.is_some()) {
        None => Ok(()),
        Some(key) => Err(ConfigError::at("/store", format!("the key `{}` has an `owner`", key.name))),
    }
}

/// The store with the keys of the file `owned` after its own. They have only scopes of `owned_scopes`, and are revoked
/// if their owner needs a second factor and had not shown one.
pub(crate) fn added(mut store: Store, config: &Config) -> Result<Store, ConfigError> {
    let Some(owned) = &config.owned else { return Ok(store) };
    let fault = |message: String| ConfigError::at("/owned", message);
    let mut owned = Store::parse(owned).map_err(|error| fault(error.to_string()))?;
    if let Some(key) = owned.keys.iter().find(|key| key.owner.is_none()) {
        return Err(fault(format!("the key `{}` has no `owner`", key.name)));
    }
    let scopes: HashSet<_> = config.owned_scopes.iter().collect();
    for key in &mut owned.keys {
        key.scopes.retain(|scope| scopes.contains(scope));
        if is_too_weak(key, config) {
            key.revoked.get_or_insert(key.created);
        }
    }
    store.keys.append(&mut owned.keys);
    store.check().map_err(|error| fault(error.to_string()))?;
    let owners = owners(&store);
    match store.keys.iter().find(|key| owners.contains(&key.name)) {
        None => Ok(store),
        Some(key) => Err(fault(format!("the owner of a key has the name of the key `{}`", key.name))),
    }
}

/// True if the owner needs a second factor by now, and had not shown one when the key was made.
fn is_too_weak(key: &StoredKey, config: &Config) -> bool {
    let strict = &config.owned_second_factor_roles;
    let is_needed = config.owned_second_factor || key.roles.iter().any(|role| strict.contains(role));
    key.single_factor && is_needed
}

/// The owners of keys that are not revoked.
pub(crate) fn owners(store: &Store) -> BTreeSet<String> {
    let live = store.keys.iter().filter(|key| key.revoked.is_none());
    live.filter_map(|key| key.owner.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use witgate_plugin::testing::{FakeHost, Person, tool};
    use witgate_plugin::{Credential, Decision, Plugin as _, Scheme, Verdict};

    use crate::ApiKey;

    /// `foo` and `bar` are keys of the user `u1`, `baz` is one of `u2`, and is revoked.
    const OWNED: &str = r#"
        version = 1
        [[keys]]
        name = "ada/1"
        id = "1"
        sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
        created = 2026-01-01T00:00:00Z
        roles = ["user"]
        scopes = ["read", "gone"]
        owner = "u1"
        [[keys]]
        name = "ada/2"
        id = "2"
        sha256 = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
        created = 2026-01-01T00:00:00Z
        owner = "u1"
        [[keys]]
        name = "ben/3"
        id = "3"
        sha256 = "baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096"
        created = 2026-01-01T00:00:00Z
        revoked = 2026-01-02T00:00:00Z
        owner = "u2"
    "#;

    fn configured(config: Value) -> Result<ApiKey, String> {
        let made = ApiKey::configure_json("own", &config.to_string());
        made.map(|(policy, _)| policy).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_acts_as_its_owner_with_scopes_that_exist() {
        let policy = configured(json!({ "owned": OWNED, "owned_scopes": ["read", "write"] })).unwrap();
        let host = FakeHost::new();
        let ask =
            |value| host.authenticate(&policy, &tool("echo"), &Credential { scheme: Scheme::Bearer, value });
        let Verdict::Identity(identity) = ask("foo") else { panic!("{:?}", ask("foo")) };
        assert_eq!((&*identity.subject, identity.roles.len()), ("u1", 1));
        assert_eq!(identity.scopes, ["read"]);
        assert!(matches!(ask("bar"), Verdict::Identity(identity) if identity.subject == "u1"));
        assert!(matches!(ask("baz"), Verdict::Refused(refusal) if refusal.reason == "revoked"));
    }

    #[test]
    fn a_key_for_one_resource_is_refused_elsewhere() {
        let here = "https://mcp.example.com/mcp";
        let owned = OWNED.replace("id = \"1\"", &format!("id = \"1\"\nresource = \"{here}\""));
        let policy = configured(json!({ "owned": owned })).unwrap();
        let ask = |audience: &str, value| {
            let host = FakeHost::new().audience(audience);
            host.authenticate(&policy, &tool("echo"), &Credential { scheme: Scheme::Bearer, value })
        };
        assert!(matches!(ask(here, "foo"), Verdict::Identity(_)));
        for other in ["https://mcp.example.com/other", "https://mcp.example.com/mcp/", ""] {
            let verdict = ask(other, "foo");
            assert!(
                matches!(&verdict, Verdict::Refused(refusal) if refusal.reason == "wrong-audience"),
                "{verdict:?}"
            );
            assert!(matches!(ask(other, "bar"), Verdict::Identity(_)));
        }
    }

    #[test]
    fn a_key_of_one_factor_is_revoked_while_its_owner_needs_two() {
        let owned = OWNED.replace("id = \"1\"", "id = \"1\"\nsingle_factor = true");
        for (rule, is_revoked) in [
            (json!({}), false),
            (json!({ "owned_second_factor_roles": ["admin"] }), false),
            (json!({ "owned_second_factor_roles": ["admin", "user"] }), true),
            (json!({ "owned_second_factor": true }), true),
        ] {
            let mut config = rule.clone();
            config["owned"] = owned.clone().into();
            let policy = configured(config).unwrap();
            let host = FakeHost::new();
            let ask = |value| {
                host.authenticate(&policy, &tool("echo"), &Credential { scheme: Scheme::Bearer, value })
            };
            let refused = matches!(ask("foo"), Verdict::Refused(refusal) if refusal.reason == "revoked");
            assert_eq!(refused, is_revoked, "{rule}");
            assert!(matches!(ask("bar"), Verdict::Identity(_)), "{rule}");
        }
    }

    #[test]
    fn others_decide_about_owners() {
        let policy = configured(json!({ "owned": OWNED })).unwrap();
        let host = FakeHost::new();
        let decide = |subject| {
            let person = Person::named(subject).proven_by("own");
            host.authorize(&policy, &tool("echo"), &person.principal())
        };
        assert_eq!(decide("u1"), Decision::Abstain);
        for subject in ["u2", "u3", "ada/1"] {
            assert!(matches!(decide(subject), Decision::Deny(_)), "{subject}");
        }
    }

    #[test]
    fn owners_are_in_their_own_file_only() {
        let fault = |config| configured(config).unwrap_err();
        assert!(fault(json!({ "store": OWNED })).contains("has an `owner`"));
        let without = OWNED.replacen("owner = \"u1\"", "", 1);
        assert!(fault(json!({ "owned": without })).contains("has no `owner`"));
        let patterns = OWNED.replacen("owner = \"u1\"", "owner = \"u1\"\nallow = [\"*\"]", 1);
        assert!(fault(json!({ "owned": patterns })).contains("no `allow`"));
        for line in ["resource = 'https://a.example'", "single_factor = true"] {
            let fault =
                fault(json!({ "owned": without.replacen("id = \"1\"", &format!("id = \"1\"\n{line}"), 1) }));
            assert!(fault.contains("only a key with `owner`"), "{fault}");
        }
        let named = OWNED.replace("owner = \"u1\"", "owner = \"ada/2\"");
        assert!(fault(json!({ "owned": named })).contains("has the name of the key"));
    }
}
