//! API keys: a store of hashed keys, with the identity and the patterns of each key.
//!
//! As an authenticator, the policy finds the entry with the SHA-256 of the caller's key. As an authorizer,
//! it applies the `allow` and `deny` of that entry to the identities that it has established itself, and
//! abstains for others.
//!
//! A key may have an owner. Then its identity is theirs, and other authorizers decide about it.

mod owned;
pub mod store;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use witgate_plugin::{
    Authenticate, Authorize, Call, ConfigError, Credential, Decision, Digest, Host, Identity, OneOrMany,
    Plugin, Principal, RuleVerdict, Rules, Scheme, Verdict, Wants, check_credential_headers,
};

use store::{KEY_PREFIX, Store, StoreError};

/// The settings of an `api-key` policy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file of hashed keys that `witgate key` writes. It may be left out if there are `keys`.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "witgate-file"))]
    pub store: Option<String>,
    /// Further keys, from variables or files.
    #[serde(default)]
    pub keys: Vec<SecretKey>,
    /// A file of keys with owners, which Witgate makes from its accounts.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "witgate-file"))]
    pub owned: Option<String>,
    /// The scopes that keys with owners may have. Others do not count.
    #[serde(default)]
    pub owned_scopes: Vec<String>,
    /// True if keys with owners are revoked as long as their owner had logged in with one factor alone.
    #[serde(default)]
    pub owned_second_factor: bool,
    /// The roles whose owners have such keys revoked in any case.
    #[serde(default)]
    pub owned_second_factor_roles: Vec<String>,
    /// The header that contains a key, or several: a caller uses one of them. The policy also reads
    /// `Authorization: Bearer`.
    #[serde(default = "default_header")]
    pub header: OneOrMany,
}

/// A key from a variable or a file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// The subject of the key's identity. No key of the store has it.
    pub name: String,
    /// The source of the key. The policy gets only the digest.
    #[schemars(with = "String", extend("format" = "witgate-secret-digest"))]
    pub key: store::Sha256,
    /// Roles of its identity.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Scopes of its identity.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Patterns of the calls that the key allows.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Patterns of the calls that the key denies, even if `allow` covers them.
    #[serde(default)]
    pub deny: Vec<String>,
    /// True if the key may have fewer than 32 characters. Such a key can be guessed.
    #[serde(default)]
    pub weak: bool,
}

impl SecretKey {
    /// The entry of a store with this key.
    fn stored(self, place: usize) -> store::StoredKey {
        store::StoredKey {
            name: self.name,
            id: format!("configured-{place}"),
            sha256: self.key,
            created: store::Time(0),
            expires: None,
            revoked: None,
            roles: self.roles,
            scopes: self.scopes,
            allow: self.allow,
            deny: self.deny,
            previous: None,
            owner: None,
            resource: None,
            single_factor: false,
        }
    }
}

fn default_header() -> OneOrMany {
    OneOrMany(vec!["X-API-Key".to_owned()])
}

/// One configured `api-key` policy.
#[derive(Debug)]
pub struct ApiKey {
    policy: String,
    /// Sorted by name.
    keys: Vec<KeyRules>,
    /// Sorted by the first word of the digest.
    index: Vec<DigestEntry>,
    /// The owners of keys that are not revoked.
    owners: BTreeSet<String>,
}

#[derive(Debug)]
struct KeyRules {
    name: String,
    owner: Option<String>,
    /// The only audience that the key is for.
    resource: Option<String>,
    roles: Vec<String>,
    scopes: Vec<String>,
    rules: Rules,
    expires: Option<u64>,
    revoked: bool,
}

/// A digest, and the key that it belongs to.
#[derive(Debug)]
struct DigestEntry {
    digest: Digest,
    key: usize,
    /// The end of the digest's validity, if it is before the key's.
    until: Option<u64>,
}

impl Plugin for ApiKey {
    const NAME: &'static str = "api-key";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str =
        "Knows callers by API keys from a store of hashed keys, and applies each key's own patterns.";
    type Config = Config;

