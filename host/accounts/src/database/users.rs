//! Users: who may log in, and their roles.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use witgate_basic::credential::LONGEST_NAME;
use witgate_basic::hash::PasswordHash;

use super::endings::end_all;
use super::event_recorder::EventRecorder;
use super::{AccountDatabase, now_ms, remembered_browsers};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
use crate::random;

/// The most roles of one user.
const MOST_ROLES: usize = 64;

/// A user of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUser {
    /// The id, which stays when the name changes: `sub` of the tokens.
    pub id: String,
    /// The name.
    pub name: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The roles, in order.
    pub roles: Vec<String>,
    /// The time of creation, in milliseconds since 1970.
    pub created: i64,
    /// The time at which they were disabled.
    pub disabled: Option<i64>,
}

impl AccountDatabase {
    /// Adds a user.
    ///
    /// # Errors
    /// If the name is used or invalid, or the database cannot be written.
    pub fn add_user(
        &mut self,
        name: &str,
        hash: &PasswordHash,
        roles: &[String],
    ) -> Result<AccountUser, AccountsError> {
        check_name(name)?;
        check_roles(roles)?;
        let id = random::hex(&random::bytes::<16>()?);
        let recorder = self.recorder.clone();
        self.change(|transaction, _| {
            if by_name(transaction, name)?.is_some() {
                return Err(AccountsError::Taken(name.to_owned()));
            }
            let values = (&id, name, hash.as_str(), now_ms());
            transaction
                .execute("INSERT INTO users (id, name, hash, created) VALUES (?1, ?2, ?3, ?4)", values)?;
            for role in roles {
                transaction
                    .execute("INSERT OR IGNORE INTO roles (user, role) VALUES (?1, ?2)", (&id, role))?;
            }
            let added = by_name(transaction, name)?;
            let added = added.ok_or_else(|| AccountsError::UnknownUser(name.to_owned()))?;
            recorder.record(transaction, event(AccountAction::UserAdded, &added))?;
            Ok(added)
        })
    }

