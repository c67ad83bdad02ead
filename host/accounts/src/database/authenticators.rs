//! Second factors: secrets that people share with their authenticator apps.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use secrecy::{ExposeSecret as _, SecretString};
use witgate_base::seal::SealingKey;

use super::AccountDatabase;
use super::event_recorder::EventRecorder;
use super::recovery_codes;
use super::sessions::digest_of;
use super::users::{AccountUser, event, find};
use crate::error::AccountsError;
use crate::event::AccountAction;
use crate::login_method::LoginMethod;
use crate::random::hex;
use crate::totp::TotpSecret;

/// The time for which a page that shows a secret can be confirmed, in milliseconds.
const OFFER_MS: i64 = 15 * 60_000;

/// The most secrets that pages show one user at the same time. A further one ends the oldest.
const MOST_OFFERED: i64 = 10;

/// The wrong codes in a row after which pauses begin, from all addresses together. Only somebody who knows the password
/// can fail here, so that nobody else locks the user out.
const FREE_FAILURES: i64 = 10;

/// The first pause, in milliseconds. Each further failure doubles it.
const FIRST_PAUSE_MS: i64 = 60_000;

/// The longest pause. With it, somebody who knows the password and guesses for a year finds one of the three codes of six
/// digits that are valid at a time with a probability of less than three in a hundred.
const LONGEST_PAUSE_MS: i64 = 3_600_000;

/// The second factor of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authenticator {
    /// The time at which it was set up, in milliseconds since 1970.
    pub created: i64,
    /// The number of recovery codes that are left.
    pub codes_left: usize,
}

/// The verdict about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeVerdict {
    Right,
    Wrong,
    /// Too many codes were wrong: the seconds until the next attempt.
    Paused(u32),
}

impl AccountDatabase {
    /// The second factor of a user. None: they have none.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn authenticator_of(&self, user: &str) -> Result<Option<Authenticator>, AccountsError> {
        let query = "SELECT created FROM authenticators WHERE user = ?1";
        let created = self.connection.query_row(query, [user], |row| row.get(0)).optional()?;
        let Some(created) = created else { return Ok(None) };
        Ok(Some(Authenticator { created, codes_left: recovery_codes::left(&self.connection, user)? }))
    }

    /// Makes a secret for the page of a session. It counts after [`Self::confirm_authenticator`].
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn offer_authenticator(
        &mut self,
        session: &SecretString,
        user: &str,
        now: i64,
    ) -> Result<TotpSecret, AccountsError> {
        self.change(|transaction, seal| offer(transaction, seal, session, user, now))
    }

    /// The secret that the page of a session, or of a login that has begun, shows. None: there is none, or it is too
    /// old.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn offered_authenticator(
        &self,
        owner: &SecretString,
        user: &str,
        now: i64,
    ) -> Result<Option<TotpSecret>, AccountsError> {
        offered(&self.connection, &self.seal, owner, user, now)
    }

    /// Sets up the secret that the page of a session has shown, if the code is one of it. The other browsers of the
    /// user, which have shown no second factor, are logged out. Returns recovery codes. None: the code is wrong, or the
    /// page is too old.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn confirm_authenticator(
        &mut self,
        session: &SecretString,
        user: &AccountUser,
        code: &str,
        now: i64,
    ) -> Result<Option<Vec<SecretString>>, AccountsError> {
        let recorder = self.recorder.clone();
        self.change(|transaction, seal| {
            let method = LoginMethod::PasswordAndCode.word();
            let values = (digest_of(session), &user.id, method);
            let query = "UPDATE sessions SET method = ?3 WHERE digest = ?1 AND user = ?2";
            let shown = (session, code);
            let Some(codes) = confirm(transaction, seal, &recorder, user, shown, now)? else {
                return Ok(None);
            };
            if transaction.execute(query, values)? == 0 {
                return Err(AccountsError::Invalid("the session has ended".to_owned()));
            }
            transaction.execute(
                "DELETE FROM sessions WHERE user = ?1 AND digest <> ?2",
                (&user.id, digest_of(session)),
            )?;
            Ok(Some(codes))
        })
    }

    /// Replaces the recovery codes of a user. None: they have no second factor.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn renew_recovery_codes(
        &mut self,
        user: &AccountUser,
    ) -> Result<Option<Vec<SecretString>>, AccountsError> {
        let recorder = self.recorder.clone();
        self.change(|transaction, seal| {
            if !exists(transaction, &user.id)? {
                return Ok(None);
            }
            recorder.record(transaction, event(AccountAction::CodesRenewed, user))?;
            recovery_codes::replace(transaction, seal, &user.id).map(Some)
        })
    }

    /// Removes the second factor of a user, with the recovery codes. False: they had none.
    ///
    /// # Errors
    /// If there is no such user, or the database cannot be written.
    pub fn remove_authenticator(&mut self, name: &str) -> Result<bool, AccountsError> {
        let recorder = self.recorder.clone();
        self.change(|transaction, _| {
            let user = find(transaction, name)?;
            let removed = transaction.execute("DELETE FROM authenticators WHERE user = ?1", [&user.id])?;
            if removed > 0 {
                recorder.record(transaction, event(AccountAction::FactorRemoved, &user))?;
            }
            transaction.execute("DELETE FROM recovery_codes WHERE user = ?1", [&user.id])?;
            transaction.execute("DELETE FROM begun_logins WHERE user = ?1", [&user.id])?;
            Ok(removed > 0)
        })
    }
}

