//! The files beside the database, from which policies judge tokens and keys: the public keys, the logins that have ended,
//! and the keys of users. Each is made from the database alone, so that a lost one can be made again.

use std::path::Path;

use super::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use crate::random::hex;
use witgate_base::signing::key_set;
use witgate_base::whole_file::{self, Lock};
use witgate_jwt::revocation::RevokedSession;

/// The longest time for which a token may be accepted, in milliseconds: its longest lifetime, a day, and the greatest
/// tolerance for clocks, an hour.
pub(super) const TOKENS_END_MS: i64 = 25 * 3_600_000;

const HEADING: &str = "# Logins that have ended. Written by Witgate from its accounts; changes are lost.\n";

impl AccountDatabase {
    /// Writes the files if they differ from the database.
    ///
    /// # Errors
    /// If the database cannot be read, or a file cannot be written. The next attempt is [`Self::catch_up`].
    pub fn publish(&mut self) -> Result<(), AccountsError> {
        self.is_behind = true;
        let keys = self.place.key_set();
        written(&keys, || {
            let keys = self.public_keys()?;
            let set = key_set(&keys).and_then(|set| String::from_utf8(set).ok());
            set.ok_or_else(|| AccountsError::Unavailable("there is no signing key".to_owned()))
        })?;
        written(&self.place.ended(), || self.ended_lines())?;
        written(&self.place.own_keys(), || self.key_lines())?;
        self.is_behind = false;
        Ok(())
    }

    /// Writes the files if the last attempt has failed.
    pub(crate) fn catch_up(&mut self) {
        if self.is_behind
            && let Err(error) = self.publish()
        {
            tracing::error!(code = error.code(), "logins that have ended may still be accepted: {error}");
        }
    }

    /// The lines of the logins that have ended and whose tokens may not have expired.
    fn ended_lines(&self) -> Result<String, AccountsError> {
        let query = "SELECT id, ended FROM grants WHERE ended IS NOT NULL AND ended > ?1 ORDER BY ended, id";
        let mut statement = self.connection.prepare_cached(query)?;
        let rows = statement.query_map([now_ms() - TOKENS_END_MS], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        let mut text = HEADING.to_owned();
        for row in rows {
            let (id, ended) = row?;
            let exp = u64::try_from((ended + TOKENS_END_MS) / 1_000).ok();
            let line = RevokedSession { sid: hex(&id), iss: None, exp };
            text.push_str(&line.to_string());
            text.push('\n');
        }
        Ok(text)
    }
}

/// Writes the text that `make` makes under the lock of the file, so that the last writer has read the last state.
fn written(path: &Path, make: impl FnOnce() -> Result<String, AccountsError>) -> Result<(), AccountsError> {
    let lock = Lock::take(path)?;
    let text = make()?;
    if whole_file::read(path)?.as_deref() != Some(&*text) {
        lock.replace(&text)?;
    }
    Ok(())
}
