//! The keys that sign tokens: one that signs, and former ones until their last token has expired.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use secrecy::{ExposeSecret as _, SecretString};

use super::derived::LEEWAY_MS;
use super::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use crate::event::{AccountAction, AccountEvent};
use witgate_base::seal::SealingKey;
use witgate_base::signing::{PublicKey, Signer, new_private_key};

impl AccountDatabase {
    /// Makes a signing key if there is none.
    pub(super) fn make_signing_key(&mut self) -> Result<(), AccountsError> {
        self.change(|transaction, seal| {
            let query = "SELECT id FROM signing_keys WHERE signs_from IS NOT NULL AND retired IS NULL";
            let found: Option<String> = transaction.query_row(query, [], |row| row.get(0)).optional()?;
            match found {
                Some(_) => Ok(()),
                None => add(transaction, seal, Some(now_ms())),
            }
        })
    }

    /// Makes and publishes the next signing key. It signs only after [`Self::use_next_signing_key`], so that every
    /// policy knows it before its first token. A key that waits already stays, unless it is not trusted.
    ///
    /// # Errors
    /// If the database or the published keys cannot be written.
    pub fn prepare_signing_key(&mut self, distrusts_former: bool) -> Result<(), AccountsError> {
        self.change(|transaction, seal| {
            if distrusts_former {
                transaction.execute("DELETE FROM signing_keys WHERE signs_from IS NULL", [])?;
            }
            let query = "SELECT id FROM signing_keys WHERE signs_from IS NULL";
            let found: Option<String> = transaction.query_row(query, [], |row| row.get(0)).optional()?;
            match found {
                Some(_) => Ok(()),
                None => add(transaction, seal, None),
            }
        })?;
        self.publish()
    }

    /// Signs with the next key from now on. The former one is published until its last token has expired, or no longer
    /// at all if it is not trusted: then its tokens are refused, and clients get others by their refresh tokens.
    ///
    /// # Errors
    /// If there is no next key, or the database or the published keys cannot be written.
    pub fn use_next_signing_key(&mut self, distrusts_former: bool) -> Result<(), AccountsError> {
        let (now, recorder) = (now_ms(), self.recorder.clone());
        self.change(|transaction, _| {
            let last: Option<i64> =
                transaction.query_row("SELECT max(token_end) FROM grants", [], |row| row.get(0))?;
            let until = last.unwrap_or(now).max(now) + LEEWAY_MS;
            let former = "signs_from IS NOT NULL AND retired IS NULL";
            match distrusts_former {
                true => transaction.execute("DELETE FROM signing_keys WHERE signs_from IS NOT NULL", [])?,
                false => transaction
                    .execute(&format!("UPDATE signing_keys SET retired = ?1 WHERE {former}"), [until])?,
            };
            let begun = transaction
                .execute("UPDATE signing_keys SET signs_from = ?1 WHERE signs_from IS NULL", [now])?;
            if begun == 0 {
                return Err(AccountsError::Unavailable("there is no next signing key".to_owned()));
            }
            transaction.execute("DELETE FROM signing_keys WHERE retired < ?1", [now - 30 * 86_400_000])?;
            let event = AccountEvent::now(AccountAction::KeyRotated);
            let reason = distrusts_former.then_some("former-distrusted");
            recorder.record(transaction, reason.into_iter().fold(event, AccountEvent::because))
        })?;
        self.signer = None;
        self.publish()
    }

    /// The key that signs now.
    pub(super) fn signer(&mut self) -> Result<Arc<Signer>, AccountsError> {
        let query = "SELECT id, sealed FROM signing_keys WHERE signs_from IS NOT NULL AND retired IS NULL";
        let found: Option<(String, String)> =
            self.connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (id, sealed) =
            found.ok_or_else(|| AccountsError::Unavailable("there is no signing key".to_owned()))?;
        match &self.signer {
            Some(signer) if signer.public().id() == id => Ok(Arc::clone(signer)),
            _ => {
                let signer = Arc::new(opened(&self.seal, &id, &sealed)?);
                self.signer = Some(Arc::clone(&signer));
                Ok(signer)
            }
        }
    }

    /// The public keys of all tokens that may be valid.
    ///
    /// # Errors
    /// If the database cannot be read, or a key cannot be opened.
    pub fn public_keys(&self) -> Result<Vec<PublicKey>, AccountsError> {
        public_keys(&self.connection, &self.seal, now_ms())
    }
}

fn public_keys(
    connection: &Connection,
    seal: &SealingKey,
    now: i64,
) -> Result<Vec<PublicKey>, AccountsError> {
    let query = "SELECT id, sealed FROM signing_keys WHERE retired IS NULL OR retired > ?1
                 ORDER BY created DESC, rowid DESC";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
    rows.iter().map(|(id, sealed)| Ok(opened(seal, id, sealed)?.public().clone())).collect()
}

fn add(
    transaction: &Transaction<'_>,
    seal: &SealingKey,
    signs_from: Option<i64>,
) -> Result<(), AccountsError> {
    let pem = new_private_key().ok_or(AccountsError::Randomness)?;
    let signer = signer_of(&pem)?;
    let id = signer.public().id();
    let sealed = seal.seal(&place(id), pem.expose_secret())?;
    transaction.execute(
        "INSERT INTO signing_keys (id, sealed, created, signs_from) VALUES (?1, ?2, ?3, ?4)",
        (id, sealed, now_ms(), signs_from),
    )?;
    Ok(())
}

fn opened(seal: &SealingKey, id: &str, sealed: &str) -> Result<Signer, AccountsError> {
    let pem = seal.open(&place(id), sealed)?;
    signer_of(&pem.as_str().into())
}

fn signer_of(pem: &SecretString) -> Result<Signer, AccountsError> {
    // The issuer is a claim of each token, as the settings have it.
    Signer::new(String::new(), pem).map_err(|error| AccountsError::Unavailable(error.to_string()))
}

fn place(id: &str) -> [&str; 3] {
    ["signing_keys", id, "sealed"]
}
