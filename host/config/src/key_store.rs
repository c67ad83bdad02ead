//! The store of hashed keys, which `witgate key` edits.
//!
//! A change is atomic. Under a lock, the store is read and checked, and the new one is written beside it, synced, and
//! renamed. A reader sees either the old store or the new one. A store that cannot be read is never overwritten.

pub mod diagnosis;
mod import;
mod text;

use std::path::{Path, PathBuf};

use witgate_api_key::store::{KeyFault, PreviousKey, Sha256, Store, StoreError, StoredKey, Time};
use witgate_plugin::PatternError;

use crate::resolve::ConfiguredKey;
use witgate_base::digest;
use witgate_base::printable;
use witgate_base::whole_file::{self, FileError};

pub use import::{ExistingKeys, ForeignKeys, ImportChange, ImportTerms};
pub use text::{KeyFormat, KeyText, LONGEST_KEY, SHORTEST_KEY};

/// The comment above the keys.
const HEADING: &str = "# Keys of Witgate's callers: hashes, never the keys themselves.\n\
                       # Written by `witgate key`, which keeps no other comments.\n\n";

/// A store at a path.
#[derive(Clone, Debug)]
pub struct KeyStore {
    path: PathBuf,
    /// The keys that the policy has beside the store. No new key has the name or the text of one.
    configured: Vec<ConfiguredKey>,
}

/// The properties of a new key.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// The name of the key.
    pub name: String,
    /// The roles of the key's identity.
    pub roles: Vec<String>,
    /// The scopes of the key's identity.
    pub scopes: Vec<String>,
    /// Patterns of the calls that the key allows.
    pub allow: Vec<String>,
    /// Patterns of the calls that the key denies.
    pub deny: Vec<String>,
    /// The expiry.
    pub expires: Option<Time>,
    /// The form of the key.
    pub format: KeyFormat,
    /// The number of characters. None: that of the form.
    pub length: Option<usize>,
}

/// A new or rotated key.
#[derive(Debug)]
pub struct IssuedKey {
    /// The key's entry in the store.
    pub key: StoredKey,
    /// The key's text, which is stored nowhere else.
    pub text: KeyText,
}

/// The error if a store cannot be read or changed. The file stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyStoreError {
    /// The file does not exist.
    #[error("there is no key store at {}; make it with the first key: `witgate key create NAME --allow 'get_*'`", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a store, or is damaged.
    #[error("{}: {error}; nothing was written. Correct that place, or restore a copy of the store", path.display())]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// The error in the store.
        error: StoreError,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers; a key cannot be made")]
    Randomness,
    /// The name is already used.
    #[error(
        "there is a key `{0}` already; choose another name, or issue a new secret for it with `witgate key rotate {0}`"
    )]
    Taken(String),
    /// The name belongs to a key that is no longer valid.
    #[error(
        "`{0}` is the name of a revoked key, and names are not used again, so that each name in a log means one key; choose another"
    )]
    TakenByRevoked(String),
    /// The name belongs to a key of the configuration.
    #[error("the configuration has a key `{0}` already, in `keys` of the policy; choose another name")]
    Configured(String),
    /// A key of the configuration has the same text.
    #[error(
        "`{name}` has the same text as the key `{other}` in `keys` of the policy; each key needs a text of its own, so remove one of them"
    )]
    SameAsConfigured {
        /// The name of the new key.
        name: String,
        /// The name of the key in the configuration.
        other: String,
    },
    /// There is no such key.
    #[error("there is no key `{name}`; there are: {known}")]
    Unknown {
        /// The name or id.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The key is revoked, which is final.
    #[error("the key `{0}` is revoked for ever; make a new one with `witgate key create`")]
    Revoked(String),
    /// A new or imported key is invalid.
    #[error("invalid key: {0}")]
    Invalid(String),
    /// The length of a new key is outside the limits.
    #[error("a key cannot have {0} characters; choose a length from {SHORTEST_KEY} to {LONGEST_KEY}")]
    Length(usize),
    /// The store has another key of the imported name.
    #[error(
        "there is another key `{0}` already; replace it with `--update`, keep it with `--skip`, or give the imported one another name"
    )]
    TakenByAnother(String),
    /// An imported key has no characters.
    #[error("the key `{0}` is empty; correct the file")]
    Empty(String),
    /// The text of an imported key cannot be meant.
    #[error("the text of the key `{name}` {fault}; correct it, and import it again")]
    Text {
        /// The name of the key.
        name: String,
        /// The fault, without the text.
        fault: &'static str,
    },
    /// A file of keys has two members of the same name.
    #[error("the name `{0}` occurs twice in the file; leave one of the two")]
    Twice(String),
    /// A name or role of a new key contains an invisible character.
    #[error(
        "the {what} `{}` contains the character U+{:04X}, which is invisible or changes the direction of text; remove it", printable::line(text), u32::from(*character)
    )]
    Hidden {
        /// The part of the key.
        what: &'static str,
        /// The text.
        text: String,
        /// The first such character.
        character: char,
    },
    /// A pattern is invalid.
    #[error("`{pattern}` is not a pattern: {error}")]
    Pattern {
        /// The text.
        pattern: String,
        /// The error in the pattern.
        error: PatternError,
    },
    /// The import contains keys that can be guessed.
    #[error("these keys have fewer than {SHORTEST_KEY} characters, so a hash does not protect them well: {}. Make new ones with `witgate key create`, or import them as they are with `--weak`", .0.join(", "))]
    Weak(Vec<String>),
    /// The import contains permissions for missing keys.
    #[error("`key_permissions` names `{0}`, and `api_keys` does not; correct the file")]
    Permissions(String),
    /// The time is after the latest time of a store.
    #[error("that is beyond the year 9999; choose a shorter time")]
    TooLong,
}

