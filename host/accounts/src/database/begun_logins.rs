//! Logins in two steps: the password, and then a code.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use secrecy::SecretString;

use super::authenticators::{self, CodeVerdict};
use super::passkeys;
use super::remembered_browsers::{is_remembered, remember};
use super::sessions::{self, SessionStart, digest_of};
use super::users::{AccountUser, by_id, is_unchanged};
use super::{AccountDatabase, ms};
use crate::error::AccountsError;
use crate::login_method::LoginMethod;
use crate::random;
use witgate_config::accounts::AccountSettings;

/// The time for the second step, in milliseconds. It is long enough to install an app.
const PATIENCE_MS: i64 = 10 * 60_000;

/// The most begun logins of one user. A further one ends the oldest.
const MOST_OF_ONE: i64 = 10;

/// The next step of a login after the right password.
#[derive(Debug)]
pub enum LoginStep {
    /// The session with this secret has begun.
    Session(SecretString),
    /// A code has to follow, for the begun login with this secret.
    Code(SecretString),
    /// A login with a passkey, in place of this one: the user needs a second factor, and has passkeys but no app. Somebody
    /// who knows the password alone sets up no app.
    Passkey,
}

/// A login that waits for its second step.
#[derive(Clone, Debug)]
pub struct BegunLogin {
    /// The user.
    pub user: AccountUser,
    /// True if the user has a second factor, and false if they have to set one up.
    pub has_factor: bool,
}

/// The outcome of the second step.
#[derive(Debug)]
pub enum SecondStep {
    /// A session has begun.
    Done {
        /// Its secret.
        session: SecretString,
        /// The recovery codes of a second factor that was set up in this step.
        codes: Vec<SecretString>,
        /// The secret of the browser, if it is remembered from now on.
        remembered: Option<SecretString>,
    },
    /// The code is wrong, or was used before.
    Wrong,
    /// Too many codes were wrong: the seconds until the next attempt.
    Paused(u32),
    /// The login has to begin again.
    Over,
}

impl AccountDatabase {
    /// Goes on with a login after the right password, in a browser with this description, and with this secret if a code
    /// was shown there lately. None: the user has another password by now, or is disabled.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn pass_password(
        &mut self,
        user: &AccountUser,
        (browser, remembered): (&str, Option<&SecretString>),
        settings: &AccountSettings,
        now: i64,
    ) -> Result<Option<LoginStep>, AccountsError> {
        let secret = SecretString::from(random::text()?);
        let recorder = self.recorder.clone();
        self.change(|transaction, seal| {
            if !is_unchanged(transaction, user)? {
                return Ok(None);
            }
            let has_factor = authenticators::exists(transaction, &user.id)?;
            let longest = ms(settings.second_factor_remembered);
            if let Some(remembered) = remembered
                && has_factor
                && is_remembered(transaction, &user.id, remembered, (longest, now))?
            {
                let start = SessionStart::here(LoginMethod::RememberedBrowser, browser);
                sessions::insert(transaction, &recorder, user, (&secret, &start), now)?;
                return Ok(Some(LoginStep::Session(secret)));
            }
            let current = by_id(transaction, &user.id)?;
            let roles = current.as_ref().map_or(&user.roles, |current| &current.roles);
            if !has_factor && !settings.second_factor.is_for(roles) {
                let start = SessionStart::here(LoginMethod::Password, browser);
                sessions::insert(transaction, &recorder, user, (&secret, &start), now)?;
                return Ok(Some(LoginStep::Session(secret)));
            }
            if !has_factor {
                if passkeys::exist(transaction, &user.id)? {
                    return Ok(Some(LoginStep::Passkey));
                }
                authenticators::offer(transaction, seal, &secret, &user.id, now)?;
            }
            begin(transaction, &user.id, &secret, now)?;
            Ok(Some(LoginStep::Code(secret)))
        })
    }

    /// The begun login with this secret. None: there is none, or it is too old.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn begun_login(&self, secret: &SecretString, now: i64) -> Result<Option<BegunLogin>, AccountsError> {
        found(&self.connection, secret, now)
    }

    /// Ends a login with a code: one of the second factor, or one that sets it up. Then a session begins. `remembers`: the
    /// browser need not show a code for some time, if there was a second factor before.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn pass_code(
        &mut self,
        login: &SecretString,
        code: &str,
        (browser, remembers): (&str, bool),
        now: i64,
    ) -> Result<SecondStep, AccountsError> {
        let session = SecretString::from(random::text()?);
        let recorder = self.recorder.clone();
        let passed = self.change(|transaction, seal| {
            let Some(BegunLogin { user, has_factor }) = found(transaction, login, now)? else {
                return Ok(Err(SecondStep::Over));
            };
            let codes = match has_factor {
                true => match authenticators::judge(transaction, seal, &user.id, code, now)? {
                    CodeVerdict::Right => Some(Vec::new()),
                    CodeVerdict::Wrong => None,
                    CodeVerdict::Paused(seconds) => return Ok(Err(SecondStep::Paused(seconds))),
                },
                false => authenticators::confirm(transaction, seal, &recorder, &user, (login, code), now)?,
            };
            let Some(codes) = codes else { return Ok(Err(SecondStep::Wrong)) };
            transaction.execute("DELETE FROM begun_logins WHERE digest = ?1", [digest_of(login)])?;
            let start = SessionStart::here(LoginMethod::PasswordAndCode, browser);
            sessions::insert(transaction, &recorder, &user, (&session, &start), now)?;
            let remembers = remembers && has_factor;
            let remembered = remembers.then(|| remember(transaction, &user.id, now)).transpose()?;
            Ok::<_, AccountsError>(Ok((codes, remembered)))
        })?;
        Ok(match passed {
            Ok((codes, remembered)) => SecondStep::Done { session, codes, remembered },
            Err(step) => step,
        })
    }
}

fn begin(
    transaction: &Transaction<'_>,
    user: &str,
    secret: &SecretString,
    now: i64,
) -> Result<(), AccountsError> {
    transaction.execute("DELETE FROM begun_logins WHERE created < ?1", [now - PATIENCE_MS])?;
    transaction.execute(
        "DELETE FROM begun_logins WHERE user = ?1 AND digest NOT IN
         (SELECT digest FROM begun_logins WHERE user = ?1 ORDER BY created DESC LIMIT ?2)",
        (user, MOST_OF_ONE - 1),
    )?;
    let values = (digest_of(secret), user, now);
    transaction.execute("INSERT INTO begun_logins (digest, user, created) VALUES (?1, ?2, ?3)", values)?;
    Ok(())
}

fn found(
    connection: &Connection,
    secret: &SecretString,
    now: i64,
) -> Result<Option<BegunLogin>, AccountsError> {
    let query = "SELECT user FROM begun_logins WHERE digest = ?1 AND created > ?2";
    let values = (digest_of(secret), now - PATIENCE_MS);
    let user: Option<String> = connection.query_row(query, values, |row| row.get(0)).optional()?;
    let Some(user) = user else { return Ok(None) };
    let has_factor = authenticators::exists(connection, &user)?;
    if !has_factor && passkeys::exist(connection, &user)? {
        // The user has added a passkey since.
        return Ok(None);
    }
    let user = by_id(connection, &user)?.filter(|user| user.disabled.is_none());
    Ok(user.map(|user| BegunLogin { user, has_factor }))
}
