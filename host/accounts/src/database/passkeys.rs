//! Passkeys: keys on devices of people, with which they log in without a password.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use secrecy::SecretString;

use super::AccountDatabase;
use super::event_recorder::EventRecorder;
use super::sessions::{self, SessionStart};
use super::users::{AccountUser, by_id, event, find, is_unchanged, remove_passkeys};
use crate::error::AccountsError;
use crate::event::AccountAction;
use crate::login_method::LoginMethod;
use crate::passkey::{self, NewPasskey, PasskeyAnswer, PasskeyFault, PasskeyServer, PasskeyState};
use crate::random;
use witgate_base::digest::sha256;

/// The most passkeys of one user.
const MOST_OF_ONE: i64 = 20;

/// The longest name of a passkey, in characters.
const LONGEST_NAME: usize = 60;

/// The time for which an answered challenge is remembered, in milliseconds. No challenge is accepted for as long.
const REMEMBERED_MS: i64 = 3_600_000;

/// The most challenges that one user answers in that time. A script could answer a thousand in a second.
const MOST_ANSWERS: i64 = 200;

/// A passkey that may be shown to its user.
#[derive(Clone, Debug)]
pub struct Passkey {
    /// The id of the credential.
    pub id: Vec<u8>,
    /// The name that the user has given it.
    pub name: String,
    /// The time at which it was added, in milliseconds since 1970.
    pub created: i64,
    /// The time of the last login with it.
    pub used: Option<i64>,
}

/// The reason why nobody is let in with a passkey, or why it is not added.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyRefusal {
    /// It is not valid.
    #[error("{fault}")]
    Fault {
        /// The reason.
        fault: PasskeyFault,
        /// The user whose passkey it is. None: nobody is known.
        user: Option<Box<AccountUser>>,
    },
    /// The accounts cannot be used.
    #[error(transparent)]
    Store(#[from] AccountsError),
}

impl PasskeyRefusal {
    /// The same of a passkey of this user.
    fn of(self, user: &AccountUser) -> Self {
        match self {
            Self::Fault { fault, .. } => Self::Fault { fault, user: Some(Box::new(user.clone())) },
            Self::Store(error) => Self::Store(error),
        }
    }
}

impl From<PasskeyFault> for PasskeyRefusal {
    fn from(fault: PasskeyFault) -> Self {
        Self::Fault { fault, user: None }
    }
}