impl KeyStore {
    /// The store at `path`, which may not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), configured: Vec::new() }
    }

    /// The same store, of a policy that has also these keys.
    #[must_use]
    pub fn beside(self, configured: Vec<ConfiguredKey>) -> Self {
        Self { configured, ..self }
    }

    /// The keys that the policy has beside the store.
    pub fn configured(&self) -> &[ConfiguredKey] {
        &self.configured
    }

    /// The path of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the store.
    ///
    /// # Errors
    /// If it does not exist, or is damaged.
    pub fn read(&self) -> Result<Store, KeyStoreError> {
        self.parse()?.ok_or_else(|| KeyStoreError::Missing(self.path.clone()))
    }

    /// Adds a new key with a random text.
    ///
    /// # Errors
    /// If the name is in use, the key is invalid, or the store cannot be changed.
    pub fn create(&self, new: NewKey, now: Time) -> Result<IssuedKey, KeyStoreError> {
        let text = KeyText::random(new.format, new.length)?;
        let sha256 = text.sha256();
        let key = self.change(|store| {
            self.check_configured(&new.name, sha256)?;
            let key = entry(store, new, sha256, now)?;
            store.keys.push(key.clone());
            Ok(key)
        })?;
        Ok(IssuedKey { key, text })
    }

    /// Revokes a key at once and for ever. A revoked key stays as it is.
    ///
    /// # Errors
    /// If there is no such key, or the store cannot be changed.
    pub fn revoke(&self, name: &str, now: Time) -> Result<StoredKey, KeyStoreError> {
        self.change_existing(|store| {
            let key = find(store, name)?;
            key.revoked.get_or_insert(now);
            Ok(key.clone())
        })
    }

    /// Gives a key a new text of this form and length. The old text is valid until `until`. With `expires`, the key also
    /// gets a new expiry.
    ///
    /// # Errors
    /// If there is no such key, it is revoked, or the store cannot be changed.
    pub fn rotate(
        &self,
        name: &str,
        until: Option<Time>,
        expires: Option<Time>,
        (format, length): (KeyFormat, Option<usize>),
    ) -> Result<IssuedKey, KeyStoreError> {
        let text = KeyText::random(format, length)?;
        let sha256 = text.sha256();
        let key = self.change_existing(|store| {
            let key = find(store, name)?;
            if key.revoked.is_some() {
                return Err(KeyStoreError::Revoked(key.name.clone()));
            }
            key.previous = until.map(|until| PreviousKey { sha256: key.sha256, until });
            key.sha256 = sha256;
            key.expires = expires.or(key.expires);
            Ok(key.clone())
        })?;
        Ok(IssuedKey { key, text })
    }

    /// Checks that the policy has no other key with this name or text: it would refuse all of its settings, and so deny
    /// every caller.
    fn check_configured(&self, name: &str, sha256: Sha256) -> Result<(), KeyStoreError> {
        if self.configured.iter().any(|key| key.name == name) {
            return Err(KeyStoreError::Configured(name.to_owned()));
        }
        match self.configured.iter().find(|key| key.sha256 == Some(sha256)) {
            Some(other) => {
                Err(KeyStoreError::SameAsConfigured { name: name.to_owned(), other: other.name.clone() })
            }
            None => Ok(()),
        }
    }

    fn parse(&self) -> Result<Option<Store>, KeyStoreError> {
        let damaged = |error| KeyStoreError::Damaged { path: self.path.clone(), error };
        whole_file::read(&self.path)?.map(|text| Store::parse(&text).map_err(damaged)).transpose()
    }

    fn change_existing<T>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, KeyStoreError>,
    ) -> Result<T, KeyStoreError> {
        if !self.path.exists() {
            return Err(KeyStoreError::Missing(self.path.clone()));
        }
        self.change(change)
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, KeyStoreError>,
    ) -> Result<T, KeyStoreError> {
        self.change_unless(false, change)
    }

    /// The only way to change the store. With `dry_run`, the change is checked and not written. A store that stays the
    /// same is not written either.
    fn change_unless<T>(
        &self,
        dry_run: bool,
        change: impl FnOnce(&mut Store) -> Result<T, KeyStoreError>,
    ) -> Result<T, KeyStoreError> {
        if dry_run {
            let mut store = self.parse()?.unwrap_or_default();
            let changed = change(&mut store)?;
            return store.check().map(|()| changed).map_err(|error| invalid(&store, &error));
        }
        let lock = whole_file::Lock::take(&self.path)?;
        let before = self.parse()?;
        let mut store = before.clone().unwrap_or_default();
        let changed = change(&mut store)?;
        if before.as_ref() == Some(&store) {
            return Ok(changed);
        }
        store.check().map_err(|error| invalid(&store, &error))?;
        let text = store.to_toml().map_err(|_| KeyStoreError::TooLong)?;
        lock.replace(&format!("{HEADING}{text}"))?;
        Ok(changed)
    }
}

