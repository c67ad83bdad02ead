//! The encryption of stored values: AES-256-GCM, with the place of each value as additional data, so that a value is of
//! no use in another place.

use std::io;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use witgate_base::whole_file;

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(****)")
    }
}

/// Bytes of a key.
const KEY_LENGTH: usize = 32;

/// The key that seals the values of one store.
pub(crate) struct SealingKey(RandomizedNonceKey);

/// The error if a value cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
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

impl SealingKey {
    /// The key in the file at `path`, which is made if it does not exist. Only its owner may read it.
    pub(crate) fn at(path: &Path) -> Result<Self, SealError> {
        let failed = |why: String| SealError::Key { path: path.display().to_string(), why };
        let text = match whole_file::read(path).map_err(|error| failed(error.to_string()))? {
            Some(text) => Zeroizing::new(text),
            None => made(path).map_err(failed)?,
        };
        is_private(path).map_err(|error| failed(error.to_string()))?;
        let bytes = STANDARD_NO_PAD.decode(text.trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| failed("it is not in base64".to_owned()))?;
        Self::of(&bytes).ok_or_else(|| failed(format!("it does not have {KEY_LENGTH} bytes")))
    }

    /// The key with these bytes. None: there are too few or too many.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes).ok().map(Self)
    }

    /// Seals the value of `place`.
    pub(crate) fn seal(&self, place: &[&str], value: &str) -> Result<String, SealError> {
        let mut buffer = Zeroizing::new(value.as_bytes().to_vec());
        let aad = Aad::from(place_bytes(place));
        let nonce = self.0.seal_in_place_append_tag(aad, &mut *buffer).map_err(|_| SealError::NotSealed)?;
        Ok(STANDARD_NO_PAD.encode([nonce.as_ref(), buffer.as_slice()].concat()))
    }

    /// Opens the sealed value of `place`.
    pub(crate) fn open(&self, place: &[&str], sealed: &str) -> Result<Zeroizing<String>, SealError> {
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| SealError::Damaged)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut buffer = Zeroizing::new(rest.to_vec());
        let aad = Aad::from(place_bytes(place));
        let opened = self.0.open_in_place(nonce, aad, &mut buffer).map_err(|_| SealError::Damaged)?;
        let text = std::str::from_utf8(opened).map_err(|_| SealError::Damaged)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// The bytes of a place. Each part has its length before it, so that no two places have the same bytes.
fn place_bytes(place: &[&str]) -> Vec<u8> {
    let mut bytes = b"witgate credential 1".to_vec();
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
        SealingKey::of(&[byte; KEY_LENGTH]).unwrap()
    }

    #[test]
    fn a_key_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.key");
        let sealed = SealingKey::at(&path).unwrap().seal(&["a"], "value").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*SealingKey::at(&path).unwrap().open(&["a"], &sealed).unwrap(), "value");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SealingKey::at(&path), Err(SealError::Key { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(SealingKey::at(&path), Err(SealError::Key { .. })));
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
