//! The encryption of stored values: AES-256-GCM, with the place of each value as additional data, so that a value is of
//! no use in another place.

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::whole_file;

/// Bytes of a key.
const KEY_LENGTH: usize = 32;

/// The fewest bytes of a shortened code.
const SHORTEST_CODE: usize = 16;

/// The key that seals the values of one store.
pub struct SealingKey {
    key: RandomizedNonceKey,
    /// The source of derived keys.
    derivation: hmac::Key,
    purpose: &'static str,
}

/// A key for message authentication codes (HMAC-SHA-256), derived from a [`SealingKey`].
pub struct MacKey(hmac::Key);

/// A message authentication code.
pub type Mac = [u8; 32];

/// The error if a value cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file of the key cannot be read or made.
    #[error("the key in `{path}` cannot be used: {why}")]
    Key {
        /// The file.
        path: String,
        /// The reason.
        why: String,
    },
    /// A value was changed, moved, or sealed with another key.
    #[error("a value was changed, or sealed with another key")]
    Damaged,
    /// There is no memory or no random number.
    #[error("a value cannot be sealed")]
    NotSealed,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(****)")
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(****)")
    }
}

impl SealingKey {
    /// The key in the file at `path`, which is made if it does not exist. Only its owner may read it. Values are of no
    /// use for another `purpose`.
    ///
    /// # Errors
    /// `Key`.
    pub fn at(path: &Path, purpose: &'static str) -> Result<Self, SealError> {
        let failed = |why: String| SealError::Key { path: path.display().to_string(), why };
        match whole_file::read(path).map_err(|error| failed(error.to_string()))? {
            Some(text) => Self::read(path, &Zeroizing::new(text), purpose),
            None => Self::read(path, &made(path).map_err(failed)?, purpose),
        }
    }

    /// The key in the file at `path`, which has to exist.
    ///
    /// # Errors
    /// `Key`.
    pub fn existing(path: &Path, purpose: &'static str) -> Result<Self, SealError> {
        let failed = |why: String| SealError::Key { path: path.display().to_string(), why };
        let text = whole_file::read(path).map_err(|error| failed(error.to_string()))?;
        let text =
            text.ok_or_else(|| failed("there is no such file; restore it from a backup".to_owned()))?;
        Self::read(path, &Zeroizing::new(text), purpose)
    }

    fn read(path: &Path, text: &str, purpose: &'static str) -> Result<Self, SealError> {
        let failed = |why: String| SealError::Key { path: path.display().to_string(), why };
        is_private(path).map_err(|error| failed(error.to_string()))?;
        let bytes = STANDARD_NO_PAD.decode(text.trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| failed("it is not in base64".to_owned()))?;
        Self::of(&bytes, purpose).ok_or_else(|| failed(format!("it does not have {KEY_LENGTH} bytes")))
    }

    /// The key with these bytes. None: their number is wrong.
    pub fn of(bytes: &[u8], purpose: &'static str) -> Option<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes).ok()?;
        Some(Self { key, derivation: hmac::Key::new(hmac::HMAC_SHA256, bytes), purpose })
    }