/// The error of an entry, which names the keys.
fn invalid(store: &Store, error: &StoreError) -> KeyStoreError {
    let name =
        |place: usize| place.checked_sub(1).and_then(|place| store.keys.get(place)).map(|key| &key.name);
    KeyStoreError::Invalid(match error {
        StoreError::Key { place, fault } => match (name(*place), fault.other().and_then(name), fault) {
            (Some(key), Some(other), KeyFault::SameDigest(_)) => {
                format!("`{key}` has the same text as `{other}`; each key needs a text of its own")
            }
            (Some(key), _, fault) => format!("`{}`: {fault}", printable::line(key)),
            (None, _, _) => error.to_string(),
        },
        other => other.to_string(),
    })
}

fn entry(store: &Store, new: NewKey, sha256: Sha256, now: Time) -> Result<StoredKey, KeyStoreError> {
    if let Some(taken) = store.keys.iter().find(|key| key.name == new.name) {
        return Err(match taken.revoked {
            None => KeyStoreError::Taken(new.name),
            Some(_) => KeyStoreError::TakenByRevoked(new.name),
        });
    }
    shows_itself("name", &new.name)?;
    new.roles.iter().try_for_each(|role| shows_itself("role", role))?;
    new.scopes.iter().try_for_each(|scope| shows_itself("scope", scope))?;
    for pattern in new.allow.iter().chain(&new.deny) {
        shows_itself("pattern", pattern)?;
        if let Err(error) = pattern.parse::<witgate_plugin::Pattern>() {
            return Err(KeyStoreError::Pattern { pattern: pattern.clone(), error });
        }
    }
    let NewKey { name, roles, scopes, allow, deny, expires, format: _, length: _ } = new;
    let id = fresh_id(store)?;
    Ok(StoredKey {
        name,
        id,
        sha256,
        created: now,
        expires,
        revoked: None,
        roles,
        scopes,
        allow,
        deny,
        previous: None,
        owner: None,
        resource: None,
        single_factor: false,
    })
}

/// Checks that a text has no invisible characters. Such a name could look like another one, or reverse a line of the
/// log.
fn shows_itself(what: &'static str, text: &str) -> Result<(), KeyStoreError> {
    match text.chars().find(|c| !printable::is_plain(*c)) {
        None => Ok(()),
        Some(character) => Err(KeyStoreError::Hidden { what, text: text.to_owned(), character }),
    }
}

/// A new id of eight hexadecimal digits.
fn fresh_id(store: &Store) -> Result<String, KeyStoreError> {
    loop {
        let id = format!("{:08x}", getrandom::u32().map_err(|_| KeyStoreError::Randomness)?);
        if store.keys.iter().all(|key| key.id != id) {
            return Ok(id);
        }
    }
}

/// The key with this name, or else with this id.
fn find<'s>(store: &'s mut Store, name: &str) -> Result<&'s mut StoredKey, KeyStoreError> {
    let place = store.keys.iter().position(|key| key.name == name);
    let place = place.or_else(|| store.keys.iter().position(|key| key.id == name));
    let known = match store.keys.is_empty() {
        true => "none".to_owned(),
        false => store.keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", "),
    };
    let unknown = KeyStoreError::Unknown { name: name.to_owned(), known };
    place.and_then(|place| store.keys.get_mut(place)).ok_or(unknown)
}

fn sha256(text: &str) -> Sha256 {
    Sha256(digest::sha256(text.as_bytes()))
}

#[cfg(test)]
mod tests;
