//! The identities of users at providers. A user is found by issuer and subject; a name or an address finds nobody who has
//! an identity there already.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Transaction};
use witgate_basic::hash::PasswordHash;

use super::AccountDatabase;
use super::endings::end_all;
use super::users::{AccountUser, by_id, check_name, event};
use crate::error::AccountsError;
use crate::event::AccountAction;
use crate::moment::now_ms;
use crate::random;

/// The most identities of one user.
const MOST_OF_ONE: i64 = 16;

/// The longest name of a new account, in bytes.
const LONGEST_NAME: usize = 200;

/// Somebody whom a provider has sent, and who may log in if there is an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderArrival {
    /// The name of the provider in the settings.
    pub provider: String,
    /// The issuer of the subject.
    pub issuer: String,
    /// The id of the person at the provider.
    pub subject: String,
    /// The name of the person at the provider.
    pub name: String,
    /// The verified address that may find an account without an identity there. None: no address does.
    pub email: Option<String>,
    /// True if the person gets an account if there is none.
    pub gets_account: bool,
    /// The roles that the provider decides about: true if the person has the role.
    pub roles: BTreeMap<String, bool>,
}

/// The result of an arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArrivalOutcome {
    /// The person has this account.
    User {
        /// The account.
        user: AccountUser,
        /// True if it is new.
        is_new: bool,
        /// True if the roles have changed, so that all logins have ended.
        has_other_roles: bool,
    },
    /// There is no account, and the person gets none.
    NoAccount,
    /// The account is disabled.
    Disabled,
}

/// An identity of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserIdentity {
    /// The issuer.
    pub issuer: String,
    /// The id of the person there.
    pub subject: String,
    /// The name of the person there, as it was at the last login.
    pub name: String,
}

