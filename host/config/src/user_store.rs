//! The store of users: `witgate user` changes the file, and the gateway reads it as `basic` policies do.
//!
//! Each change replaces the whole file, under the lock beside it. A reader sees either the old store or the new one. A
//! store that cannot be read is never overwritten.

mod import;
mod password;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use witgate_basic::hash::PasswordHash;
use witgate_basic::users::{StoredUser, Users, UsersError};
use witgate_plugin::PatternError;
use witgate_stores::Time;

use witgate_base::printable;
use witgate_base::whole_file::{self, FileError};

pub use import::{UserImport, UserImportError, UserImportTerms};
pub use password::{NewPassword, PasswordFault, SHORTEST_PASSWORD, password_fault};

use crate::key_store::{ExistingKeys, ImportChange};

/// The comment above the users.
const HEADING: &str = "# Users of Witgate: hashes of passwords, never the passwords themselves.\n\
                       # Written by `witgate user`, which keeps no other comments.\n\n";

/// A store of users at a path.
#[derive(Clone, Debug)]
pub struct UserStore {
    path: PathBuf,
}

/// The properties of a new user.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name, in the normalization form NFC.
    pub name: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The roles of the identity.
    pub roles: Vec<String>,
    /// The scopes of the identity.
    pub scopes: Vec<String>,
    /// Patterns of the calls that the user may make.
    pub allow: Vec<String>,
    /// Patterns of the calls that the user may not make.
    pub deny: Vec<String>,
}

/// The error if a store cannot be read or changed. The file stays as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserStoreError {
    /// The file does not exist.
    #[error("there is no store of users at {}; make it with the first user: `witgate user add NAME --role ROLE`", .0.display())]
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
        error: UsersError,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers; a user cannot be added")]
    Randomness,
    /// The name is already used.
    #[error("there is a user `{0}` already; change the password with `witgate user passwd {0}`")]
    Taken(String),
    /// There is no such user.
    #[error("there is no user `{name}`; there are: {known}")]
    Unknown {
        /// The name or id.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A user is invalid.
    #[error("invalid user: {0}")]
    Invalid(String),
    /// A text of a new user contains an invisible character.
    #[error(
        "the {what} `{}` contains the character U+{:04X}, which is invisible or changes the direction of text; remove it", printable::line(text), u32::from(*character)
    )]
    Hidden {
        /// The part of the user.
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
    /// The store has another user of an imported name.
    #[error(
        "there is another user `{0}` already; replace the hash and the roles with `--update`, or keep them with `--skip`"
    )]
    TakenByAnother(String),
    /// The time is after the latest time of a store.
    #[error("that is beyond the year 9999; correct the clock")]
    TooLong,
}

impl UserStore {
    /// The store at `path`, which may not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the store.
    ///
    /// # Errors
    /// If it does not exist, or is damaged.
    pub fn read(&self) -> Result<Users, UserStoreError> {
        self.parse()?.ok_or_else(|| UserStoreError::Missing(self.path.clone()))
    }

    /// The user with this name, or else with this id.
    ///
    /// # Errors
    /// If there is no such user, or the store cannot be read.
    pub fn find(&self, name: &str) -> Result<StoredUser, UserStoreError> {
        let users = self.read()?;
        let place = place(&users, name)?;
        users.users.get(place).cloned().ok_or_else(|| unknown(&users, name))
    }

