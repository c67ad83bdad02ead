//! Browsers in which a user has shown a code, and need not show another for some time. The database has only digests of
//! their secrets. They are forgotten with the authenticator app, with a new password, and when a browser is logged out
//! from elsewhere.

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use secrecy::{ExposeSecret as _, SecretString};
use witgate_base::digest::sha256;

use crate::error::AccountsError;
use crate::random;

/// The most browsers of one user. A further one takes the place of the oldest.
const MOST_OF_ONE: i64 = 10;

/// Remembers a browser of a user from now on. Returns its secret.
pub(super) fn remember(
    transaction: &Transaction<'_>,
    user: &str,
    now: i64,
) -> Result<SecretString, AccountsError> {
    let secret = SecretString::from(random::text()?);
    transaction.execute(
        "DELETE FROM remembered_browsers WHERE user = ?1 AND digest NOT IN
         (SELECT digest FROM remembered_browsers WHERE user = ?1 ORDER BY created DESC LIMIT ?2)",
        (user, MOST_OF_ONE - 1),
    )?;
    let values = (digest_of(&secret), user, now);
    let insert = "INSERT INTO remembered_browsers (digest, user, created) VALUES (?1, ?2, ?3)";
    transaction.execute(insert, values)?;
    Ok(secret)
}

/// True if the user has shown a code in the browser with this secret, in the last `longest` milliseconds.
pub(super) fn is_remembered(
    connection: &Connection,
    user: &str,
    secret: &SecretString,
    (longest, now): (i64, i64),
) -> Result<bool, AccountsError> {
    // One of the future is from before the clock was set; nobody knows its age.
    let query = "SELECT 1 FROM remembered_browsers
                 WHERE digest = ?1 AND user = ?2 AND created > ?3 AND created <= ?4";
    let values = (digest_of(secret), user, now - longest, now);
    Ok(connection.query_row(query, values, |_| Ok(())).optional()?.is_some())
}

fn digest_of(secret: &SecretString) -> [u8; 32] {
    sha256(secret.expose_secret().as_bytes())
}

/// Forgets all browsers of a user.
pub(super) fn forget_all(transaction: &Transaction<'_>, user: &str) -> Result<(), AccountsError> {
    transaction.execute("DELETE FROM remembered_browsers WHERE user = ?1", [user])?;
    Ok(())
}