    fn configure(policy: &str, mut config: Config) -> Result<(Self, Wants), ConfigError> {
        check_credential_headers(&config.header)?;
        if config.store.is_none() && config.keys.is_empty() && config.owned.is_none() {
            return Err(ConfigError::at("/store", "missing; name a `store` of keys, or write `keys`"));
        }
        let store = config.store.as_deref().map_or_else(|| Ok(Store::default()), Store::parse);
        let store = store.map_err(|e| ConfigError::at("/store", e.to_string()))?;
        owned::none_in(&store)?;
        let store = with_keys(store, std::mem::take(&mut config.keys))?;
        let store = owned::added(store, &config)?;
        let wants = Wants {
            schemes: vec![Scheme::Header, Scheme::Bearer, Scheme::Argument],
            credential_header: Some(config.header.0.join(", ")),
            ..Wants::default()
        };
        Ok((Self::new(policy, store)?, wants))
    }
}

/// The store with the configured keys after its own.
fn with_keys(mut store: Store, keys: Vec<SecretKey>) -> Result<Store, ConfigError> {
    if keys.is_empty() {
        return Ok(store);
    }
    let own = store.keys.len();
    store.keys.extend(keys.into_iter().enumerate().map(|(place, key)| key.stored(place)));
    match store.check() {
        Ok(()) => Ok(store),
        Err(StoreError::Key { place, fault }) if place > own => {
            let other = fault.other().and_then(|place| store.keys.get(place.checked_sub(1)?));
            let other = other.map(|key| format!(" (`{}`)", key.name)).unwrap_or_default();
            Err(ConfigError::at(format!("/keys/{}", place - own - 1), format!("{fault}{other}")))
        }
        Err(error) => Err(ConfigError::at("/store", error.to_string())),
    }
}

impl ApiKey {
    fn new(policy: &str, mut store: Store) -> Result<Self, ConfigError> {
        store.keys.sort_by(|a, b| a.name.cmp(&b.name));
        let mut index = Vec::new();
        for (key, stored) in store.keys.iter().enumerate() {
            index.push(DigestEntry { digest: stored.sha256.0, key, until: None });
            if let Some(previous) = &stored.previous {
                index.push(DigestEntry { digest: previous.sha256.0, key, until: Some(previous.until.0) });
            }
        }
        index.sort_by_key(|entry| first_word(&entry.digest));
        let owners = owned::owners(&store);
        let keys = store.keys.into_iter().map(KeyRules::new).collect::<Result<_, _>>()?;
        Ok(Self { policy: policy.to_owned(), keys, index, owners })
    }

    /// Finds a digest by its first word, and compares the whole in constant time. The time of the
    /// search may reveal parts of digests, but nobody can compute a key from its digest.
    fn find(&self, digest: &Digest) -> Option<(&KeyRules, Option<u64>)> {
        let word = first_word(digest);
        let start = self.index.partition_point(|entry| first_word(&entry.digest) < word);
        let same = self.index.iter().skip(start).take_while(|entry| first_word(&entry.digest) == word);
        let entry = same.into_iter().find(|entry| entry.digest.ct_eq(digest).into())?;
        Some((self.keys.get(entry.key)?, entry.until))
    }

    fn by_name(&self, name: &str) -> Option<&KeyRules> {
        let place = self.keys.binary_search_by(|key| key.name.as_str().cmp(name)).ok()?;
        self.keys.get(place)
    }
}

