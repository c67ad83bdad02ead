//! The sessions of browsers. The database has only digests of their secrets.

use rusqlite::OptionalExtension as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::users::{AccountUser, by_id};
use super::{AccountDatabase, ms};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
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
        now: i64,
    ) -> Result<Option<SecretString>, AccountsError> {
        let secret = SecretString::from(random::text()?);
        let digest = digest_of(&secret);
        let recorder = self.recorder.clone();
        let has_begun = self.change(|transaction, _| {
            let current = by_id(transaction, &user.id)?;
            if current.is_none_or(|now| now.hash != user.hash || now.disabled.is_some()) {
                return Ok(false);
            }
            let event = AccountEvent::now(AccountAction::LoggedIn).about(&user.id, &user.name);
            recorder.record(transaction, event)?;
            let user = &user.id;
            transaction.execute(
                "DELETE FROM sessions WHERE user = ?1 AND digest NOT IN
                 (SELECT digest FROM sessions WHERE user = ?1 ORDER BY used DESC LIMIT ?2)",
                (user, MOST_OF_ONE - 1),
            )?;
            let values = (digest.as_slice(), user, now);
            transaction.execute(
                "INSERT INTO sessions (digest, user, created, used) VALUES (?1, ?2, ?3, ?3)",
                values,
            )?;
            Ok::<_, AccountsError>(true)
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
        let query = "SELECT user, created, used FROM sessions WHERE digest = ?1";
        let row: Option<(String, i64, i64)> = self
            .connection
            .query_row(query, [digest.as_slice()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((user, created, used)) = row else { return Ok(None) };
        let idle = ms(settings.session_idle);
        // A session of the future is from before the clock was set; nobody knows its age.
        let is_over = now - created >= ms(settings.session_ttl) || now - used >= idle || created - now > idle;
        let user = by_id(&self.connection, &user)?.filter(|user| user.disabled.is_none() && !is_over);
        let Some(user) = user else {
            self.forget_session(&digest)?;
            return Ok(None);
        };
        if now - used >= USE_WRITTEN_MS.min(idle / 4) {
            let values = (digest.as_slice(), now);
            self.connection.execute("UPDATE sessions SET used = ?2 WHERE digest = ?1", values)?;
        }
        Ok(Some(BrowserSession { user, created }))
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

/// The digest by which the database knows a session.
pub(in crate::database) fn digest_of(secret: &SecretString) -> [u8; 32] {
    sha256(secret.expose_secret().as_bytes())
}
