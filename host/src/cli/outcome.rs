//! The end of a command: its exit code, and why it could not run.

use witgate_config::diagnostic::Diagnostic;
use witgate_config::key_store::KeyStoreError;

/// The outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It has done what it was asked to.
    Done,
    /// The answer is no.
    No,
    /// It could not run.
    CouldNotRun,
    /// A file that the command is about is bad.
    BadData,
    /// The change is written but not in force in the running Witgate.
    NotInForce,
    /// The configuration is bad.
    BadConfig,
    /// As the compiler says, to the Witgate that has started it.
    Compiled(u8),
}

impl Exit {
    /// The code for the shell. From 64 on they are those of `sysexits.h`.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
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
    /// The command could not run; the text says why and what to do next.
    #[error("{0}")]
    CouldNotRun(String),
    /// A file that the command is about is bad: the kinds of faults, and their places.
    #[error("{0}")]
    Data(String, Vec<Diagnostic>),
    /// The configuration is bad.
    #[error("the configuration cannot be used")]
    Config(Vec<Diagnostic>),
}

impl CommandFailure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::CouldNotRun(message.into())
    }
}

impl From<KeyStoreError> for CommandFailure {
    fn from(error: KeyStoreError) -> Self {
        Self::new(error.to_string())
    }
}