fn first_word(digest: &Digest) -> u64 {
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl KeyRules {
    fn new(stored: store::StoredKey) -> Result<Self, ConfigError> {
        let rules = stored.rules().map_err(|e| ConfigError::at("/store", e.to_string()))?;
        Ok(Self {
            name: stored.name,
            owner: stored.owner,
            resource: stored.resource,
            roles: stored.roles,
            scopes: stored.scopes,
            rules,
            expires: stored.expires.map(|time| time.0),
            revoked: stored.revoked.is_some(),
        })
    }

    fn judge<H: Host>(&self, host: &H, until: Option<u64>) -> Verdict {
        let now = host.now();
        if self.revoked {
            return Verdict::refused("revoked", format!("key `{}` is revoked", self.name));
        }
        if self.expires.is_some_and(|end| now >= end) {
            return Verdict::refused("expired", format!("key `{}` has expired", self.name));
        }
        if until.is_some_and(|end| now >= end) {
            let detail = format!("key `{}` was rotated, and the overlap is over", self.name);
            return Verdict::refused("expired", detail);
        }
        if let Some(resource) = self.resource.as_ref().filter(|resource| **resource != *host.audience()) {
            let detail = format!("key `{}` is only for `{resource}`", self.name);
            return Verdict::refused("wrong-audience", detail);
        }
        Verdict::Identity(Identity {
            subject: self.owner.as_ref().unwrap_or(&self.name).clone(),
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            expires_at: self.expires.into_iter().chain(until).min(),
            ..Identity::default()
        })
    }
}

impl Authenticate for ApiKey {
    async fn authenticate<H: Host>(
        &self,
        host: &H,
        _call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        let may_be_a_token = match credential.scheme {
            Scheme::Header => false,
            Scheme::Bearer | Scheme::Argument => true,
            Scheme::Basic | Scheme::Dpop | Scheme::Certificate => {
                return Verdict::NotMine;
            }
        };
        match self.find(&host.sha256(credential.value.as_bytes())) {
            Some((key, until)) => {
                let verdict = key.judge(host, until);
                if let Verdict::Identity(identity) = &verdict {
                    host.keep_verdict(identity.expires_at.unwrap_or(u64::MAX));
                }
                verdict
            }
            // It may be a token for another policy.
            None if may_be_a_token && !credential.value.starts_with(KEY_PREFIX) => Verdict::NotMine,
            None => Verdict::refused("unknown-key", "the store does not contain this key"),
        }
    }
}

impl Authorize for ApiKey {
    async fn authorize<H: Host>(&self, host: &H, call: &Call<'_>, principal: &Principal<'_>) -> Decision {
        if principal.proven_by != self.policy {
            return Decision::Abstain;
        }
        if self.owners.contains(principal.subject) {
            return Decision::Abstain;
        }
        let Some(key) = self.by_name(principal.subject) else {
            return Decision::deny("denied", "the key is no longer in the store");
        };
        if key.revoked || key.expires.is_some_and(|end| host.now() >= end) {
            return Decision::deny("denied", "the key is revoked or has expired");
        }
        match key.rules.judge(call.kind, call.target) {
            RuleVerdict::Allowed => {
                host.note_rule("key", &key.name);
                Decision::Allow
            }
            RuleVerdict::Denied => Decision::deny("denied", "a deny pattern of the key covers the call"),
            RuleVerdict::Unmatched => {
                Decision::deny("not-allowed", "no allow pattern of the key covers the call")
            }
        }
    }
}

witgate_plugin::export_policy!(ApiKey);

#[cfg(test)]
mod tests {
    use witgate_plugin::testing::{FakeHost, Person, tool};

    use super::{ApiKey, Credential, Decision, Plugin, Scheme, Verdict};

    /// `foo` is ada's key, and has been revoked; `bar` is ben's.
    const STORE: &str = r#"
        version = 1
        [[keys]]
        name = "ada"
        id = "4f9a01c2"
        sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
        created = 2026-01-01T00:00:00Z
        revoked = 2026-01-02T00:00:00Z
        allow = ["*"]
        [[keys]]
        name = "ben"
        id = "a01c24f9"
        sha256 = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
        created = 2026-01-01T00:00:00Z
        allow = ["*"]
    "#;

    fn policy() -> ApiKey {
        let config = serde_json::json!({ "store": STORE }).to_string();
        ApiKey::configure_json("keys", &config).map(|(policy, _)| policy).expect("the settings are good")
    }

    #[test]
    fn a_key_is_compared_only_by_its_digest() {
        let host = FakeHost::new();
        let ask = |value| {
            host.authenticate(&policy(), &tool("echo"), &Credential { scheme: Scheme::Header, value })
        };
        assert!(matches!(ask("bar"), Verdict::Identity(identity) if identity.subject == "ben"));
        assert!(matches!(ask("foo"), Verdict::Refused(_)));
        assert!(matches!(ask("baz"), Verdict::Refused(refusal) if refusal.reason == "unknown-key"));
        assert_eq!((host.calls("sha256"), host.log_lines().len(), host.requests().len()), (3, 0, 0));
    }

    #[test]
    fn a_verdict_is_kept_until_the_key_or_its_overlap_expires() {
        let expiring = STORE.replace(
            "created = 2026-01-01T00:00:00Z",
            "created = 2026-01-01T00:00:00Z\nexpires = 2026-02-01T00:00:00Z",
        );
        for (store, key, kept) in [
            (STORE, "bar", Some(u64::MAX)),
            (&expiring, "bar", Some(1_769_904_000)),
            (STORE, "foo", None),
            (STORE, "unknown", None),
        ] {
            let config = serde_json::json!({ "store": store }).to_string();
            let (policy, _) = ApiKey::configure_json("keys", &config).expect("the settings are good");
            let host = FakeHost::new();
            host.authenticate(&policy, &tool("echo"), &Credential { scheme: Scheme::Header, value: key });
            assert_eq!(host.kept_until(), kept, "{key}");
        }
    }

    #[test]
    fn keys_may_come_from_secrets_beside_the_store() {
        let host = FakeHost::new();
        let sha256 = "486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7";
        let key = serde_json::json!({ "name": "world", "key": sha256, "scopes": ["read"], "allow": ["*"] });
        let configured = |config: serde_json::Value| {
            ApiKey::configure_json("keys", &config.to_string()).map(|(policy, _)| policy)
        };
        for config in
            [serde_json::json!({ "store": STORE, "keys": [key] }), serde_json::json!({ "keys": [key] })]
        {
            let policy = configured(config).expect("the settings are good");
            let credential = Credential { scheme: Scheme::Header, value: "world" };
            let verdict = host.authenticate(&policy, &tool("echo"), &credential);
            let Verdict::Identity(identity) = verdict else { panic!("{verdict:?}") };
            assert_eq!((identity.subject.as_str(), identity.scopes), ("world", vec!["read".to_owned()]));
        }
        let fault = |config| configured(config).expect_err("the settings are bad").to_string();
        assert!(fault(serde_json::json!({})).contains("name a `store`"));
        let twice = fault(serde_json::json!({ "keys": [key, { "name": "b", "key": sha256 }] }));
        assert!(twice.contains("/keys/1") && twice.contains("(`world`)"), "{twice}");
        let taken = fault(serde_json::json!({ "store": STORE, "keys": [{ "name": "ben", "key": sha256 }] }));
        assert!(taken.contains("/keys/0") && taken.contains("(`ben`)"), "{taken}");
    }

    #[test]
    fn a_key_may_come_in_one_of_several_headers() {
        let configured = |header: serde_json::Value| {
            let config = serde_json::json!({ "store": STORE, "header": header }).to_string();
            ApiKey::configure_json("keys", &config)
                .map(|(_, wants)| wants.credential_header.unwrap_or_default())
        };
        for (header, wanted) in [
            (serde_json::json!("api-key"), "api-key"),
            (serde_json::json!(["X-API-Key", "api-key"]), "X-API-Key, api-key"),
        ] {
            assert_eq!(configured(header).expect("the settings are good"), wanted);
        }
        for (header, place) in [
            (serde_json::json!(["X-API-Key", "a b"]), "/header/1"),
            (serde_json::json!(["X-API-Key", "x-api-key"]), "/header/1"),
            (serde_json::json!(["Authorization"]), "/header"),
            (serde_json::json!("a,b"), "/header"),
            (serde_json::json!([]), "/header"),
        ] {
            let fault = configured(header.clone()).expect_err("the settings are bad").to_string();
            assert!(fault.contains(place), "{header}: {fault}");
        }
    }

    #[test]
    fn callers_of_two_policies_with_one_name_are_distinct() {
        let host = FakeHost::new();
        let ben = Person::named("ben");
        assert_eq!(host.authorize(&policy(), &tool("echo"), &ben.principal()), Decision::Allow);
        let other = ben.proven_by("tokens");
        assert_eq!(host.authorize(&policy(), &tool("echo"), &other.principal()), Decision::Abstain);
    }
}