/// True if a user has a second factor.
pub(super) fn exists(connection: &Connection, user: &str) -> Result<bool, AccountsError> {
    let query = "SELECT 1 FROM authenticators WHERE user = ?1";
    Ok(connection.query_row(query, [user], |_| Ok(())).optional()?.is_some())
}

/// Makes a secret that a page shows.
pub(super) fn offer(
    transaction: &Transaction<'_>,
    seal: &SealingKey,
    owner: &SecretString,
    user: &str,
    now: i64,
) -> Result<TotpSecret, AccountsError> {
    let secret = TotpSecret::new()?;
    let digest = digest_of(owner);
    let sealed =
        seal.seal(&["offered_authenticators", &hex(&digest), "secret"], secret.text().expose_secret())?;
    transaction.execute("DELETE FROM offered_authenticators WHERE created < ?1", [now - OFFER_MS])?;
    transaction.execute(
        "DELETE FROM offered_authenticators WHERE user = ?1 AND digest NOT IN
         (SELECT digest FROM offered_authenticators WHERE user = ?1 ORDER BY created DESC LIMIT ?2)",
        (user, MOST_OFFERED - 1),
    )?;
    transaction.execute(
        "INSERT OR REPLACE INTO offered_authenticators (digest, user, secret, created) VALUES (?1, ?2, ?3, ?4)",
        (digest, user, sealed, now),
    )?;
    Ok(secret)
}

fn offered(
    connection: &Connection,
    seal: &SealingKey,
    owner: &SecretString,
    user: &str,
    now: i64,
) -> Result<Option<TotpSecret>, AccountsError> {
    let digest = digest_of(owner);
    let query = "SELECT secret FROM offered_authenticators WHERE digest = ?1 AND user = ?2 AND created > ?3";
    let sealed = connection.query_row(query, (digest, user, now - OFFER_MS), |row| row.get::<_, String>(0));
    let Some(sealed) = sealed.optional()? else { return Ok(None) };
    Ok(Some(TotpSecret::of(&seal.open(&["offered_authenticators", &hex(&digest), "secret"], &sealed)?)?))
}

/// Sets up an offered secret, if the code is one of it. It replaces a former one, with its recovery codes.
pub(super) fn confirm(
    transaction: &Transaction<'_>,
    seal: &SealingKey,
    recorder: &EventRecorder,
    user: &AccountUser,
    (owner, code): (&SecretString, &str),
    now: i64,
) -> Result<Option<Vec<SecretString>>, AccountsError> {
    let id = &user.id;
    let Some(secret) = offered(transaction, seal, owner, id, now)? else { return Ok(None) };
    let Some(step) = secret.step_of(code, now, 0) else { return Ok(None) };
    let sealed = seal.seal(&["authenticators", id, "secret"], secret.text().expose_secret())?;
    transaction.execute(
        "INSERT OR REPLACE INTO authenticators (user, secret, created, last_step) VALUES (?1, ?2, ?3, ?4)",
        (id, sealed, now, step),
    )?;
    transaction.execute("DELETE FROM offered_authenticators WHERE user = ?1", [id])?;
    recorder.record(transaction, event(AccountAction::FactorAdded, user))?;
    recovery_codes::replace(transaction, seal, id).map(Some)
}

/// Judges a code of the app, or a recovery code, and uses it up.
pub(super) fn judge(
    transaction: &Transaction<'_>,
    seal: &SealingKey,
    user: &str,
    code: &str,
    now: i64,
) -> Result<CodeVerdict, AccountsError> {
    let query = "SELECT secret, last_step, failures, failed FROM authenticators WHERE user = ?1";
    let row = transaction.query_row(query, [user], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
    });
    let Some((sealed, last_step, failures, failed)) = row.optional()? else { return Ok(CodeVerdict::Wrong) };
    let pause = pause_ms(failures);
    let rest = failed + pause - now;
    // A time of failure in the future is from a wrong clock.
    if (1..=pause).contains(&rest) {
        return Ok(CodeVerdict::Paused(u32::try_from(rest / 1_000 + 1).unwrap_or(u32::MAX)));
    }
    let secret = TotpSecret::of(&seal.open(&["authenticators", user, "secret"], &sealed)?)?;
    if let Some(step) = secret.step_of(code, now, last_step) {
        transaction.execute(
            "UPDATE authenticators SET last_step = ?2, failures = 0 WHERE user = ?1",
            (user, step),
        )?;
        return Ok(CodeVerdict::Right);
    }
    if recovery_codes::take(transaction, seal, user, code)? {
        transaction.execute("UPDATE authenticators SET failures = 0 WHERE user = ?1", [user])?;
        return Ok(CodeVerdict::Right);
    }
    let values = (user, failures + 1, now);
    transaction.execute("UPDATE authenticators SET failures = ?2, failed = ?3 WHERE user = ?1", values)?;
    Ok(CodeVerdict::Wrong)
}

/// The pause after so many wrong codes in a row.
fn pause_ms(failures: i64) -> i64 {
    match u32::try_from(failures - FREE_FAILURES) {
        Ok(further) => (FIRST_PAUSE_MS << further.min(6)).min(LONGEST_PAUSE_MS),
        Err(_) => 0,
    }
}
