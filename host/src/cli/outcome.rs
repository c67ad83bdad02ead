//! The end of a command: its exit code, and the reason if it could not run.

use crate::access::question::QuestionError;
use witgate_accounts::error::AccountsError;
use witgate_config::diagnostic::Diagnostic;
use witgate_config::key_store::KeyStoreError;
use witgate_config::secret_store::SecretStoreError;
use witgate_config::user_store::UserStoreError;

/// The outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did its work.
    Done,
    /// The answer is no.
    No,
    /// The end of the audit log is missing.
    Truncated,
    /// A witness has cosigned nothing of the audit log.
    Uncosigned,
    /// The command could not run.
    CouldNotRun,
    /// A file that the command was given is faulty.
    BadData,
    /// The change is written but not in force in the running Witgate.
    NotInForce,
    /// The configuration is faulty.
    BadConfig,
    /// The exit code of the compiler, for the Witgate that started it.
    Compiled(u8),
}

impl Exit {
    /// The code for the shell. From 64 on the codes are those of `sysexits.h`.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Truncated => 3,
            Self::Uncosigned => 4,
            Self::BadData => 65,
            Self::CouldNotRun => 69,
            Self::NotInForce => 75,
            Self::BadConfig => 78,
            Self::Compiled(code) => code,
        }
    }
}

/// The reason why a command could not run.
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    /// The command could not run; the text gives the reason, and what to do next.
    #[error("{0}")]
    CouldNotRun(String),
    /// The change is made, but not in force; the text gives the reason, and what to do next.
    #[error("{0}")]
    NotInForce(String),
    /// A file that the command was given is faulty: the kind of file, and the faults with their places.
    #[error("{0}")]
    Data(String, Vec<Diagnostic>),
    /// The configuration is faulty.
    #[error("the configuration cannot be used")]
    Config(Vec<Diagnostic>),
}

impl CommandFailure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::CouldNotRun(message.into())
    }
}

impl From<QuestionError> for CommandFailure {
    fn from(error: QuestionError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<SecretStoreError> for CommandFailure {
    fn from(error: SecretStoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<KeyStoreError> for CommandFailure {
    fn from(error: KeyStoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<AccountsError> for CommandFailure {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::NotInForce(_) => Self::NotInForce(error.to_string()),
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<UserStoreError> for CommandFailure {
    fn from(error: UserStoreError) -> Self {
        Self::new(error.to_string())
    }
}
