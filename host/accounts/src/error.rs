//! The errors of the store of accounts.

use std::path::PathBuf;

use witgate_base::seal::SealError;
use witgate_base::whole_file::FileError;

/// The error if the store of accounts cannot be used. Nobody is let in because of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// The file does not exist.
    #[error(
        "there are no accounts at {}; make them with the first user: `witgate user add NAME --accounts --role ROLE`", .0.display()
    )]
    Missing(PathBuf),
    /// The file is not a database of accounts, or is damaged. It is never overwritten.
    #[error("{} is damaged: {why}; nothing was written. Restore a backup (docs/accounts.md)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A later version of Witgate has written the file.
    #[error("{} has the version {version} of a newer Witgate; nothing was written", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version.
        version: i64,
    },
    /// Others may read the file.
    #[error("others may read {}; `chmod 600` it", .0.display())]
    Open(PathBuf),
    /// The file or its directory cannot be used.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: std::io::Error,
    },
    /// The files beside the database are of another one.
    #[error(
        "{} is not the database to which the files in {} belong; nothing was written. Give each database a `server.state` of its own, or restore the whole backup (docs/accounts.md)", path.display(), folder.display()
    )]
    Foreign {
        /// The database.
        path: PathBuf,
        /// The files.
        folder: PathBuf,
    },
    /// A file beside the database cannot be written. The change is in the database, and a running Witgate tries again.
    #[error(
        "the change is made, but NOT IN FORCE: {0}. A running Witgate tries again each second; without one, use `witgate accounts repair`"
    )]
    NotInForce(#[from] FileError),
    /// A user has got too many logins in a short time.
    #[error("there are too many new logins of this user; try again in a minute")]
    TooMany,
    /// Another process holds the lock, or too many requests wait.
    #[error("the accounts are busy")]
    Busy,
    /// The disk is full, or fails.
    #[error("the accounts cannot be used: {0}")]
    Unavailable(String),
    /// A sealed value, or its key, cannot be used.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// The name is already used.
    #[error("there is a user `{0}` already; change the password with `witgate user passwd {0} --accounts`")]
    Taken(String),
    /// There is no such user.
    #[error("there is no user `{0}`")]
    UnknownUser(String),
    /// The properties of a user are invalid.
    #[error("invalid user: {0}")]
    Invalid(String),
    /// There is a file already where a backup should be.
    #[error("{} exists already; name another file", .0.display())]
    Exists(PathBuf),
}

impl AccountsError {
    /// The code of the error, for the log.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Io { .. } | Self::Unavailable(_) | Self::Open(_) => "store-unavailable",
            Self::Damaged { .. } | Self::Seal(_) => "store-damaged",
            Self::Newer { .. } => "store-newer",
            Self::Foreign { .. } => "store-foreign",
            Self::NotInForce(_) => "not-in-force",
            Self::Busy => "store-busy",
            Self::TooMany => "too-many-logins",
            Self::Randomness => "no-randomness",
            Self::Taken(_) | Self::UnknownUser(_) | Self::Invalid(_) | Self::Exists(_) => "refused",
        }
    }
}

impl From<rusqlite::Error> for AccountsError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}
