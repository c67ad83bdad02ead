//! The keys that sign tokens: one that signs, and former ones until their last token has expired.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Transaction};
use secrecy::{ExposeSecret as _, SecretString};

use super::derived::TOKENS_END_MS;
use super::{AccountDatabase, now_ms};
use crate::error::AccountsError;
use witgate_base::seal::SealingKey;
use witgate_base::signing::{PublicKey, Signer, new_private_key};

impl AccountDatabase {
    /// Makes a signing key if there is none.
    pub(super) fn make_signing_key(&mut self) -> Result<(), AccountsError> {
        self.change(|transaction, seal| {
            let found: Option<String> = transaction
                .query_row("SELECT id FROM signing_keys WHERE retired IS NULL", [], |row| row.get(0))
                .optional()?;
            match found {
                Some(_) => Ok(()),
                None => add(transaction, seal),
            }
        })
    }

    /// Replaces the signing key. The former one is published until its last token has expired.
    ///
    /// # Errors
    /// If the database or the published keys cannot be written.
    pub fn rotate_signing_key(&mut self) -> Result<(), AccountsError> {
        self.change(|transaction, seal| {
            transaction.execute("UPDATE signing_keys SET retired = ?1 WHERE retired IS NULL", [now_ms()])?;
            add(transaction, seal)
        })?;
        self.publish()
    }

    /// The key that signs now.
    pub(super) fn signer(&mut self) -> Result<Arc<Signer>, AccountsError> {
        let query = "SELECT id, sealed FROM signing_keys WHERE retired IS NULL";
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
    let query =
        "SELECT id, sealed FROM signing_keys WHERE retired IS NULL OR retired > ?1 ORDER BY created DESC";
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_map([now - TOKENS_END_MS], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
    rows.iter().map(|(id, sealed)| Ok(opened(seal, id, sealed)?.public().clone())).collect()
}

fn add(transaction: &Transaction<'_>, seal: &SealingKey) -> Result<(), AccountsError> {
    let pem = new_private_key().ok_or(AccountsError::Randomness)?;
    let signer = signer_of(&pem)?;
    let id = signer.public().id();
    let sealed = seal.seal(&place(id), pem.expose_secret())?;
    transaction.execute(
        "INSERT INTO signing_keys (id, sealed, created) VALUES (?1, ?2, ?3)",
        (id, sealed, now_ms()),
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