impl From<rusqlite::Error> for PasskeyRefusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl AccountDatabase {
    /// The passkeys of a user, the oldest one first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn passkeys_of(&self, user: &str) -> Result<Vec<Passkey>, AccountsError> {
        let query = "SELECT id, name, created, used FROM passkeys WHERE user = ?1 ORDER BY created";
        let mut statement = self.connection.prepare_cached(query)?;
        let rows = statement.query_map([user], |row| {
            Ok(Passkey { id: row.get(0)?, name: row.get(1)?, created: row.get(2)?, used: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds a passkey of a user who is logged in. The challenge is used up in any case.
    ///
    /// # Errors
    /// If it is not valid, or the database cannot be written.
    pub fn add_passkey(
        &mut self,
        user: &AccountUser,
        name: &str,
        (server, challenge): (PasskeyServer<'_>, &str),
        shown: &NewPasskey<'_>,
        now: i64,
    ) -> Result<(), PasskeyRefusal> {
        let recorder = self.recorder.clone();
        let refused = self.change(|transaction, _| {
            // The challenge is of somebody with this password.
            if !is_unchanged(transaction, user)? {
                return Err(PasskeyFault("passkey-challenge").into());
            }
            answer(transaction, &user.id, challenge, now)?;
            match add(transaction, &recorder, (user, name), (server, challenge), shown, now) {
                Ok(()) => Ok(None),
                Err(PasskeyRefusal::Fault { fault, .. }) => Ok(Some(fault)),
                Err(error) => Err(error),
            }
        })?;
        refused.map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Removes a passkey of a user.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn remove_passkey(&mut self, user: &AccountUser, id: &[u8]) -> Result<(), AccountsError> {
        let recorder = self.recorder.clone();
        self.change(|transaction, _| {
            let query = "DELETE FROM passkeys WHERE id = ?1 AND user = ?2";
            match transaction.execute(query, (id, &user.id))? {
                0 => Ok(()),
                _ => recorder.record(transaction, event(AccountAction::PasskeyRemoved, user)),
            }
        })
    }

    /// Removes all passkeys of a user. Returns their number.
    ///
    /// # Errors
    /// If there is no such user, or the database cannot be written.
    pub fn remove_passkeys(&mut self, name: &str) -> Result<usize, AccountsError> {
        let recorder = self.recorder.clone();
        self.change(|transaction, _| {
            let user = find(transaction, name)?;
            remove_passkeys(transaction, &recorder, &user)
        })
    }

    /// Begins a session by a passkey of the user with the id `handle`. Returns its user and its secret.
    ///
    /// # Errors
    /// If the answer is not valid, or the database cannot be written.
    pub fn pass_passkey(
        &mut self,
        id: &[u8],
        handle: &str,
        (server, challenge): (PasskeyServer<'_>, &str),
        shown: &PasskeyAnswer<'_>,
        browser: &str,
        now: i64,
    ) -> Result<(AccountUser, SecretString), PasskeyRefusal> {
        let session = SecretString::from(random::text()?);
        let recorder = self.recorder.clone();
        let user = self.change(|transaction, _| {
            let unknown = PasskeyFault("passkey-unknown");
            let StoredPasskey { user, algorithm, key, last } = stored(transaction, id)?.ok_or(unknown)?;
            // Web Authentication, section 7.2, step 6: nobody was named before, so the answer has to name the user.
            let user = by_id(transaction, &user)?.filter(|user| user.id == handle).ok_or(unknown)?;
            let refused = |fault: PasskeyFault| PasskeyRefusal::from(fault).of(&user);
            let state =
                passkey::check_answer(server, challenge, (algorithm, &key), last, shown).map_err(refused)?;
            if user.disabled.is_some() {
                return Err(refused(unknown));
            }
            answer(transaction, &user.id, challenge, now).map_err(|refusal| refusal.of(&user))?;
            let statement = "UPDATE passkeys SET counter = ?2, backup_eligible = ?3, used = ?4 WHERE id = ?1";
            transaction.execute(statement, (id, state.counter, state.is_backup_eligible, now))?;
            let start = SessionStart::here(LoginMethod::Passkey, browser);
            sessions::insert(transaction, &recorder, &user, (&session, &start), now)?;
            Ok::<_, PasskeyRefusal>(user)
        })?;
        Ok((user, session))
    }
}

/// A passkey, as its answers are checked.
struct StoredPasskey {
    user: String,
    algorithm: i64,
    key: Vec<u8>,
    last: PasskeyState,
}

fn stored(connection: &Connection, id: &[u8]) -> Result<Option<StoredPasskey>, AccountsError> {
    let query = "SELECT user, algorithm, key, counter, backup_eligible FROM passkeys WHERE id = ?1";
    let row = connection.query_row(query, [id], |row| {
        let last = PasskeyState { counter: row.get(3)?, is_backup_eligible: row.get(4)? };
        Ok(StoredPasskey { user: row.get(0)?, algorithm: row.get(1)?, key: row.get(2)?, last })
    });
    Ok(row.optional()?)
}

fn add(
    transaction: &Transaction<'_>,
    recorder: &EventRecorder,
    (user, name): (&AccountUser, &str),
    (server, challenge): (PasskeyServer<'_>, &str),
    shown: &NewPasskey<'_>,
    now: i64,
) -> Result<(), PasskeyRefusal> {
    let state = passkey::check_new(server, challenge, shown)?;
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    let name = if name.is_empty() { "Passkey".to_owned() } else { name };
    let query = "SELECT count(*) FROM passkeys WHERE user = ?1";
    let count: i64 = transaction.query_row(query, [&user.id], |row| row.get(0))?;
    if count >= MOST_OF_ONE {
        return Err(PasskeyFault("passkey-too-many").into());
    }
    // The id of a passkey of somebody else stays theirs.
    let added = transaction.execute(
        "INSERT OR IGNORE INTO passkeys (id, user, name, algorithm, key, counter, backup_eligible, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (shown.id, &user.id, &name, shown.algorithm, shown.key, state.counter, state.is_backup_eligible, now),
    )?;
    if added == 0 {
        return Err(PasskeyFault("passkey-known").into());
    }
    Ok(recorder.record(transaction, event(AccountAction::PasskeyAdded, user))?)
}

/// True if a user has passkeys.
pub(super) fn exist(connection: &Connection, user: &str) -> Result<bool, AccountsError> {
    let query = "SELECT EXISTS (SELECT 1 FROM passkeys WHERE user = ?1)";
    Ok(connection.query_row(query, [user], |row| row.get(0))?)
}

/// Remembers that a user has answered a challenge. Only who is logged in, or has a passkey, gets this far.
fn answer(
    transaction: &Transaction<'_>,
    user: &str,
    challenge: &str,
    now: i64,
) -> Result<(), PasskeyRefusal> {
    transaction.execute("DELETE FROM answered_challenges WHERE created < ?1", [now - REMEMBERED_MS])?;
    let query = "SELECT count(*) FROM answered_challenges WHERE user = ?1";
    let answered: i64 = transaction.query_row(query, [user], |row| row.get(0))?;
    if answered >= MOST_ANSWERS {
        return Err(PasskeyFault("passkey-too-often").into());
    }
    let values = (sha256(challenge.as_bytes()), user, now);
    let query = "INSERT OR IGNORE INTO answered_challenges (digest, user, created) VALUES (?1, ?2, ?3)";
    match transaction.execute(query, values)? {
        0 => Err(PasskeyFault("passkey-challenge").into()),
        _ => Ok(()),
    }
}
