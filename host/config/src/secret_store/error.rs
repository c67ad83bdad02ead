//! The reasons why a store cannot be used.

use std::io;
use std::path::PathBuf;

use witgate_base::cause::Cause;
use witgate_base::whole_file::FileError;

/// The reason why a store cannot be used, or a change is refused.
#[derive(Debug, thiserror::Error)]
pub enum SecretStoreError {
    /// There is no store, or it has no such secret.
    #[error("secret-missing: {0}")]
    Missing(String),
    /// The identity that decrypts the store is missing or is another one.
    #[error("secret-locked: {message}")]
    Locked {
        /// The reason.
        message: String,
        /// The cause.
        cause: Cause,
    },
    /// The store is not what `witgate secret` has written.
    #[error("secret-damaged: {0}")]
    Damaged(String),
    /// The store may be older than the last one that was used here, so that it is not changed.
    #[error("secret-rolled-back: {0}")]
    RolledBack(String),
    /// The store cannot be read.
    #[error("the store {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The store.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The store cannot be replaced.
    #[error(transparent)]
    File(#[from] FileError),
    /// The change is not possible.
    #[error("{0}")]
    Refused(String),
}

impl SecretStoreError {
    /// The cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Unreadable { error, .. } => Cause::of(error),
            Self::Locked { cause, .. } => *cause,
            _ => Cause::Content,
        }
    }

    pub(super) fn locked(message: impl Into<String>) -> Self {
        Self::Locked { message: message.into(), cause: Cause::Content }
    }
}