    /// Checks that a user of this name can be added, before somebody enters a password.
    ///
    /// # Errors
    /// As [`UserStore::add`].
    pub fn can_add(&self, new: &NewUser, now: Time) -> Result<(), UserStoreError> {
        let mut users = self.parse()?.unwrap_or_default();
        let user = entry(&users, new.clone(), now)?;
        users.users.push(user);
        users.check().map_err(|error| invalid(&users, &error))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// If the name is in use, the user is invalid, or the store cannot be changed.
    pub fn add(&self, new: NewUser, now: Time) -> Result<StoredUser, UserStoreError> {
        self.change(false, |users| {
            let user = entry(users, new, now)?;
            users.users.push(user.clone());
            Ok(user)
        })
    }

    /// Gives a user a new hash.
    ///
    /// # Errors
    /// If there is no such user, or the store cannot be changed.
    pub fn set_hash(&self, name: &str, hash: PasswordHash) -> Result<StoredUser, UserStoreError> {
        self.change_user(name, |user| user.hash = hash)
    }

    /// Disables a user at once. A disabled user stays as it is.
    ///
    /// # Errors
    /// As [`UserStore::set_hash`].
    pub fn disable(&self, name: &str, now: Time) -> Result<StoredUser, UserStoreError> {
        self.change_user(name, |user| {
            user.disabled.get_or_insert(now);
        })
    }

    /// Enables a user again.
    ///
    /// # Errors
    /// As [`UserStore::set_hash`].
    pub fn enable(&self, name: &str) -> Result<StoredUser, UserStoreError> {
        self.change_user(name, |user| user.disabled = None)
    }

    /// Removes a user.
    ///
    /// # Errors
    /// As [`UserStore::set_hash`].
    pub fn remove(&self, name: &str) -> Result<StoredUser, UserStoreError> {
        self.change_existing(|users| {
            let place = place(users, name)?;
            Ok(users.users.remove(place))
        })
    }

    /// Replaces the hash `former` by another hash of the same password. None: no user has it any more.
    ///
    /// # Errors
    /// If the store cannot be changed.
    pub fn renew(&self, former: &str, renewed: &PasswordHash) -> Result<Option<StoredUser>, UserStoreError> {
        if self.read()?.users.iter().all(|user| user.hash.as_str() != former) {
            return Ok(None);
        }
        self.change_existing(|users| {
            let mut renewed_user = None;
            for user in users.users.iter_mut().filter(|user| user.hash.as_str() == former) {
                user.hash = renewed.clone();
                renewed_user = Some(user.clone());
            }
            Ok(renewed_user)
        })
    }

    fn parse(&self) -> Result<Option<Users>, UserStoreError> {
        let damaged = |error| UserStoreError::Damaged { path: self.path.clone(), error };
        whole_file::read(&self.path)?.map(|text| Users::parse(&text).map_err(damaged)).transpose()
    }

    fn change_user(
        &self,
        name: &str,
        change: impl FnOnce(&mut StoredUser),
    ) -> Result<StoredUser, UserStoreError> {
        self.change_existing(|users| {
            let place = place(users, name)?;
            let no_user = unknown(users, name);
            let user = users.users.get_mut(place).ok_or(no_user)?;
            change(user);
            Ok(user.clone())
        })
    }

    fn change_existing<T>(
        &self,
        change: impl FnOnce(&mut Users) -> Result<T, UserStoreError>,
    ) -> Result<T, UserStoreError> {
        if !self.path.exists() {
            return Err(UserStoreError::Missing(self.path.clone()));
        }
        self.change(false, change)
    }

    /// The only way to change the store. With `dry_run`, the change is checked and not written.
    fn change<T>(
        &self,
        dry_run: bool,
        change: impl FnOnce(&mut Users) -> Result<T, UserStoreError>,
    ) -> Result<T, UserStoreError> {
        let lock = if dry_run { None } else { Some(whole_file::Lock::take(&self.path)?) };
        let mut users = self.parse()?.unwrap_or_default();
        let changed = change(&mut users)?;
        users.check().map_err(|error| invalid(&users, &error))?;
        if let Some(lock) = lock {
            let text = users.to_toml().map_err(|_| UserStoreError::TooLong)?;
            lock.replace(&format!("{HEADING}{text}"))?;
        }
        Ok(changed)
    }
}

/// The error of an entry, which names the user.
fn invalid(users: &Users, error: &UsersError) -> UserStoreError {
    UserStoreError::Invalid(match error {
        UsersError::User { place, fault } => {
            match place.checked_sub(1).and_then(|place| users.users.get(place)) {
                Some(user) => format!("`{}`: {fault}", printable::line(&user.name)),
                None => error.to_string(),
            }
        }
        other => other.to_string(),
    })
}

/// The entry of a new user.
fn entry(users: &Users, new: NewUser, now: Time) -> Result<StoredUser, UserStoreError> {
    if users.users.iter().any(|user| user.name == new.name) {
        return Err(UserStoreError::Taken(new.name));
    }
    let NewUser { name, hash, roles, scopes, allow, deny } = new;
    shows_itself("name", &name)?;
    roles.iter().try_for_each(|role| shows_itself("role", role))?;
    scopes.iter().try_for_each(|scope| shows_itself("scope", scope))?;
    for pattern in allow.iter().chain(&deny) {
        shows_itself("pattern", pattern)?;
        if let Err(error) = pattern.parse::<witgate_plugin::Pattern>() {
            return Err(UserStoreError::Pattern { pattern: pattern.clone(), error });
        }
    }
    let id = fresh_id(users)?;
    Ok(StoredUser { name, id, hash, created: now, disabled: None, roles, scopes, allow, deny })
}

/// Checks that a text has no invisible characters. Such a name could look like another one, or reverse a line of the
/// log.
fn shows_itself(what: &'static str, text: &str) -> Result<(), UserStoreError> {
    match text.chars().find(|c| !printable::is_plain(*c)) {
        None => Ok(()),
        Some(character) => Err(UserStoreError::Hidden { what, text: text.to_owned(), character }),
    }
}

/// A new id of eight hexadecimal digits.
fn fresh_id(users: &Users) -> Result<String, UserStoreError> {
    loop {
        let id = format!("{:08x}", getrandom::u32().map_err(|_| UserStoreError::Randomness)?);
        if users.users.iter().all(|user| user.id != id) {
            return Ok(id);
        }
    }
}

/// The place of the user with this name, or else with this id.
fn place(users: &Users, name: &str) -> Result<usize, UserStoreError> {
    let place = users.users.iter().position(|user| user.name == name);
    let place = place.or_else(|| users.users.iter().position(|user| user.id == name));
    place.ok_or_else(|| unknown(users, name))
}

fn unknown(users: &Users, name: &str) -> UserStoreError {
    let known = match users.users.is_empty() {
        true => "none".to_owned(),
        false => users.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", "),
    };
    UserStoreError::Unknown { name: name.to_owned(), known }
}