    /// All users, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn users(&self) -> Result<Vec<AccountUser>, AccountsError> {
        let mut statement = self.connection.prepare("SELECT id FROM users ORDER BY name")?;
        let ids: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        // One may be removed meanwhile.
        ids.iter().filter_map(|id| by_id(&self.connection, id).transpose()).collect()
    }

    /// The user with this name or id.
    ///
    /// # Errors
    /// `UnknownUser`, or if the database cannot be read.
    pub fn named_user(&self, name: &str) -> Result<AccountUser, AccountsError> {
        find(&self.connection, name)
    }

    /// The user with this id. None: there is none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn user_by_id(&self, id: &str) -> Result<Option<AccountUser>, AccountsError> {
        by_id(&self.connection, id)
    }

    /// The user with this name. None: there is none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn user_at_login(&self, name: &str) -> Result<Option<AccountUser>, AccountsError> {
        by_name(&self.connection, name)
    }

    /// A hash that no password has, with the cost of the hash of some user. It is always the same for the same name, so
    /// that an unknown name cannot be told from a known one. The search takes the same time for any number of users.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn decoy(&self, name: &str) -> Result<PasswordHash, AccountsError> {
        // Ids are random, so that a random place among them is near each user equally often.
        let place = random::hex(&self.seal.mac_key("decoys").code(&[name.as_bytes()]));
        let mut hash: Option<String> = None;
        for query in [
            "SELECT hash FROM users WHERE id >= ?1 ORDER BY id LIMIT 1",
            "SELECT hash FROM users WHERE id < ?1 ORDER BY id LIMIT 1",
        ] {
            let found = self.connection.prepare_cached(query)?.query_row([&place], |row| row.get(0));
            hash = hash.or(found.optional()?);
        }
        let hash = hash.and_then(|hash| PasswordHash::try_from(hash).ok());
        Ok(hash.map_or_else(PasswordHash::nobody, |hash| hash.decoy()))
    }

    /// Gives a user a new password. All their logins end, and their passkeys are removed: somebody else may have added one.
    ///
    /// # Errors
    /// As [`Self::named_user`], or if the database cannot be written.
    pub fn set_password(&mut self, name: &str, hash: &PasswordHash) -> Result<AccountUser, AccountsError> {
        let recorder = self.recorder.clone();
        self.change_user(name, (AccountAction::PasswordChanged, "password-changed"), |transaction, user| {
            remove_passkeys(transaction, &recorder, user)?;
            give_password(transaction, &user.id, hash)
        })
    }

    /// The same for a user who has shown their password, and whose passkeys stay. None: they have another one by now, or
    /// are disabled.
    ///
    /// # Errors
    /// As [`Self::set_password`].
    pub fn change_password(
        &mut self,
        user: &AccountUser,
        hash: &PasswordHash,
    ) -> Result<Option<AccountUser>, AccountsError> {
        let recorder = self.recorder.clone();
        let changed = self.change(|transaction, _| {
            if !is_unchanged(transaction, user)? {
                return Ok(None);
            }
            replace_password(transaction, &recorder, user, hash)?;
            find(transaction, &user.id).map(Some)
        })?;
        self.publish()?;
        Ok(changed)
    }

    /// Replaces an outdated hash of the same password.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn renew_hash(
        &mut self,
        id: &str,
        former: &PasswordHash,
        renewed: &PasswordHash,
    ) -> Result<(), AccountsError> {
        let values = (id, former.as_str(), renewed.as_str());
        self.connection.execute("UPDATE users SET hash = ?3 WHERE id = ?1 AND hash = ?2", values)?;
        Ok(())
    }

    /// Disables a user. All their logins end.
    ///
    /// # Errors
    /// As [`Self::set_password`].
    pub fn disable_user(&mut self, name: &str) -> Result<AccountUser, AccountsError> {
        self.change_user(name, (AccountAction::UserDisabled, "user-disabled"), |transaction, user| {
            let values = (&user.id, now_ms());
            transaction
                .execute("UPDATE users SET disabled = coalesce(disabled, ?2) WHERE id = ?1", values)?;
            transaction.execute("DELETE FROM links WHERE user = ?1", [&user.id])?;
            Ok(())
        })
    }

    /// Accepts a disabled user again.
    ///
    /// # Errors
    /// As [`Self::set_password`].
    pub fn enable_user(&mut self, name: &str) -> Result<AccountUser, AccountsError> {
        let recorder = self.recorder.clone();
        let user = self.change(|transaction, _| {
            let user = find(transaction, name)?;
            transaction.execute("UPDATE users SET disabled = NULL WHERE id = ?1", [&user.id])?;
            recorder.record(transaction, event(AccountAction::UserEnabled, &user))?;
            find(transaction, &user.id)
        })?;
        self.publish()?;
        Ok(user)
    }

    /// Replaces the roles of a user. All their logins end, so that no token has the former roles.
    ///
    /// # Errors
    /// As [`Self::set_password`], or if a role is invalid.
    pub fn set_roles(&mut self, name: &str, roles: &[String]) -> Result<AccountUser, AccountsError> {
        check_roles(roles)?;
        self.change_user(name, (AccountAction::RolesChanged, "roles-changed"), |transaction, user| {
            transaction.execute("DELETE FROM roles WHERE user = ?1", [&user.id])?;
            for role in roles {
                let values = (&user.id, role);
                transaction.execute("INSERT OR IGNORE INTO roles (user, role) VALUES (?1, ?2)", values)?;
            }
            Ok(())
        })
    }

    /// Removes a user. All their logins end.
    ///
    /// # Errors
    /// As [`Self::set_password`].
    pub fn remove_user(&mut self, name: &str) -> Result<AccountUser, AccountsError> {
        let recorder = self.recorder.clone();
        let user = self.change(|transaction, _| {
            let user = find(transaction, name)?;
            end_all(transaction, &user.id, "user-removed", now_ms())?;
            transaction.execute("DELETE FROM users WHERE id = ?1", [&user.id])?;
            recorder.record(transaction, event(AccountAction::UserRemoved, &user))?;
            Ok::<_, AccountsError>(user)
        })?;
        self.publish()?;
        Ok(user)
    }

    /// Ends all logins of a user.
    ///
    /// # Errors
    /// As [`Self::set_password`].
    pub fn end_logins(&mut self, name: &str, reason: &'static str) -> Result<AccountUser, AccountsError> {
        self.change_user(name, (AccountAction::LoginsEnded, reason), |_, _| Ok(()))
    }

    /// Changes a user and ends all their logins, in one step.
    fn change_user(
        &mut self,
        name: &str,
        (action, reason): (AccountAction, &'static str),
        change: impl FnOnce(&Transaction<'_>, &AccountUser) -> Result<(), AccountsError>,
    ) -> Result<AccountUser, AccountsError> {
        let recorder = self.recorder.clone();
        let user = self.change(|transaction, _| {
            let user = find(transaction, name)?;
            change(transaction, &user)?;
            end_all(transaction, &user.id, reason, now_ms())?;
            end_browsers(transaction, &user.id)?;
            let user = find(transaction, &user.id)?;
            recorder.record(transaction, event(action, &user).because(reason))?;
            Ok::<_, AccountsError>(user)
        })?;
        self.publish()?;
        Ok(user)
    }
}

/// True if a user has the same password as before, and is not disabled.
pub(super) fn is_unchanged(transaction: &Transaction<'_>, user: &AccountUser) -> Result<bool, AccountsError> {
    let current = by_id(transaction, &user.id)?;
    Ok(current.is_some_and(|now| now.hash == user.hash && now.disabled.is_none()))
}

/// Gives a user a new password. A link for another one is of no use any more.
fn give_password(
    transaction: &Transaction<'_>,
    user: &str,
    hash: &PasswordHash,
) -> Result<(), AccountsError> {
    transaction.execute("UPDATE users SET hash = ?2 WHERE id = ?1", (user, hash.as_str()))?;
    transaction.execute("DELETE FROM links WHERE user = ?1", [user])?;
    Ok(())
}

/// Gives a user a new password, at their own wish, and ends all their logins.
pub(super) fn replace_password(
    transaction: &Transaction<'_>,
    recorder: &EventRecorder,
    user: &AccountUser,
    hash: &PasswordHash,
) -> Result<(), AccountsError> {
    let reason = "password-changed";
    give_password(transaction, &user.id, hash)?;
    end_all(transaction, &user.id, reason, now_ms())?;
    end_browsers(transaction, &user.id)?;
    recorder.record(transaction, event(AccountAction::PasswordChanged, user).because(reason))
}

/// Removes all passkeys of a user. Returns their number.
pub(super) fn remove_passkeys(
    transaction: &Transaction<'_>,
    recorder: &EventRecorder,
    user: &AccountUser,
) -> Result<usize, AccountsError> {
    let removed = transaction.execute("DELETE FROM passkeys WHERE user = ?1", [&user.id])?;
    if removed > 0 {
        recorder.record(transaction, event(AccountAction::PasskeyRemoved, user))?;
    }
    Ok(removed)
}

/// Ends the sessions of a user, and the logins that have begun, and forgets the browsers that need no code. Returns the
/// number of the former.
pub(super) fn end_browsers(transaction: &Transaction<'_>, user: &str) -> Result<usize, AccountsError> {
    let mut ended = 0;
    remembered_browsers::forget_all(transaction, user)?;
    for table in ["sessions", "begun_logins", "offered_authenticators"] {
        ended += transaction.execute(&format!("DELETE FROM {table} WHERE user = ?1"), [user])?;
    }
    Ok(ended)
}

/// The user with this name or id. No name has the form of an id, so that it is clear which one is meant.
pub(super) fn find(connection: &Connection, name: &str) -> Result<AccountUser, AccountsError> {
    let found = if is_id(name) { by_id(connection, name)? } else { by_name(connection, name)? };
    found.ok_or_else(|| AccountsError::UnknownUser(name.to_owned()))
}

fn by_name(connection: &Connection, name: &str) -> Result<Option<AccountUser>, AccountsError> {
    read(connection, "SELECT id, name, hash, created, disabled FROM users WHERE name = ?1", name)
}

/// The user with this id.
pub(super) fn by_id(connection: &Connection, id: &str) -> Result<Option<AccountUser>, AccountsError> {
    read(connection, "SELECT id, name, hash, created, disabled FROM users WHERE id = ?1", id)
}

fn read(connection: &Connection, query: &str, key: &str) -> Result<Option<AccountUser>, AccountsError> {
    type Row = (String, String, String, i64, Option<i64>);
    let mut statement = connection.prepare_cached(query)?;
    let row: Option<Row> = statement
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .optional()?;
    let Some((id, name, hash, created, disabled)) = row else { return Ok(None) };
    let hash = PasswordHash::try_from(hash)
        .map_err(|fault| AccountsError::Unavailable(format!("the hash of `{name}` is {fault}")))?;
    let mut statement = connection.prepare_cached("SELECT role FROM roles WHERE user = ?1 ORDER BY role")?;
    let roles = statement.query_map([&id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Some(AccountUser { id, name, hash, roles, created, disabled }))
}

/// The event of a change of a user.
pub(super) fn event(action: AccountAction, user: &AccountUser) -> AccountEvent {
    let roles = Some(user.roles.clone());
    AccountEvent { roles, ..AccountEvent::now(action).about(&user.id, &user.name) }
}

/// True if the text has the form of an id.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Checks that a user may have this name.
pub(super) fn check_name(name: &str) -> Result<(), AccountsError> {
    let is_odd = name.trim() != name || name.chars().any(char::is_control);
    match name.is_empty() || is_odd || name.len() > LONGEST_NAME || is_id(name) {
        true => Err(AccountsError::Invalid(format!(
            "a name has 1 to {LONGEST_NAME} bytes, no control characters, no blanks around it, and is not 32 \
             hexadecimal digits"
        ))),
        false => Ok(()),
    }
}

fn check_roles(roles: &[String]) -> Result<(), AccountsError> {
    let is_odd = |role: &String| role.is_empty() || role.len() > 128 || role.chars().any(char::is_control);
    match roles.len() > MOST_ROLES || roles.iter().any(is_odd) {
        true => Err(AccountsError::Invalid(format!(
            "a user has at most {MOST_ROLES} roles, with names of 1 to 128 bytes"
        ))),
        false => Ok(()),
    }
}
