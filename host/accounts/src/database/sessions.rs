//! The sessions of browsers. The database has only digests of their secrets.

use rusqlite::{OptionalExtension as _, Transaction};
use secrecy::{ExposeSecret as _, SecretString};

use super::event_recorder::EventRecorder;
use super::users::{AccountUser, by_id, is_unchanged};
use super::{AccountDatabase, ms, remembered_browsers};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
use crate::login_method::LoginMethod;
use crate::random;
use witgate_base::digest::sha256;
use witgate_config::accounts::AccountSettings;

/// The most sessions of one user. A further one ends the one that was used least recently.
const MOST_OF_ONE: i64 = 50;

/// The time after which the use of a session is written again, in milliseconds, if the session lives that long without
/// use.
const USE_WRITTEN_MS: i64 = 60_000;

/// A browser in which somebody is logged in.
#[derive(Clone, Debug)]
pub struct BrowserSession {
    /// The user.
    pub user: AccountUser,
    /// The time of the login, in milliseconds since 1970.
    pub created: i64,
    /// The way of the login.
    pub method: LoginMethod,
}

/// The beginning of a session.
#[derive(Clone, Debug)]
pub struct SessionStart {
    /// The way of the login.
    pub method: LoginMethod,
    /// The name of the provider at which the person has logged in.
    pub provider: Option<String>,
    /// A description of the browser for people.
    pub browser: String,
}

impl SessionStart {
    /// The beginning without a provider.
    pub fn here(method: LoginMethod, browser: &str) -> Self {
        Self { method, provider: None, browser: browser.to_owned() }
    }
}

/// The name of a session on pages: a part of its digest, which lets nobody in.
pub type SessionHandle = [u8; 16];

/// A session that may be shown to its user.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// The name of it.
    pub handle: SessionHandle,
    /// A description of the browser for people. It may be empty.
    pub browser: String,
    /// The time of the login, in milliseconds since 1970.
    pub created: i64,
    /// The time of the last use, to the minute.
    pub used: i64,
}