impl AccountDatabase {
    /// Finds or makes the account of somebody whom a provider has sent, and gives and takes the roles that the provider
    /// decides about. Other roles mean that all logins end, so that no token has the former ones.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn arrive(&mut self, arrival: &ProviderArrival, now: i64) -> Result<ArrivalOutcome, AccountsError> {
        let new_id = random::hex(&random::bytes::<16>()?);
        let recorder = self.recorder.clone();
        let outcome = self.change(|transaction, _| {
            let (id, is_new) = match account_of(transaction, arrival, now)? {
                Some(id) => (id, false),
                None if arrival.gets_account => (made(transaction, arrival, new_id, now)?, true),
                None => return Ok(ArrivalOutcome::NoAccount),
            };
            let unknown = || AccountsError::UnknownUser(arrival.name.clone());
            let user = by_id(transaction, &id)?.ok_or_else(unknown)?;
            if user.disabled.is_some() {
                return Ok(ArrivalOutcome::Disabled);
            }
            let values = (&arrival.issuer, &arrival.subject, &arrival.name, now);
            transaction.execute(
                "UPDATE identities SET name = ?3, used = ?4 WHERE issuer = ?1 AND subject = ?2",
                values,
            )?;
            let has_other_roles = set_roles(transaction, &id, &arrival.roles)? && !is_new;
            if has_other_roles {
                end_all(transaction, &id, "roles-changed", now)?;
                transaction.execute("DELETE FROM sessions WHERE user = ?1", [&id])?;
            }
            let user = by_id(transaction, &id)?.ok_or_else(unknown)?;
            let action = match (is_new, has_other_roles) {
                (true, _) => Some(AccountAction::UserAdded),
                (false, true) => Some(AccountAction::RolesChanged),
                (false, false) => None,
            };
            if let Some(action) = action {
                recorder.record(transaction, event(action, &user).because("provider"))?;
            }
            Ok::<_, AccountsError>(ArrivalOutcome::User { user, is_new, has_other_roles })
        })?;
        if matches!(outcome, ArrivalOutcome::User { has_other_roles: true, .. }) {
            self.publish()?;
        }
        Ok(outcome)
    }

    /// Connects a user with an identity, with which they can log in from now on.
    ///
    /// # Errors
    /// If there is no such user, somebody has the identity, or the database cannot be written.
    pub fn link_identity(
        &mut self,
        user: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<AccountUser, AccountsError> {
        let (user, recorder) = (self.named_user(user)?, self.recorder.clone());
        self.change(|transaction, _| {
            if let Some(owner) = owner_of(transaction, issuer, subject)? {
                let name = by_id(transaction, &owner)?.map_or(owner, |owner| owner.name);
                return Err(AccountsError::Invalid(format!("`{name}` has this identity already")));
            }
            link(transaction, (issuer, subject, subject), &user.id, now_ms())?;
            recorder.record(transaction, event(AccountAction::IdentityLinked, &user))
        })?;
        Ok(user)
    }

    /// Takes an identity of a user away. All their logins end.
    ///
    /// # Errors
    /// If there is no such user or identity, or the database cannot be written.
    pub fn unlink_identity(
        &mut self,
        user: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<AccountUser, AccountsError> {
        let (user, recorder) = (self.named_user(user)?, self.recorder.clone());
        self.change(|transaction, _| {
            let values = (issuer, subject, &user.id);
            let statement = "DELETE FROM identities WHERE issuer = ?1 AND subject = ?2 AND user = ?3";
            if transaction.execute(statement, values)? == 0 {
                return Err(AccountsError::Invalid(format!("`{}` has no such identity", user.name)));
            }
            end_all(transaction, &user.id, "identity-removed", now_ms())?;
            transaction.execute("DELETE FROM sessions WHERE user = ?1", [&user.id])?;
            recorder.record(transaction, event(AccountAction::IdentityRemoved, &user))
        })?;
        self.publish()?;
        Ok(user)
    }

    /// The identities of a user, by name or id.
    ///
    /// # Errors
    /// If there is no such user, or the database cannot be read.
    pub fn identities_of(&self, user: &str) -> Result<Vec<UserIdentity>, AccountsError> {
        let user = self.named_user(user)?;
        let query = "SELECT issuer, subject, name FROM identities WHERE user = ?1 ORDER BY issuer, subject";
        let mut statement = self.connection.prepare_cached(query)?;
        let rows = statement.query_map([&user.id], |row| {
            Ok(UserIdentity { issuer: row.get(0)?, subject: row.get(1)?, name: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The id of the account of somebody, which is linked now if only the address has found it.
fn account_of(
    transaction: &Transaction<'_>,
    arrival: &ProviderArrival,
    now: i64,
) -> Result<Option<String>, AccountsError> {
    if let Some(owner) = owner_of(transaction, &arrival.issuer, &arrival.subject)? {
        return Ok(Some(owner));
    }
    let Some(email) = &arrival.email else { return Ok(None) };
    // An account that has an identity there belongs to somebody else, even if the address is the same: addresses are
    // given to others.
    let query = "SELECT id FROM users WHERE lower(name) = ?1 AND disabled IS NULL AND NOT EXISTS
                 (SELECT 1 FROM identities WHERE user = users.id AND issuer = ?2) LIMIT 2";
    let mut statement = transaction.prepare_cached(query)?;
    let found = statement.query_map((email, &arrival.issuer), |row| row.get(0))?;
    let found: Vec<String> = found.collect::<Result<_, _>>()?;
    let [only] = found.as_slice() else { return Ok(None) };
    link(transaction, (&arrival.issuer, &arrival.subject, &arrival.name), only, now)?;
    Ok(Some(only.clone()))
}

fn owner_of(
    transaction: &Transaction<'_>,
    issuer: &str,
    subject: &str,
) -> Result<Option<String>, AccountsError> {
    let query = "SELECT user FROM identities WHERE issuer = ?1 AND subject = ?2";
    Ok(transaction.query_row(query, (issuer, subject), |row| row.get(0)).optional()?)
}

fn link(
    transaction: &Transaction<'_>,
    (issuer, subject, name): (&str, &str, &str),
    user: &str,
    now: i64,
) -> Result<(), AccountsError> {
    let count = "SELECT count(*) FROM identities WHERE user = ?1";
    let has: i64 = transaction.query_row(count, [user], |row| row.get(0))?;
    if has >= MOST_OF_ONE {
        return Err(AccountsError::Invalid(format!("a user has at most {MOST_OF_ONE} identities")));
    }
    transaction.execute(
        "INSERT INTO identities (issuer, subject, user, name, created) VALUES (?1, ?2, ?3, ?4, ?5)",
        (issuer, subject, user, name, now),
    )?;
    Ok(())
}

/// Makes the account of somebody, without a password. Returns its id.
fn made(
    transaction: &Transaction<'_>,
    arrival: &ProviderArrival,
    id: String,
    now: i64,
) -> Result<String, AccountsError> {
    let name = free_name(transaction, arrival, &id)?;
    let hash = PasswordHash::nobody();
    transaction.execute(
        "INSERT INTO users (id, name, hash, created) VALUES (?1, ?2, ?3, ?4)",
        (&id, name, hash.as_str(), now),
    )?;
    link(transaction, (&arrival.issuer, &arrival.subject, &arrival.name), &id, now)?;
    Ok(id)
}

/// A name that nobody has: that of the person, if it is free.
fn free_name(
    transaction: &Transaction<'_>,
    arrival: &ProviderArrival,
    id: &str,
) -> Result<String, AccountsError> {
    let plain: String = arrival.name.chars().filter(|c| witgate_base::printable::is_plain(*c)).collect();
    let end =
        plain.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST_NAME).last();
    let own = plain.get(..end.unwrap_or(0)).unwrap_or_default().trim();
    let own = if own.is_empty() { &arrival.provider } else { own };
    // Names that only look alike are different, so the comparison ignores the case at least.
    let query = "SELECT 1 FROM users WHERE lower(name) = lower(?1)";
    for name in [own.to_owned(), format!("{own} ({})", arrival.provider)] {
        let is_free = transaction.query_row(query, [&name], |_| Ok(())).optional()?.is_none();
        if is_free && check_name(&name).is_ok() {
            return Ok(name);
        }
    }
    let short = id.get(..8).unwrap_or(id);
    Ok(format!("{own} ({} {short})", arrival.provider))
}

/// Gives and takes roles. True: something has changed.
fn set_roles(
    transaction: &Transaction<'_>,
    user: &str,
    roles: &BTreeMap<String, bool>,
) -> Result<bool, AccountsError> {
    let mut changed = 0;
    for (role, has) in roles {
        let statement = match has {
            true => "INSERT OR IGNORE INTO roles (user, role) VALUES (?1, ?2)",
            false => "DELETE FROM roles WHERE user = ?1 AND role = ?2",
        };
        changed += transaction.execute(statement, (user, role))?;
    }
    Ok(changed > 0)
}

#[cfg(test)]
mod tests;
