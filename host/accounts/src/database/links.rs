//! One-time links, with which people choose a password. The database has only digests of their secrets.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};
use secrecy::SecretString;
use witgate_basic::hash::PasswordHash;

use super::sessions::digest_of;
use super::users::{AccountUser, by_id, event, find, remove_passkeys, replace_password};
use super::{AccountDatabase, ms};
use crate::error::AccountsError;
use crate::event::AccountAction;
use crate::random;

/// The lifetime of a link to replace a password, which somebody waits for.
pub const RESET_TTL: Duration = Duration::from_secs(3_600);

/// The lifetime of a link for a new user, who may be on leave.
pub const INVITATION_TTL: Duration = Duration::from_secs(3 * 86_400);

impl AccountDatabase {
    /// Makes the link of a user, and returns its secret. A former link of the same user ends. The password and the
    /// logins stay until the link is used.
    ///
    /// # Errors
    /// If there is no such user, or they are disabled, or the database cannot be written.
    pub fn make_link(
        &mut self,
        name: &str,
        lifetime: Duration,
        now: i64,
    ) -> Result<(AccountUser, SecretString), AccountsError> {
        let secret = SecretString::from(random::text()?);
        let recorder = self.recorder.clone();
        let user = self.change(|transaction, _| {
            let user = find(transaction, name)?;
            if user.disabled.is_some() {
                return Err(AccountsError::Invalid(format!(
                    "`{}` is disabled; enable them first",
                    user.name
                )));
            }
            transaction.execute("DELETE FROM links WHERE ends <= ?1", [now])?;
            let values = (&user.id, digest_of(&secret), now + ms(lifetime));
            transaction
                .execute("INSERT OR REPLACE INTO links (user, digest, ends) VALUES (?1, ?2, ?3)", values)?;
            recorder.record(transaction, event(AccountAction::LinkMade, &user))?;
            Ok(user)
        })?;
        Ok((user, secret))
    }

    /// The user whose link has this secret. None: there is no such link, or it has been used, or is too old.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn user_of_link(
        &self,
        secret: &SecretString,
        now: i64,
    ) -> Result<Option<AccountUser>, AccountsError> {
        linked(&self.connection, secret, now)
    }

    /// Uses a link: its user gets the new password, all their logins end, and their passkeys are removed, because somebody
    /// else may have added one. None: as for [`Self::user_of_link`].
    ///
    /// # Errors
    /// If the database or the list of ended logins cannot be written.
    pub fn use_link(
        &mut self,
        secret: &SecretString,
        hash: &PasswordHash,
        now: i64,
    ) -> Result<Option<AccountUser>, AccountsError> {
        let recorder = self.recorder.clone();
        let used = self.change(|transaction, _| {
            let Some(user) = linked(transaction, secret, now)? else { return Ok(None) };
            remove_passkeys(transaction, &recorder, &user)?;
            replace_password(transaction, &recorder, &user, hash)?;
            Ok::<_, AccountsError>(Some(user))
        })?;
        if used.is_some() {
            self.publish()?;
        }
        Ok(used)
    }
}

fn linked(
    connection: &Connection,
    secret: &SecretString,
    now: i64,
) -> Result<Option<AccountUser>, AccountsError> {
    let query = "SELECT user FROM links WHERE digest = ?1 AND ends > ?2";
    let user = connection.query_row(query, (digest_of(secret), now), |row| row.get::<_, String>(0));
    let Some(user) = user.optional()? else { return Ok(None) };
    Ok(by_id(connection, &user)?.filter(|user| user.disabled.is_none()))
}
