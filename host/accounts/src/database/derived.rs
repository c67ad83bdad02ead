//! The files beside the database, from which policies judge tokens and keys: the public keys, the logins that have ended,
//! and the keys of users. Each is made from the database alone, so that a lost one can be made again.

use std::path::Path;

use super::published_state::PublishedState;
use super::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use crate::random::hex;
use witgate_base::signing::{PublicKey, key_set};
use witgate_base::whole_file::{self, Lock};
use witgate_jwt::revocation::{RevokedSession, RevokedSubject};

/// The greatest tolerance for clocks with which a policy accepts a token after its end, in milliseconds.
pub(super) const LEEWAY_MS: i64 = 3_600_000;

const HEADING: &str = "# Logins that have ended. Written by Witgate from its accounts; changes are lost.\n";

impl AccountDatabase {
    /// Writes the files if they differ from the database. A file that cannot be written does not keep the other one from
    /// it.
    ///
    /// # Errors
    /// If the database cannot be read, or a file cannot be written. A running Witgate tries again within a second.
    pub fn publish(&mut self) -> Result<(), AccountsError> {
        self.published = None;
        // Read before the content, so that a later change is noticed.
        let state = PublishedState::now(self.data_version()?);
        let ended = self.written(&self.place.ended(), || self.ended_lines());
        let own = self.written(&self.place.own_keys(), || self.key_lines());
        let keys = self.published_key_set();
        ended.and(own).and(keys)?;
        self.published = Some(state);
        Ok(())
    }

    /// Writes the files if another process has changed the database, if the clock was set, if the last attempt has
    /// failed, and each minute.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub(crate) fn keep_up(&mut self) -> Result<(), AccountsError> {
        self.follow()?;
        let version = self.data_version()?;
        match self.published {
            Some(state) if !state.is_over(version) => Ok(()),
            _ => self.publish(),
        }
    }

    /// The number of ended logins that the list names.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) fn listed_endings(&self) -> Result<u64, AccountsError> {
        let query =
            "SELECT (SELECT count(*) FROM grants WHERE ended IS NOT NULL AND counter > 0 AND covered = 0
                     AND token_end > ?1) + (SELECT count(*) FROM user_endings WHERE token_end > ?1)";
        let mut statement = self.connection.prepare_cached(query)?;
        let number: i64 = statement.query_row([now_ms() - LEEWAY_MS], |row| row.get(0))?;
        Ok(number.unsigned_abs())
    }

    fn data_version(&self) -> Result<i64, AccountsError> {
        Ok(self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    fn published_key_set(&self) -> Result<(), AccountsError> {
        let keys = self.public_keys()?;
        self.written(&self.place.key_set(), || {
            // Again, under the lock.
            text_of(&self.public_keys()?)
        })?;
        self.keys.publish(&keys);
        Ok(())
    }

    /// Writes the text that `make` makes under the lock of the file, so that the last writer has read the last state. What
    /// a file has that cannot be read is lost. A process that keeps the lock delays a request no longer than one that keeps
    /// the database.
    fn written(
        &self,
        path: &Path,
        make: impl FnOnce() -> Result<String, AccountsError>,
    ) -> Result<(), AccountsError> {
        let lock = Lock::take_within(path, self.patience)?;
        let text = make()?;
        let is_same = matches!(whole_file::read(path), Ok(Some(now)) if now == text);
        if !is_same {
            lock.replace(&text)?;
        }
        Ok(())
    }

    /// The lines of the logins that have ended and whose tokens may not have expired.
    fn ended_lines(&self) -> Result<String, AccountsError> {
        let (mut text, alive) = (HEADING.to_owned(), now_ms() - LEEWAY_MS);
        let query = "SELECT user, before, token_end FROM user_endings WHERE token_end > ?1 ORDER BY user";
        let mut statement = self.connection.prepare_cached(query)?;
        let rows = statement.query_map([alive], |row| {
            Ok(RevokedSubject {
                sub: row.get(0)?,
                before: seconds(row.get(1)?),
                iss: None,
                exp: Some(seconds(row.get(2)?)),
            })
        })?;
        for line in rows {
            text.push_str(&format!("{}\n", line?));
        }
        // A grant without an access token has nothing to end.
        let query = "SELECT id, token_end FROM grants WHERE ended IS NOT NULL AND counter > 0 AND covered = 0
                     AND token_end > ?1 ORDER BY token_end, id";
        let mut statement = self.connection.prepare_cached(query)?;
        let rows = statement.query_map([alive], |row| {
            let id: Vec<u8> = row.get(0)?;
            Ok(RevokedSession { sid: hex(&id), iss: None, exp: Some(seconds(row.get(1)?)) })
        })?;
        for line in rows {
            text.push_str(&format!("{}\n", line?));
        }
        Ok(text)
    }
}

fn seconds(ms: i64) -> u64 {
    u64::try_from(ms / 1_000).unwrap_or_default()
}

fn text_of(keys: &[PublicKey]) -> Result<String, AccountsError> {
    let set = key_set(keys).and_then(|set| String::from_utf8(set).ok());
    set.ok_or_else(|| AccountsError::Unavailable("there is no signing key".to_owned()))
}
