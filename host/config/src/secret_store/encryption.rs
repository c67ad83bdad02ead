//! Encrypts a store for its recipients, and decrypts it.

use std::collections::BTreeSet;
use std::path::Path;

use zeroize::Zeroizing;

use super::age::{self, AgeError, AgeIdentity, AgeRecipient};
use super::error::SecretStoreError;

/// True for the text of a recipient.
pub(super) fn is_recipient(text: &str) -> bool {
    AgeRecipient::parse(text).is_some()
}

/// Encrypts `text` for these recipients, as text in ASCII.
pub(super) fn encrypt(text: &str, recipients: &BTreeSet<String>) -> Result<String, SecretStoreError> {
    let recipients: Vec<_> = recipients.iter().filter_map(|text| AgeRecipient::parse(text)).collect();
    age::encrypt(text.as_bytes(), &recipients)
        .map_err(|_| SecretStoreError::Refused("the store cannot be encrypted".to_owned()))
}

/// Decrypts the store at `path`, in ASCII or in bytes.
pub(super) fn decrypt(
    encrypted: &[u8],
    identities: &[AgeIdentity],
    path: &Path,
) -> Result<Zeroizing<String>, SecretStoreError> {
    let shown = path.display();
    let text = age::decrypt(encrypted, identities).map_err(|error| match error {
        AgeError::NoMatch => SecretStoreError::locked(format!("`{shown}` {error}")),
        _ => SecretStoreError::Damaged(format!("`{shown}` {error}")),
    })?;
    std::str::from_utf8(&text)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| SecretStoreError::Damaged(format!("the content of `{shown}` is not text in UTF-8")))
}
