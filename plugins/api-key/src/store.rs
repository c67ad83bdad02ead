//! The store of keys: a TOML file that `witgate key` writes and that people may read.
//!
//! ```
//! # use witgate_api_key::store::Store;
//! let store = Store::parse(r#"
//! version = 1
//!
//! [[keys]]
//! name = "ci"                       # the identity's subject
//! id = "4f9a01c2"                   # names the key in lists and logs
//! sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
//! created = 2026-01-01T00:00:00Z
//! expires = 2026-07-01T00:00:00Z    # optional
//! roles = ["ops"]
//! scopes = ["mcp:read"]
//! allow = ["get_*"]
//! deny = ["get_secret"]
//! previous = { sha256 = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9", until = 2026-01-08T00:00:00Z }  # rotated
//! "#)?;
//! assert_eq!(Store::parse(&store.to_toml()?)?, store);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The store contains only the SHA-256 of a key. That is secure for keys of 256 random bits, which nobody can
//! guess. It is weak for keys that a person made up, so do not import such keys.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use witgate_plugin::{Digest, Rules};
use witgate_stores::bounds::{self, fits};
use witgate_stores::{EntryFault, EntryFile, EntryRights, RightsFault};

pub use witgate_stores::Time;

/// The version of the format that this release reads and writes.
pub const VERSION: u32 = 1;

/// The prefix of the keys that Witgate makes; [`KEY_BYTES`] random bytes in base64url without padding follow.
/// A store may also contain keys of another form.
pub const KEY_PREFIX: &str = "wgk_";

/// The number of random bytes in a key.
pub const KEY_BYTES: usize = 32;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// The keys, in the order in which they were made.
    #[serde(default)]
    pub keys: Vec<StoredKey>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredKey {
    /// The subject of the key's identity. 1 to 512 bytes, no control characters.
    pub name: String,
    /// The id of the key in lists and logs.
    pub id: String,
    /// SHA-256 of the whole key.
    pub sha256: Sha256,
    /// The time of creation.
    pub created: Time,
    /// The end of the key's validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// The time of revocation. A key that has this is not valid at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Time>,
    /// Roles of its identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Scopes of its identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Patterns of the calls that the key allows. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Patterns of the calls that the key denies, even if `allow` covers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// The secret before the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousKey>,
    /// The person who has made the key. Then they are the subject of its identity, and it has no patterns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The only resource that the key is for: the audience of an upstream. Only a key with an owner has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// True if the owner had logged in with one factor alone when the key was made. Only a key with an owner has this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_factor: bool,
}

/// The key before a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousKey {
    /// SHA-256 of the whole former key.
    pub sha256: Sha256,
    /// The end of the former key's validity.
    pub until: Time,
}

/// A digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256(pub Digest);

impl TryFrom<String> for Sha256 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "`sha256` is not 64 lower-case hexadecimal digits";
        let mut digest = Digest::default();
        if text.len() != 2 * digest.len() || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(WRONG);
        }
        for (byte, place) in digest.iter_mut().zip((0..).step_by(2)) {
            let pair = text.get(place..place + 2).ok_or(WRONG)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| WRONG)?;
        }
        Ok(Self(digest))
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The error in a store. It names the place, but never the text there, which could be a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The text does not have the format of a store.
    Format {
        /// The line, from 1.
        line: usize,
        /// The error.
        message: String,
    },
    /// The store has another version of the format.
    Version(u32),
    /// The entry of a key is invalid.
    Key {
        /// The key's place in the file, from 1.
        place: usize,
        /// The fault of the entry.
        fault: KeyFault,
    },
}

/// A fault of a key's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFault {
    /// The name exceeds its limits.
    Name,
    /// The key at that earlier place has the same name.
    SameName(usize),
    /// The key at that earlier place has the same id.
    SameId(usize),
    /// The key at that place, an earlier one or this one, has the same digest.
    SameDigest(usize),
    /// The id or the rights are invalid.
    Rights(RightsFault),
    /// The owner exceeds the limits of a subject.
    Owner,
    /// The key has an owner and patterns.
    OwnerWithPatterns,
    /// The key has no owner, and what only a key with an owner has.
    NoOwner,
}

