//! The identities of users at providers. A user is found by issuer and subject; a name or an address finds nobody who has
//! an identity there already.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Transaction};
use secrecy::SecretString;
use witgate_basic::hash::PasswordHash;

use super::AccountDatabase;
use super::endings::end_all;
use super::event_recorder::EventRecorder;
use super::sessions::{self, SessionStart};
use super::users::{AccountUser, by_id, check_name, end_browsers, event};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
use crate::moment::now_ms;
use crate::random;

/// The most identities of one user.
const MOST_OF_ONE: i64 = 16;

/// The most accounts that the people of one issuer get by themselves.
const MOST_MADE: i64 = 10_000;

/// The sign of addresses, and what looks like it.
const AT_SIGNS: [char; 3] = ['@', '\u{fe6b}', '\u{ff20}'];

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
    /// The verified address, in lower case.
    pub email: Option<String>,
    /// True if the address finds the account of that name.
    pub matches_email: bool,
    /// True if the person gets an account if there is none.
    pub gets_account: bool,
    /// The roles that the provider decides about: true if the person has the role.
    pub roles: BTreeMap<String, bool>,
}

/// Somebody whom a provider has sent, and whom no rule admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedArrival {
    /// The name of the provider in the settings.
    pub provider: String,
    /// The issuer of the subject.
    pub issuer: String,
    /// The id of the person at the provider.
    pub subject: String,
    /// The roles that the provider decides about.
    pub roles: Vec<String>,
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
    /// An operator has taken the identity away, and nobody has given it back.
    Unlinked,
    /// The people of this issuer have as many accounts as possible.
    TooManyAccounts,
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
    /// Finds or makes the account of somebody whom a provider has sent, gives and takes the roles that the provider
    /// decides about, and begins a session with this secret, in one step. Other roles mean that all other logins end, so
    /// that no token has the former ones.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn arrive(
        &mut self,
        arrival: &ProviderArrival,
        (session, start): (&SecretString, &SessionStart),
        now: i64,
    ) -> Result<ArrivalOutcome, AccountsError> {
        let new_id = random::hex(&random::bytes::<16>()?);
        let recorder = self.recorder.clone();
        let outcome = self.change(|transaction, _| {
            let outcome = settle(transaction, &recorder, arrival, new_id, now)?;
            if let ArrivalOutcome::User { user, .. } = &outcome {
                sessions::insert(transaction, &recorder, user, (session, start), now)?;
            }
            Ok::<_, AccountsError>(outcome)
        })?;
        if matches!(outcome, ArrivalOutcome::User { has_other_roles: true, .. }) {
            self.publish()?;
        }
        Ok(outcome)
    }

    /// Takes the roles that the provider decides about from somebody whom no rule admits any more, and ends all their
    /// logins. Nothing happens if there is no account with the identity.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn turn_away(&mut self, refused: &RefusedArrival, now: i64) -> Result<(), AccountsError> {
        const REASON: &str = "provider-not-allowed";
        let recorder = self.recorder.clone();
        let has_changed = self.change(|transaction, _| {
            let Some(id) = owner_of(transaction, &refused.issuer, &refused.subject)? else {
                return Ok(false);
            };
            let mut taken = 0;
            for role in &refused.roles {
                taken += set_role(transaction, &id, role, false)?;
            }
            let ended = end_all(transaction, &id, REASON, now)? + end_browsers(transaction, &id)?;
            let user = by_id(transaction, &id)?.filter(|_| taken + ended > 0);
            let Some(user) = user else { return Ok(false) };
            let action = if taken > 0 { AccountAction::RolesChanged } else { AccountAction::LoginsEnded };
            let event = of_provider(event(action, &user), &refused.provider);
            recorder.record(transaction, event.because(REASON))?;
            Ok::<_, AccountsError>(true)
        })?;
        if has_changed {
            self.publish()?;
        }
        Ok(())
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
            let statement = "DELETE FROM unlinked_identities WHERE issuer = ?1 AND subject = ?2";
            transaction.execute(statement, (issuer, subject))?;
            link(transaction, (issuer, subject, subject), &user.id, now_ms())?;
            recorder.record(transaction, event(AccountAction::IdentityLinked, &user))
        })?;
        Ok(user)
    }

    /// Takes an identity of a user away, until [`Self::link_identity`] gives it to somebody. All their logins end.
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
            let statement = "INSERT OR IGNORE INTO unlinked_identities (issuer, subject) VALUES (?1, ?2)";
            transaction.execute(statement, (issuer, subject))?;
            end_all(transaction, &user.id, "identity-removed", now_ms())?;
            end_browsers(transaction, &user.id)?;
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

