//! The supplier of a secret: a program, or an entry of the keyring.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use super::program::SecretProgram;
use crate::keyring::KeyringEntry;

/// A supplier of a secret. Two with equal parts give the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SecretSupplier {
    /// A program that prints it.
    Program(SecretProgram),
    /// An entry of the keyring, with the lifetime of what is read.
    Keyring(KeyringEntry, Duration),
}

impl fmt::Display for SecretSupplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(program) => write!(f, "the program `{}`", program.name()),
            Self::Keyring(entry, _) => entry.fmt(f),
        }
    }
}

impl SecretSupplier {
    /// The lifetime of what it gives.
    pub(super) fn ttl(&self) -> Duration {
        match self {
            Self::Program(program) => program.ttl(),
            Self::Keyring(_, ttl) => *ttl,
        }
    }

    /// The secret.
    ///
    /// # Errors
    /// With the reason, which contains no part of the secret.
    pub(super) fn ask(&self) -> Result<SecretString, String> {
        match self {
            Self::Program(program) => program.run(),
            Self::Keyring(entry, _) => match entry.read() {
                Ok(secret) => Ok(secret.as_str().into()),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// The message for the reason of a failure.
    pub(super) fn failure(&self, reason: &str) -> String {
        match self {
            Self::Program(_) => format!("secret-unavailable: {self} printed no secret: {reason}"),
            // The reason begins with its code.
            Self::Keyring(entry, _) => match reason.split_once(": ") {
                Some((code, reason)) => format!("{code}: {entry}: {reason}"),
                None => format!("secret-unavailable: {entry}: {reason}"),
            },
        }
    }

    /// The advice after a failure.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Program(_) => {
                "run the command yourself, as the user who starts Witgate and with the variables of `exec_env` only"
                    .to_owned()
            }
            Self::Keyring(entry, _) => format!(
                "try `secret-tool lookup service {:?} username {:?}`, as the user and in the session of Witgate",
                entry.service(),
                entry.account()
            ),
        }
    }
}