impl KeyFault {
    /// The place of the other key, with which the entry collides.
    pub fn other(&self) -> Option<usize> {
        match self {
            Self::SameName(place) | Self::SameId(place) | Self::SameDigest(place) => Some(*place),
            Self::Name | Self::Rights(_) | Self::Owner | Self::OwnerWithPatterns | Self::NoOwner => None,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { line, message } => write!(f, "key store, line {line}: {message}"),
            Self::Version(version) => write!(
                f,
                "key store: version {version} is not {VERSION}, the one that this release understands"
            ),
            Self::Key { place, fault } => write!(f, "key store, key {place}: {fault}"),
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("`name` has to have 1 to 512 bytes and no control characters"),
            Self::SameName(place) => write!(f, "the same `name` as key {place}"),
            Self::SameId(place) => write!(f, "the same `id` as key {place}"),
            Self::SameDigest(place) => write!(f, "the same `sha256` as key {place}"),
            Self::Rights(fault) => fault.fmt(f),
            Self::Owner => f.write_str("`owner` has to have 1 to 512 bytes and no control characters"),
            Self::OwnerWithPatterns => f.write_str("a key with `owner` has no `allow` and no `deny`"),
            Self::NoOwner => f.write_str("only a key with `owner` has `resource` or `single_factor`"),
        }
    }
}

impl std::error::Error for StoreError {}

impl Default for Store {
    fn default() -> Self {
        Self { version: VERSION, keys: Vec::new() }
    }
}

impl Store {
    /// Reads and checks a store.
    ///
    /// # Errors
    /// If it is damaged, has another version, or contains an invalid entry. Then no part of it is used.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let store: Self = witgate_stores::parse(text)?;
        store.check()?;
        Ok(store)
    }

    /// Checks the entries of a store. [`Store::parse`] does so as well.
    ///
    /// # Errors
    /// With the first invalid entry.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.version != VERSION {
            return Err(StoreError::Version(self.version));
        }
        let mut seen = UniqueValues::default();
        for (place, key) in (1..).zip(&self.keys) {
            key.check()
                .and_then(|()| seen.add(place, key))
                .map_err(|fault| StoreError::Key { place, fault })?;
        }
        Ok(())
    }

    /// Writes the store as TOML.
    ///
    /// # Errors
    /// If a time is after the year 9999.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

impl StoredKey {
    fn check(&self) -> Result<(), KeyFault> {
        if !fits(&self.name, bounds::SUBJECT) {
            return Err(KeyFault::Name);
        }
        match &self.owner {
            Some(owner) if !fits(owner, bounds::SUBJECT) => return Err(KeyFault::Owner),
            Some(_) if !self.allow.is_empty() || !self.deny.is_empty() => {
                return Err(KeyFault::OwnerWithPatterns);
            }
            None if self.resource.is_some() || self.single_factor => return Err(KeyFault::NoOwner),
            _ => {}
        }
        self.rights().check().map_err(KeyFault::Rights)
    }

    /// The compiled patterns of the key.
    ///
    /// # Errors
    /// If a pattern is invalid. A checked store has no such pattern.
    pub fn rules(&self) -> Result<Rules, KeyFault> {
        self.rights().rules().map_err(KeyFault::Rights)
    }

    fn rights(&self) -> EntryRights<'_> {
        let Self { id, roles, scopes, allow, deny, .. } = self;
        EntryRights { id, roles, scopes, allow, deny }
    }
}

/// Values that have to be unique, each with its first place.
#[derive(Default)]
struct UniqueValues<'a> {
    names: HashMap<&'a str, usize>,
    ids: HashMap<&'a str, usize>,
    digests: HashMap<Sha256, usize>,
}

impl<'a> UniqueValues<'a> {
    fn add(&mut self, place: usize, key: &'a StoredKey) -> Result<(), KeyFault> {
        let once =
            |earlier: Option<usize>, fault: fn(usize) -> KeyFault| earlier.map_or(Ok(()), |e| Err(fault(e)));
        once(self.names.insert(&key.name, place), KeyFault::SameName)?;
        once(self.ids.insert(&key.id, place), KeyFault::SameId)?;
        for digest in [Some(key.sha256), key.previous.as_ref().map(|p| p.sha256)].into_iter().flatten() {
            once(self.digests.insert(digest, place), KeyFault::SameDigest)?;
        }
        Ok(())
    }
}

/// The entries of a part of a store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntries {
    keys: Vec<StoredKey>,
}

impl EntryFile for Store {
    type Entries = KeyEntries;
    const HEADING: &'static str = "\n[[keys]]\n";

    fn of(version: u32, parts: Vec<KeyEntries>) -> Self {
        Self { version, keys: parts.into_iter().flat_map(|part| part.keys).collect() }
    }
}

impl From<EntryFault> for StoreError {
    fn from(EntryFault { line, message }: EntryFault) -> Self {
        Self::Format { line, message }
    }
}

#[cfg(test)]
mod tests;