/// True if a name could be taken for an address.
pub(crate) fn is_like_address(name: &str) -> bool {
    name.contains(AT_SIGNS)
}

/// The end of an arrival, except for the session.
fn settle(
    transaction: &Transaction<'_>,
    recorder: &EventRecorder,
    arrival: &ProviderArrival,
    new_id: String,
    now: i64,
) -> Result<ArrivalOutcome, AccountsError> {
    let (id, is_new) = match account_of(transaction, recorder, arrival, new_id, now)? {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    let user = known(transaction, &id)?;
    if user.disabled.is_some() {
        return Ok(ArrivalOutcome::Disabled);
    }
    transaction.execute(
        "UPDATE identities SET name = ?3, used = ?4 WHERE issuer = ?1 AND subject = ?2",
        (&arrival.issuer, &arrival.subject, &arrival.name, now),
    )?;
    let mut changed = 0;
    for (role, has) in &arrival.roles {
        changed += set_role(transaction, &id, role, *has)?;
    }
    let has_other_roles = changed > 0 && !is_new;
    if has_other_roles {
        end_all(transaction, &id, "roles-changed", now)?;
        end_browsers(transaction, &id)?;
    }
    let user = known(transaction, &id)?;
    let action = match (is_new, has_other_roles) {
        (true, _) => Some(AccountAction::UserAdded),
        (false, true) => Some(AccountAction::RolesChanged),
        (false, false) => None,
    };
    if let Some(action) = action {
        let event = of_provider(event(action, &user), &arrival.provider);
        recorder.record(transaction, event.because("provider"))?;
    }
    Ok(ArrivalOutcome::User { user, is_new, has_other_roles })
}

/// The id of the account of somebody, and whether it is new. It is linked now if only the address has found it.
fn account_of(
    transaction: &Transaction<'_>,
    recorder: &EventRecorder,
    arrival: &ProviderArrival,
    new_id: String,
    now: i64,
) -> Result<Result<(String, bool), ArrivalOutcome>, AccountsError> {
    if let Some(owner) = owner_of(transaction, &arrival.issuer, &arrival.subject)? {
        return Ok(Ok((owner, false)));
    }
    if is_unlinked(transaction, arrival)? {
        return Ok(Err(ArrivalOutcome::Unlinked));
    }
    match by_address(transaction, arrival)? {
        AddressMatch::Account(id) => {
            link(transaction, (&arrival.issuer, &arrival.subject, &arrival.name), &id, now)?;
            let event = event(AccountAction::IdentityLinked, &known(transaction, &id)?);
            let event = of_provider(event, &arrival.provider);
            recorder.record(transaction, event.because("match-email"))?;
            Ok(Ok((id, false)))
        }
        AddressMatch::Disabled => Ok(Err(ArrivalOutcome::Disabled)),
        AddressMatch::Nobody if !arrival.gets_account => Ok(Err(ArrivalOutcome::NoAccount)),
        AddressMatch::Nobody if number_made(transaction, &arrival.issuer)? >= MOST_MADE => {
            Ok(Err(ArrivalOutcome::TooManyAccounts))
        }
        AddressMatch::Nobody => Ok(Ok((made(transaction, arrival, new_id, now)?, true))),
    }
}

/// The account whose name is an address.
enum AddressMatch {
    /// The account with this id, which only waits for its owner.
    Account(String),
    /// An account of this name is disabled, so that its owner gets no other one.
    Disabled,
    /// No account waits, or several do.
    Nobody,
}

/// The account that waits for somebody with this verified address. One that has an identity belongs to somebody else,
/// even if the address is the same: addresses are given to others. So does one that somebody got by themselves.
fn by_address(
    transaction: &Transaction<'_>,
    arrival: &ProviderArrival,
) -> Result<AddressMatch, AccountsError> {
    let email = arrival.email.as_ref().filter(|_| arrival.matches_email);
    let Some(email) = email else { return Ok(AddressMatch::Nobody) };
    let query = "SELECT id, disabled IS NOT NULL, made_by IS NULL AND NOT EXISTS
                 (SELECT 1 FROM identities WHERE user = users.id) FROM users WHERE lower(name) = ?1";
    let mut statement = transaction.prepare_cached(query)?;
    let rows = statement.query_map([email], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let found: Vec<(String, bool, bool)> = rows.collect::<Result<_, _>>()?;
    if found.iter().any(|(_, is_disabled, _)| *is_disabled) {
        return Ok(AddressMatch::Disabled);
    }
    let mut waiting = found.into_iter().filter(|(_, _, waits)| *waits);
    Ok(match (waiting.next(), waiting.next()) {
        (Some((id, _, _)), None) => AddressMatch::Account(id),
        _ => AddressMatch::Nobody,
    })
}

/// The user with an id that the database has.
fn known(transaction: &Transaction<'_>, id: &str) -> Result<AccountUser, AccountsError> {
    by_id(transaction, id)?.ok_or_else(|| AccountsError::UnknownUser(id.to_owned()))
}

/// The same event, which is due to what a provider says.
fn of_provider(event: AccountEvent, provider: &str) -> AccountEvent {
    AccountEvent { provider: Some(provider.to_owned()), ..event }
}

fn is_unlinked(transaction: &Transaction<'_>, arrival: &ProviderArrival) -> Result<bool, AccountsError> {
    let query = "SELECT 1 FROM unlinked_identities WHERE issuer = ?1 AND subject = ?2";
    let values = (&arrival.issuer, &arrival.subject);
    Ok(transaction.query_row(query, values, |_| Ok(())).optional()?.is_some())
}

fn number_made(transaction: &Transaction<'_>, issuer: &str) -> Result<i64, AccountsError> {
    let query = "SELECT count(*) FROM users WHERE made_by = ?1";
    Ok(transaction.query_row(query, [issuer], |row| row.get(0))?)
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
        "INSERT INTO users (id, name, hash, created, made_by) VALUES (?1, ?2, ?3, ?4, ?5)",
        (&id, name, hash.as_str(), now, &arrival.issuer),
    )?;
    link(transaction, (&arrival.issuer, &arrival.subject, &arrival.name), &id, now)?;
    Ok(id)
}

/// A name that nobody has: that of the person, if it is free. It looks like an address only if it is the verified one,
/// because operators give roles by names.
fn free_name(
    transaction: &Transaction<'_>,
    arrival: &ProviderArrival,
    id: &str,
) -> Result<String, AccountsError> {
    let own = shortened(&arrival.name);
    let is_proven = arrival.email.as_ref() == Some(&own);
    let whole = (is_proven || !is_like_address(&own)).then(|| own.clone());
    let plain = own.split(AT_SIGNS).next().unwrap_or_default().trim();
    let plain = if plain.is_empty() { &arrival.provider } else { plain };
    // Names that only look alike are different, so the comparison ignores the case at least.
    let query = "SELECT 1 FROM users WHERE lower(name) = lower(?1)";
    for name in whole.into_iter().chain([format!("{plain} ({})", arrival.provider)]) {
        let is_free = transaction.query_row(query, [&name], |_| Ok(())).optional()?.is_none();
        if is_free && check_name(&name).is_ok() {
            return Ok(name);
        }
    }
    let short = id.get(..8).unwrap_or(id);
    Ok(format!("{plain} ({} {short})", arrival.provider))
}

/// A name without characters that deceive, and not too long.
fn shortened(name: &str) -> String {
    let plain: String = name.chars().filter(|c| witgate_base::printable::is_plain(*c)).collect();
    let end =
        plain.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST_NAME).last();
    plain.get(..end.unwrap_or(0)).unwrap_or_default().trim().to_owned()
}

/// Gives or takes a role. Returns the number of changes.
fn set_role(
    transaction: &Transaction<'_>,
    user: &str,
    role: &str,
    has: bool,
) -> Result<usize, AccountsError> {
    let statement = match has {
        true => "INSERT OR IGNORE INTO roles (user, role) VALUES (?1, ?2)",
        false => "DELETE FROM roles WHERE user = ?1 AND role = ?2",
    };
    Ok(transaction.execute(statement, (user, role))?)
}

#[cfg(test)]
mod tests;