impl AccountDatabase {
    /// Begins a session of a user who has shown the right password. Returns its secret. None: the user has another
    /// password by now, or is disabled.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn begin_session(
        &mut self,
        user: &AccountUser,
        start: &SessionStart,
        now: i64,
    ) -> Result<Option<SecretString>, AccountsError> {
        let secret = SecretString::from(random::text()?);
        let recorder = self.recorder.clone();
        let has_begun = self.change(|transaction, _| {
            let is_same = is_unchanged(transaction, user)?;
            if is_same {
                insert(transaction, &recorder, user, (&secret, start), now)?;
            }
            Ok::<_, AccountsError>(is_same)
        })?;
        Ok(has_begun.then_some(secret))
    }

    /// The session with this secret, which is used now. None: there is none, it has ended, or its user is disabled.
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub fn session(
        &mut self,
        secret: &SecretString,
        settings: &AccountSettings,
        now: i64,
    ) -> Result<Option<BrowserSession>, AccountsError> {
        let digest = digest_of(secret);
        let query = "SELECT user, created, used, method FROM sessions WHERE digest = ?1";
        let row: Option<(String, i64, i64, String)> = self
            .connection
            .query_row(query, [digest.as_slice()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((user, created, used, method)) = row else { return Ok(None) };
        let method = LoginMethod::of_word(&method);
        let idle = ms(settings.session_idle);
        // A session of the future is from before the clock was set; nobody knows its age.
        let is_over = now - created >= ms(settings.session_ttl) || now - used >= idle || created - now > idle;
        // The settings may have become stricter since the login.
        let is_enough =
            |user: &AccountUser| method.is_strong() || !settings.second_factor.is_for(&user.roles);
        let user = by_id(&self.connection, &user)?.filter(|user| user.disabled.is_none() && !is_over);
        let Some(user) = user.filter(is_enough) else {
            self.forget_session(&digest)?;
            return Ok(None);
        };
        if now - used >= USE_WRITTEN_MS.min(idle / 4) {
            let values = (digest.as_slice(), now);
            self.connection.execute("UPDATE sessions SET used = ?2 WHERE digest = ?1", values)?;
        }
        Ok(Some(BrowserSession { user, created, method }))
    }

    /// The sessions of a user that are not over, the last used one first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn sessions_of(
        &self,
        user: &str,
        settings: &AccountSettings,
        now: i64,
    ) -> Result<Vec<OpenSession>, AccountsError> {
        let query = "SELECT substr(digest, 1, 16), browser, created, used FROM sessions
                     WHERE user = ?1 AND created > ?2 AND used > ?3 ORDER BY used DESC, created DESC";
        let mut statement = self.connection.prepare_cached(query)?;
        let oldest = (user, now - ms(settings.session_ttl), now - ms(settings.session_idle));
        let rows = statement.query_map(oldest, |row| {
            let (handle, browser) = (row.get(0)?, row.get(1)?);
            Ok(OpenSession { handle, browser, created: row.get(2)?, used: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Ends a session of a user.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn end_session_of(&mut self, user: &AccountUser, handle: SessionHandle) -> Result<(), AccountsError> {
        let recorder = self.recorder.clone();
        self.change(|transaction, _| {
            let query = "DELETE FROM sessions WHERE user = ?1 AND substr(digest, 1, 16) = ?2";
            match transaction.execute(query, (&user.id, handle))? {
                0 => Ok(()),
                _ => {
                    // Somebody else may have that browser.
                    remembered_browsers::forget_all(transaction, &user.id)?;
                    let event = AccountEvent::now(AccountAction::LoggedOut).about(&user.id, &user.name);
                    recorder.record(transaction, event)
                }
            }
        })
    }

    /// Ends the session with this secret.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn end_session(&mut self, secret: &SecretString) -> Result<(), AccountsError> {
        let (digest, recorder) = (digest_of(secret), self.recorder.clone());
        self.change(|transaction, _| {
            let query = "SELECT users.id, users.name FROM sessions JOIN users ON users.id = sessions.user
                         WHERE digest = ?1";
            let user: Option<(String, String)> = transaction
                .query_row(query, [digest.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((id, name)) = user else { return Ok(()) };
            transaction.execute("DELETE FROM sessions WHERE digest = ?1", [digest.as_slice()])?;
            recorder.record(transaction, AccountEvent::now(AccountAction::LoggedOut).about(&id, &name))
        })
    }

    fn forget_session(&self, digest: &[u8; 32]) -> Result<(), AccountsError> {
        self.connection.execute("DELETE FROM sessions WHERE digest = ?1", [digest.as_slice()])?;
        Ok(())
    }
}

/// Adds a session with this secret.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    recorder: &EventRecorder,
    user: &AccountUser,
    (secret, start): (&SecretString, &SessionStart),
    now: i64,
) -> Result<(), AccountsError> {
    let event = AccountEvent::now(AccountAction::LoggedIn).about(&user.id, &user.name);
    let (method, provider) = (Some(start.method.word().to_owned()), start.provider.clone());
    recorder.record(transaction, AccountEvent { method, provider, ..event })?;
    let user = &user.id;
    transaction.execute(
        "DELETE FROM sessions WHERE user = ?1 AND digest NOT IN
         (SELECT digest FROM sessions WHERE user = ?1 ORDER BY used DESC LIMIT ?2)",
        (user, MOST_OF_ONE - 1),
    )?;
    let digest = digest_of(secret);
    let values = (digest.as_slice(), user, now, start.method.word(), &start.browser);
    transaction.execute(
        "INSERT INTO sessions (digest, user, created, used, method, browser) VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
        values,
    )?;
    Ok(())
}

/// The name of the session with this secret.
pub fn handle_of(secret: &SecretString) -> SessionHandle {
    let digest = digest_of(secret);
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

/// The digest by which the database knows a session.
pub(in crate::database) fn digest_of(secret: &SecretString) -> [u8; 32] {
    sha256(secret.expose_secret().as_bytes())
}