    /// The key for codes about `label`. Keys of different labels are independent.
    pub fn mac_key(&self, label: &str) -> MacKey {
        let derived = hmac::sign(&self.derivation, &place_bytes("witgate mac 1", &[self.purpose, label]));
        MacKey(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// Seals the value of `place`.
    pub fn seal(&self, place: &[&str], value: &str) -> Result<String, SealError> {
        let mut buffer = Zeroizing::new(value.as_bytes().to_vec());
        let aad = Aad::from(place_bytes(self.purpose, place));
        let nonce = self.key.seal_in_place_append_tag(aad, &mut *buffer).map_err(|_| SealError::NotSealed)?;
        Ok(STANDARD_NO_PAD.encode([nonce.as_ref(), buffer.as_slice()].concat()))
    }

    /// Opens the sealed value of `place`.
    pub fn open(&self, place: &[&str], sealed: &str) -> Result<Zeroizing<String>, SealError> {
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| SealError::Damaged)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut buffer = Zeroizing::new(rest.to_vec());
        let aad = Aad::from(place_bytes(self.purpose, place));
        let opened = self.key.open_in_place(nonce, aad, &mut buffer).map_err(|_| SealError::Damaged)?;
        let text = std::str::from_utf8(opened).map_err(|_| SealError::Damaged)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl MacKey {
    /// A key with these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The code of a message in parts. Messages that are divided in another way have another code.
    pub fn code(&self, parts: &[&[u8]]) -> Mac {
        let mut code = Mac::default();
        for (byte, from) in code.iter_mut().zip(hmac::sign(&self.0, &delimited(parts)).as_ref()) {
            *byte = *from;
        }
        code
    }

    /// True if `code` begins the code of this message, with at least 16 bytes. It takes the same time for all codes.
    pub fn is_code_of(&self, parts: &[&[u8]], code: &[u8]) -> bool {
        let right = self.code(parts);
        let begin = right.get(..code.len()).unwrap_or_default();
        code.len() >= SHORTEST_CODE && verify_slices_are_equal(begin, code).is_ok()
    }
}

/// Parts, each with its length before it.
fn delimited(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(*part);
    }
    bytes
}

/// The bytes of a place. Each part has its length before it, so that no two places have the same bytes.
fn place_bytes(purpose: &str, place: &[&str]) -> Vec<u8> {
    let mut bytes = purpose.as_bytes().to_vec();
    for part in place {
        bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// Makes a key. Under the lock, only one of several processes does.
fn made(path: &Path) -> Result<Zeroizing<String>, String> {
    let lock = whole_file::Lock::take(path).map_err(|error| error.to_string())?;
    if let Some(text) = whole_file::read(path).map_err(|error| error.to_string())? {
        return Ok(Zeroizing::new(text));
    }
    let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
    getrandom::fill(&mut *bytes).map_err(|error| error.to_string())?;
    let text = Zeroizing::new(STANDARD_NO_PAD.encode(*bytes));
    lock.replace(&text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Refuses a key that others can read.
fn is_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match path.metadata()?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(io::Error::other("others may read it; `chmod 600` it, and log in again if they did")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::of(&[byte; KEY_LENGTH], "test 1").unwrap()
    }

    #[test]
    fn a_key_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.key");
        let sealed = SealingKey::at(&path, "test 1").unwrap().seal(&["a"], "value").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*SealingKey::at(&path, "test 1").unwrap().open(&["a"], &sealed).unwrap(), "value");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SealingKey::at(&path, "test 1"), Err(SealError::Key { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(SealingKey::at(&path, "test 1"), Err(SealError::Key { .. })));
    }

    #[test]
    fn a_key_that_has_to_exist_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(SealingKey::existing(&path, "test 1").is_err());
        assert!(!path.exists());
        SealingKey::at(&path, "test 1").unwrap();
        SealingKey::existing(&path, "test 1").unwrap();
    }

    #[test]
    fn codes_depend_on_label_and_division() {
        let code = |byte, label, parts: &[&[u8]]| key(byte).mac_key(label).code(parts);
        let own = code(1, "a", &[b"x", b"y"]);
        assert_eq!(own, code(1, "a", &[b"x", b"y"]));
        for other in [code(2, "a", &[b"x", b"y"]), code(1, "b", &[b"x", b"y"]), code(1, "a", &[b"xy"])] {
            assert_ne!(own, other);
        }
        let mac = key(1).mac_key("a");
        assert!(mac.is_code_of(&[b"x", b"y"], &own) && mac.is_code_of(&[b"x", b"y"], &own[..16]));
        assert!(!mac.is_code_of(&[b"x", b"y"], &own[..15]) && !mac.is_code_of(&[b"x", b"y"], &[]));
        assert!(!mac.is_code_of(&[b"x", b"y"], &[own.as_slice(), b"z"].concat()));
    }

    proptest! {
        #[test]
        fn a_value_opens_only_in_its_place_and_unchanged(
            value in ".{0,100}", place in prop::collection::vec("[a-c]{0,2}", 3),
            other in prop::collection::vec("[a-c]{0,2}", 3), at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let place: Vec<&str> = place.iter().map(String::as_str).collect();
            let other: Vec<&str> = other.iter().map(String::as_str).collect();
            let sealed = key(1).seal(&place, &value).unwrap();
            prop_assert_eq!(&*key(1).open(&place, &sealed).unwrap(), &value);
            prop_assert!(key(2).open(&place, &sealed).is_err());
            prop_assert_eq!(key(1).open(&other, &sealed).is_ok(), place == other);
            let mut bytes = STANDARD_NO_PAD.decode(&sealed).unwrap();
            let place_of_bit = at.index(bytes.len());
            bytes[place_of_bit] ^= 1 << bit;
            prop_assert!(key(1).open(&place, &STANDARD_NO_PAD.encode(&bytes)).is_err());
        }
    }
}
