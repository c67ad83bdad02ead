//! The identity that decrypts a store: a secret key of age.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::age::AgeIdentity;
use super::error::SecretStoreError;
use crate::keyring::{KeyringEntry, KeyringError};
use witgate_base::cause::Cause;
use witgate_base::whole_file;

/// Size limit of a file with identities, in bytes.
const LARGEST: u64 = 64 << 10;

/// The place of an identity.
#[derive(Clone, Debug)]
pub enum IdentityPlace {
    /// A file that only its owner may read, as `age-keygen` and `witgate secret set` write it.
    File(PathBuf),
    /// A file that somebody else protects, such as a credential of systemd.
    Protected(PathBuf),
    /// An entry of the keyring of the desktop.
    Keyring(KeyringEntry),
    /// No place, and the reason.
    Nowhere(String),
}

impl IdentityPlace {
    /// The file. None: there is none.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::Protected(path) => Some(path),
            Self::Keyring(_) | Self::Nowhere(_) => None,
        }
    }

    /// The identities of the place.
    pub(super) fn read(&self) -> Result<Vec<AgeIdentity>, SecretStoreError> {
        let (text, shown) = match self {
            Self::File(path) => (file(path, true)?, format!("`{}`", path.display())),
            Self::Protected(path) => (file(path, false)?, format!("`{}`", path.display())),
            Self::Keyring(entry) => {
                (entry.read().map_err(|error| unopened(entry, &error))?, entry.to_string())
            }
            Self::Nowhere(why) => return Err(SecretStoreError::locked(why)),
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities: Option<Vec<AgeIdentity>> = lines.map(AgeIdentity::parse).collect();
        identities.filter(|identities| !identities.is_empty()).ok_or_else(|| {
            SecretStoreError::locked(format!(
                "{shown} has no identity of age: a line that begins with `AGE-SECRET-KEY-1`"
            ))
        })
    }

    /// Makes a new identity, unless there is one.
    pub(super) fn make(&self) -> Result<(), SecretStoreError> {
        let Self::File(path) = self else { return self.read().map(drop) };
        let failed = |error: io::Error| SecretStoreError::Locked {
            message: format!("the identity `{}` cannot be made: {error}", path.display()),
            cause: Cause::of(&error),
        };
        whole_file::create_folder_of(path).map_err(failed)?;
        let text = new_identity()?;
        let write = |file: &mut File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        whole_file::create(path, write).map(drop).map_err(failed)
    }
}

/// The text of a new identity, as `age-keygen` writes it.
fn new_identity() -> Result<Zeroizing<String>, SecretStoreError> {
    let failed = || SecretStoreError::locked("no identity can be made: the system gives no random bytes");
    let secret = AgeIdentity::generate().map_err(|_| failed())?;
    let identity = AgeIdentity::parse(&secret).ok_or_else(failed)?;
    Ok(Zeroizing::new(format!(
        "# The identity that decrypts the secrets of Witgate. Keep a copy in a safe place.\n\
         # public key: {}\n{}\n",
        identity.recipient(),
        *secret
    )))
}

/// The text of the file with an identity. Nobody but its owner may read it if it is `private`.
fn file(path: &Path, private: bool) -> Result<Zeroizing<String>, SecretStoreError> {
    let shown = path.display();
    let unreadable = |error: io::Error| SecretStoreError::Locked {
        message: match error.kind() {
            io::ErrorKind::NotFound => format!("there is no identity `{shown}`, which decrypts the store"),
            _ => format!("the identity `{shown}` cannot be read: {error}"),
        },
        cause: Cause::of(&error),
    };
    let metadata = path.metadata().map_err(unreadable)?;
    if private && metadata.mode() & 0o077 != 0 {
        let message = format!("other users may read the identity `{shown}`: run `chmod 600 {shown}`");
        return Err(SecretStoreError::locked(message));
    }
    if !metadata.is_file() {
        return Err(SecretStoreError::locked(format!("the identity `{shown}` is not a file")));
    }
    if metadata.len() > LARGEST {
        return Err(SecretStoreError::locked(format!(
            "the identity `{shown}` has more than {LARGEST} bytes"
        )));
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(unreadable)
}

/// A keyring that is locked or does not answer.
fn unopened(entry: &KeyringEntry, error: &KeyringError) -> SecretStoreError {
    let message = match error {
        KeyringError::Missing => format!(
            "there is no identity in {entry}; make one: `age-keygen | secret-tool store --label=Witgate service \
             {:?} username {:?}`",
            entry.service(),
            entry.account()
        ),
        error => format!("the identity in {entry} cannot be read: {error}"),
    };
    SecretStoreError::Locked { message, cause: error.cause() }
}
