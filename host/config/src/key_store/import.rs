//! Imports keys of other servers, which have them in plain text.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use witgate_api_key::store::{StoredKey, Time};
use zeroize::Zeroizing;

use super::{KeyStore, KeyStoreError, NewKey, SHORTEST_KEY, entry, sha256, shows_itself};

/// Keys of another server, in plain text: `{"api_keys": {…}, "key_permissions": {…}}`.
#[derive(Default, Deserialize)]
#[serde(from = "StrictKeys")]
pub struct ForeignKeys {
    /// Name → key.
    api_keys: BTreeMap<String, PlainKey>,
    /// Name → patterns.
    key_permissions: BTreeMap<String, Vec<String>>,
    /// A name that occurs twice.
    twice: Option<String>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictKeys {
    api_keys: UniqueNames<PlainKey>,
    #[serde(default)]
    key_permissions: UniqueNames<Vec<String>>,
}

/// As [`StrictKeys`], with other members.
#[derive(Deserialize)]
struct LenientKeys {
    api_keys: UniqueNames<PlainKey>,
    #[serde(default)]
    key_permissions: UniqueNames<Vec<String>>,
}

impl From<StrictKeys> for ForeignKeys {
    fn from(StrictKeys { api_keys, key_permissions }: StrictKeys) -> Self {
        let twice = api_keys.twice.or(key_permissions.twice);
        Self { api_keys: api_keys.all, key_permissions: key_permissions.all, twice }
    }
}

/// The members of an object. A plain map would keep only the last one of a name.
struct UniqueNames<T> {
    all: BTreeMap<String, T>,
    /// A name that occurs twice.
    twice: Option<String>,
}

impl<T> Default for UniqueNames<T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), twice: None }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for UniqueNames<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueNamesVisitor(PhantomData))
    }
}

struct UniqueNamesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for UniqueNamesVisitor<T> {
    type Value = UniqueNames<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<UniqueNames<T>, A::Error> {
        let mut members = UniqueNames::default();
        while let Some((name, value)) = object.next_entry::<String, T>()? {
            if members.all.insert(name.clone(), value).is_some() {
                members.twice = Some(name);
            }
        }
        Ok(members)
    }
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
        let LenientKeys { api_keys, key_permissions } = serde_json::from_str(text)?;
        let mut keys = Self::from(StrictKeys { api_keys, key_permissions });
        keys.key_permissions.retain(|name, _| keys.api_keys.contains_key(name));
        Ok(keys)
    }

    /// Adds a key. Returns false if there is one of this name already.
    pub fn add(&mut self, name: &str, text: &str) -> bool {
        let is_new = !self.api_keys.contains_key(name);
        self.api_keys.entry(name.to_owned()).or_insert_with(|| text.to_owned().into());
        is_new
    }

    /// Gives the key `name` these patterns, if it is there and has no permissions.
    pub fn allow_one(&mut self, name: &str, patterns: &[&str]) {
        if self.api_keys.contains_key(name) {
            let patterns = || patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            self.key_permissions.entry(name.to_owned()).or_insert_with(patterns);
        }
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

impl ImportChange {
    /// The name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
        }
    }
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
                    self.check_configured(name, digest)?;
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
                        self.check_configured(name, digest)?;
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
        if let Some(name) = &self.twice {
            return Err(KeyStoreError::Twice(name.clone()));
        }
        let unfit = self.api_keys.iter().find_map(|(name, key)| Some((name, unfit(&key.0)?)));
        if let Some((name, fault)) = unfit {
            return Err(KeyStoreError::Text { name: name.clone(), fault });
        }
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

/// The reason why a text cannot be meant as a key. No caller could send it, or it is more than the key.
fn unfit(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        return Some("contains a control character, such as a line break");
    }
    if text.trim() != text {
        return Some("begins or ends with a blank");
    }
    let begins_with_scheme = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("Bearer "));
    begins_with_scheme.then_some("begins with `Bearer `, which belongs to the header and not to the key")
}
