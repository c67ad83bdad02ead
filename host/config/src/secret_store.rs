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

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use witgate_base::cause::is_file;
use witgate_base::whole_file::{Lock, create_folder_of};

use self::content::MOST_CHANGES;
pub use self::content::StoredSecrets;
pub use self::error::SecretStoreError;
pub use self::identity::IdentityPlace;

/// Size limit of a store, in bytes.
const LARGEST: u64 = 4 << 20;

/// Size limit of the number of a change, in bytes, with room for blanks.
const LONGEST_NUMBER: u64 = 64;

/// A store at a path.
#[derive(Clone, Debug)]
pub struct SecretStore {
    path: PathBuf,
    identity: IdentityPlace,
    /// The file with the number of the last change that was made or seen here.
    counter: PathBuf,
    /// True if a change of an older store is permitted.
    accepts_older: bool,
}

impl SecretStore {
    /// The store at `path`, which `identity` decrypts, with its counter in the directory `state`.
    pub fn new(path: PathBuf, identity: IdentityPlace, state: &Path) -> Self {
        Self { path, identity, counter: state.join("secrets.counter"), accepts_older: false }
    }

    /// The same store. If `accepts`, it may be changed although it is older than the last one that was used here.
    pub fn accepting_older(self, accepts: bool) -> Self {
        Self { accepts_older: accepts, ..self }
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

    /// The reason why `secrets` may be older than the last change that was made or seen here. None: they are not.
    pub fn rollback(&self, secrets: &StoredSecrets) -> Option<String> {
        let shown = self.path.display();
        match self.last_change() {
            Ok(last) if secrets.changes() >= last => None,
            Ok(_) => Some(format!("`{shown}` is older than the last store that was used here")),
            Err(why) => Some(format!(
                "nobody knows whether `{shown}` is older than the last store that was used here: `{}` {why}",
                self.counter.display()
            )),
        }
    }

    /// Replaces the store by one with another content. If there is none, it is made, and so is its identity.
    ///
    /// # Errors
    /// If it cannot be decrypted or written, it may be older than the last one that was used here, or `change` refuses.
    /// The store stays as it was then.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut StoredSecrets) -> Result<T, SecretStoreError>,
    ) -> Result<T, SecretStoreError> {
        let lock = Lock::take(&self.path)?;
        let mut secrets = match self.encrypted()? {
            Some(encrypted) => self.changeable(self.decrypted(&encrypted)?)?,
            None => {
                self.identity.make()?;
                StoredSecrets::default()
            }
        };
        let made = change(&mut secrets)?;
        let number = secrets.count_change(self.last_change().unwrap_or(0)).ok_or_else(|| {
            SecretStoreError::Refused(format!(
                "the number of changes is at its end, so it was forged: restore an older `{}`, and remove `{}`",
                self.path.display(),
                self.counter.display()
            ))
        })?;
        // Whoever writes the store can decrypt it afterwards, and so can those who could before.
        for own in self.own_recipients()? {
            secrets.add_recipient(&own)?;
        }
        let encrypted = encryption::encrypt(&secrets.to_text(), secrets.recipients())?;
        lock.replace(&encrypted)?;
        self.note_change(number);
        Ok(made)
    }

    /// Refuses secrets that may be older. A change would bring back recipients that were removed since.
    fn changeable(&self, secrets: StoredSecrets) -> Result<StoredSecrets, SecretStoreError> {
        let Some(why) = self.rollback(&secrets).filter(|_| !self.accepts_older) else { return Ok(secrets) };
        let own = self.own_recipients()?;
        let others: Vec<_> =
            secrets.recipients().iter().filter(|it| !own.contains(it)).map(String::as_str).collect();
        let others = if others.is_empty() {
            "nobody else can decrypt it".to_owned()
        } else {
            format!("these can decrypt it as well: {}", others.join(", "))
        };
        Err(SecretStoreError::RolledBack(format!(
            "{why}; {others}. Put the last one back, or add `--accept-older` if this one is there on purpose"
        )))
    }

    /// Remembers the number of the last change of `secrets`, so that an older store is noticed from then on.
    pub fn remember(&self, secrets: &StoredSecrets) {
        if self.last_change().is_ok_and(|last| secrets.changes() > last) {
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

    /// The number of the last change that was made or seen here, or the reason why nobody knows it.
    fn last_change(&self) -> Result<u64, String> {
        let text = match bounded(&self.counter) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(format!("cannot be read: {error}")),
        };
        let number = text.trim().parse().ok().filter(|number| *number <= MOST_CHANGES);
        number.ok_or_else(|| "does not contain the number of a change".to_owned())
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

/// The first bytes of the file with a number.
fn bounded(path: &Path) -> io::Result<String> {
    if !is_file(path)? {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST_NUMBER).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
