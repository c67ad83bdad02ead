//! Imports keys of other servers, which have them in plain text.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_api_key::store::{StoredKey, Time};
use zeroize::Zeroizing;

use super::{KeyStore, KeyStoreError, NewKey, SHORTEST_KEY, entry, sha256, shows_itself};

/// Keys of another server, in plain text: `{"api_keys": {…}, "key_permissions": {…}}`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignKeys {
    /// Name → key.
    api_keys: BTreeMap<String, PlainKey>,
    /// Name → patterns.
    #[serde(default)]
    key_permissions: BTreeMap<String, Vec<String>>,
}

/// As [`ForeignKeys`], with other members.
#[derive(Deserialize)]
struct LenientKeys {
    api_keys: BTreeMap<String, PlainKey>,
    #[serde(default)]
    key_permissions: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(from = "String")]
struct PlainKey(Zeroizing<String>);

impl From<String> for PlainKey {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl std::fmt::Debug for ForeignKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreign").field("api_keys", &self.api_keys.keys()).finish_non_exhaustive()
    }
}

impl ForeignKeys {
    /// Reads a file of keys. Unknown members, and permissions for missing keys, are ignored.
    ///
    /// # Errors
    /// If the text has another form. The error may quote a key.
    pub fn lenient(text: &str) -> serde_json::Result<Self> {
        let LenientKeys { api_keys, mut key_permissions } = serde_json::from_str(text)?;
        key_permissions.retain(|name, _| api_keys.contains_key(name));
        Ok(Self { api_keys, key_permissions })
    }

    /// Adds a key. Returns false if there is one of this name already.
    pub fn add(&mut self, name: &str, text: &str) -> bool {
        let is_new = !self.api_keys.contains_key(name);
        self.api_keys.entry(name.to_owned()).or_insert_with(|| text.to_owned().into());
        is_new
    }

    /// Gives the keys without permissions these patterns.
    pub fn allow(&mut self, patterns: &[String]) {
        for name in self.api_keys.keys().filter(|_| !patterns.is_empty()) {
            self.key_permissions.entry(name.clone()).or_insert_with(|| patterns.to_vec());
        }
    }
}

/// The treatment of keys whose names are in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExistingKeys {
    /// Another key of the same name is an error.
    #[default]
    Refuse,
    /// Text and patterns are replaced. A revoked key is an error.
    Update,
    /// The key of the store stays.
    Skip,
}

/// The settings of an import.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportTerms {
    /// Keys that can be guessed are imported as well.
    pub weak: bool,
    /// The treatment of keys whose names are in the store.
    pub existing: ExistingKeys,
    /// Nothing is written.
    pub dry_run: bool,
}

/// The change of the store by one imported key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportChange {
    /// The key is new.
    Added,
    /// The key has another text, or other patterns.
    Updated,
    /// The store has the same key.
    Unchanged,
    /// The store has another key of this name, which stays.
    Skipped,
}

impl KeyStore {
    /// Imports keys of another server, hashed: all of them or none.
    ///
    /// # Errors
    /// If a name is in use, a key can be guessed (unless `weak`), or the store cannot be changed.
    pub fn import(
        &self,
        foreign: &ForeignKeys,
        terms: ImportTerms,
        now: Time,
    ) -> Result<Vec<(ImportChange, StoredKey)>, KeyStoreError> {
        foreign.check(terms.weak)?;
        self.change_unless(terms.dry_run, |store| {
            let mut changes = Vec::new();
            for (name, text) in &foreign.api_keys {
                let digest = sha256(&text.0);
                let allow = foreign.key_permissions.get(name);
                let Some(place) = store.keys.iter().position(|key| key.name == *name) else {
                    let allow = allow.cloned().unwrap_or_default();
                    let new = NewKey { name: name.clone(), allow, ..NewKey::default() };
                    let key = entry(store, new, digest, now)?;
                    store.keys.push(key.clone());
                    changes.push((ImportChange::Added, key));
                    continue;
                };
                let Some(key) = store.keys.get_mut(place) else { continue };
                let is_same = key.sha256 == digest && allow.is_none_or(|allow| *allow == key.allow);
                let change = match terms.existing {
                    ExistingKeys::Skip if !is_same || key.revoked.is_some() => ImportChange::Skipped,
                    _ if key.revoked.is_some() => return Err(KeyStoreError::TakenByRevoked(name.clone())),
                    _ if is_same => ImportChange::Unchanged,
                    ExistingKeys::Update => {
                        update(key, digest, allow)?;
                        ImportChange::Updated
                    }
                    ExistingKeys::Refuse | ExistingKeys::Skip => {
                        return Err(KeyStoreError::TakenByAnother(name.clone()));
                    }
                };
                changes.push((change, key.clone()));
            }
            Ok(changes)
        })
    }
}

fn update(
    key: &mut StoredKey,
    digest: witgate_api_key::store::Sha256,
    allow: Option<&Vec<String>>,
) -> Result<(), KeyStoreError> {
    if key.sha256 != digest {
        key.sha256 = digest;
        key.previous = None;
    }
    if let Some(allow) = allow {
        allow.iter().try_for_each(|pattern| shows_itself("pattern", pattern))?;
        key.allow = allow.clone();
    }
    Ok(())
}

impl ForeignKeys {
    fn check(&self, weak: bool) -> Result<(), KeyStoreError> {
        let is_weak = |key: &PlainKey| key.0.chars().count() < SHORTEST_KEY;
        let weak_ones = self.api_keys.iter().filter(|(_, key)| is_weak(key)).map(|(name, _)| name.clone());
        let weak_ones: Vec<_> = weak_ones.collect();
        if !weak && !weak_ones.is_empty() {
            return Err(KeyStoreError::Weak(weak_ones));
        }
        if self.api_keys.values().any(|key| key.0.is_empty()) {
            let empty = self.api_keys.iter().find(|(_, key)| key.0.is_empty());
            return Err(KeyStoreError::Empty(empty.map(|(name, _)| name.clone()).unwrap_or_default()));
        }
        match self.key_permissions.keys().find(|name| !self.api_keys.contains_key(*name)) {
            Some(name) => Err(KeyStoreError::Permissions(name.clone())),
            None => Ok(()),
        }
    }
}
