//! The result of reading a secret.

use std::path::PathBuf;

use secrecy::SecretString;

use crate::secret_programs::SecretLifetime;
use witgate_base::cause::Cause;

/// A secret, and its origin.
#[derive(Debug)]
pub struct Secret {
    /// The secret, which is never empty.
    pub value: SecretString,
    /// The file that it comes from.
    pub file: Option<PathBuf>,
    /// A warning with advice, if other users may read the file.
    pub warning: Option<(String, String)>,
    /// The time until which it may be used. None: there is no limit.
    pub lifetime: Option<SecretLifetime>,
}

impl Secret {
    pub(super) fn from_variable(value: &str) -> Self {
        Self { value: value.into(), file: None, warning: None, lifetime: None }
    }
}

/// The reason why a secret is missing, and the advice.
#[derive(Debug)]
pub struct MissingSecret {
    /// The reason.
    pub message: String,
    /// The advice.
    pub help: String,
    /// The cause.
    pub cause: Cause,
    /// True if nothing is there, so that an optional secret is left out. False: something is there and unusable.
    pub is_absent: bool,
}

impl MissingSecret {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), cause: Cause::Content, is_absent: false }
    }

    pub(super) fn absent(self) -> Self {
        Self { is_absent: true, ..self }
    }
}
