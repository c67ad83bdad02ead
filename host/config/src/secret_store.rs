//! The encrypted store of secrets, which `witgate secret` edits: one file in the format of age
//! (age-encryption.org/v1), whose content is TOML with names and values.
//!
//! A change is atomic. Under a lock, the store is decrypted and changed, and the new one is written beside it, synced,
//! and renamed. A store that cannot be decrypted is never overwritten.

mod age;
mod content;
mod encryption;
mod error;
pub mod fernet;
mod identity;

use std::io;
use std::path::{Path, PathBuf};

use witgate_base::cause::is_file;
use witgate_base::whole_file::{Lock, create_folder_of};

pub use self::content::StoredSecrets;
pub use self::error::SecretStoreError;
pub use self::identity::IdentityPlace;

/// Size limit of a store, in bytes.
const LARGEST: u64 = 4 << 20;

/// A store at a path.
#[derive(Clone, Debug)]
pub struct SecretStore {
    path: PathBuf,
    identity: IdentityPlace,
    /// The file with the number of the last change that was made or seen here.
    counter: PathBuf,
}

impl SecretStore {
    /// The store at `path`, which `identity` decrypts, with its counter in the directory `state`.
    pub fn new(path: PathBuf, identity: IdentityPlace, state: &Path) -> Self {
        Self { path, identity, counter: state.join("secrets.counter") }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that a change of the secrets would change.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&*self.path].into_iter().chain(self.identity.path())
    }

    /// The secrets.
    ///
    /// # Errors
    /// If there is no store, or it cannot be decrypted.
    pub fn read(&self) -> Result<StoredSecrets, SecretStoreError> {
        let encrypted = self.encrypted()?.ok_or_else(|| {
            SecretStoreError::Missing(format!("there is no store of secrets `{}`", self.path.display()))
        })?;
        self.decrypted(&encrypted)
    }

    /// True if `secrets` are older than the last change that was made or seen here.
    pub fn is_rolled_back(&self, secrets: &StoredSecrets) -> bool {
        secrets.changes() < self.last_change()
    }

    /// Replaces the store by one with another content. If there is none, it is made, and so is its identity.
    ///
    /// # Errors
    /// If it cannot be decrypted or written, or `change` refuses. The store stays as it was then.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut StoredSecrets) -> Result<T, SecretStoreError>,
    ) -> Result<T, SecretStoreError> {
        let lock = Lock::take(&self.path)?;
        let mut secrets = match self.encrypted()? {
            Some(encrypted) => self.decrypted(&encrypted)?,
            None => {
                self.identity.make()?;
                StoredSecrets::default()
            }
        };
        let made = change(&mut secrets)?;
        let number = secrets.count_change(self.last_change());
        // Whoever writes the store can decrypt it afterwards, and so can those who could before.
        for own in self.own_recipients()? {
            secrets.add_recipient(&own)?;
        }
        let encrypted = encryption::encrypt(&secrets.to_text(), secrets.recipients())?;
        lock.replace(&encrypted)?;
        self.note_change(number);
        Ok(made)
    }

    /// Remembers the number of the last change of `secrets`, so that an older store is noticed from then on.
    pub fn remember(&self, secrets: &StoredSecrets) {
        if secrets.changes() > self.last_change() {
            self.note_change(secrets.changes());
        }
    }

    /// The recipients that belong to the identity.
    ///
    /// # Errors
    /// If there is no identity.
    pub fn own_recipients(&self) -> Result<Vec<String>, SecretStoreError> {
        Ok(self.identity.read()?.iter().map(|identity| identity.recipient().to_string()).collect())
    }

    fn encrypted(&self) -> Result<Option<Vec<u8>>, SecretStoreError> {
        let unreadable = |error| SecretStoreError::Unreadable { path: self.path.clone(), error };
        match is_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
            Ok(false) => {
                return Err(SecretStoreError::Damaged(format!("`{}` is not a file", self.path.display())));
            }
            Ok(true) => {}
        }
        if std::fs::metadata(&self.path).map_err(unreadable)?.len() > LARGEST {
            let message = format!("`{}` has more than {LARGEST} bytes", self.path.display());
            return Err(SecretStoreError::Damaged(message));
        }
        std::fs::read(&self.path).map(Some).map_err(unreadable)
    }

    fn decrypted(&self, encrypted: &[u8]) -> Result<StoredSecrets, SecretStoreError> {
        let identities = self.identity.read()?;
        let text = encryption::decrypt(encrypted, &identities, &self.path)?;
        StoredSecrets::read(&text).map_err(|fault| {
            SecretStoreError::Damaged(format!("the content of `{}` {fault}", self.path.display()))
        })
    }

    /// The number of the last change that was made or seen here.
    fn last_change(&self) -> u64 {
        let text = std::fs::read_to_string(&self.counter).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Remembers a change. Without this, an older store in its place would only not be noticed.
    fn note_change(&self, number: u64) {
        if create_folder_of(&self.counter).is_ok()
            && let Ok(lock) = Lock::take(&self.counter)
        {
            let _ = lock.replace(&format!("{number}\n"));
        }
    }
}

#[cfg(test)]
mod tests;
