//! The format of age, version 1 (age-encryption.org/v1), with recipients of X25519. The primitives are those of aws-lc-rs.
//!
//! The header of a file contains the file key, encrypted for each recipient, and a MAC under that key. The payload is
//! encrypted in chunks under another key, which follows from the file key.

mod armor;
mod error;
mod file_key;
mod header;
mod key;
mod payload;

use std::borrow::Cow;

use aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

pub(super) use self::error::AgeError;
use self::file_key::FileKey;
use self::header::AgeHeader;
pub(super) use self::header::MOST_RECIPIENTS;
pub(super) use self::key::{AgeIdentity, AgeRecipient};

/// The beginning of a file that is not armored.
const MAGIC: &[u8] = b"age-encryption.org/";

/// Encrypts `text` for these recipients, as text in ASCII.
///
/// # Errors
/// If there is no randomness, or a recipient is a point of low order.
pub(super) fn encrypt(text: &[u8], recipients: &[AgeRecipient]) -> Result<String, Unspecified> {
    let mut key = FileKey::default();
    aws_lc_rs::rand::fill(key.as_mut_slice())?;
    let mut file = header::write(&key, recipients)?;
    payload::encrypt(&key, text, &mut file)?;
    Ok(armor::encode(&file))
}

/// Decrypts a file, armored or not, with the first of these identities that can.
///
/// # Errors
/// If none can, or the file was changed.
pub(super) fn decrypt(file: &[u8], identities: &[AgeIdentity]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let file = match file.starts_with(MAGIC) {
        true => Cow::Borrowed(file),
        false => Cow::Owned(armor::decode(file)?),
    };
    open(&file, identities)
}

/// Decrypts a file that is not armored.
fn open(file: &[u8], identities: &[AgeIdentity]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let (header, payload) = AgeHeader::read(file)?;
    let key = header.file_key(identities)?;
    header.verify(&key)?;
    payload::decrypt(&key, payload)
}

#[cfg(test)]
mod tests;
