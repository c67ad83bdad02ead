//! The keyring of the desktop, by the interface Secret Service
//! (specifications.freedesktop.org/secret-service-spec) over the session bus of D-Bus.
//!
//! An entry is found by its attributes `service` and `username`, as `secret-tool`, Python's `keyring` and others store
//! it. Witgate unlocks nothing, because that would need a window to ask in.

mod bus;
mod message;
mod service;

use std::fmt;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

pub use self::service::KeyringError;
use self::service::entry;

/// Time limit for an answer: the first question may start the keyring.
const ANSWER: Duration = Duration::from_secs(5);

/// An entry of the keyring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyringEntry {
    service: String,
    account: String,
    /// The addresses of the session bus.
    bus: String,
}

impl fmt::Display for KeyringEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the entry `{}/{}` of the keyring", self.service, self.account)
    }
}

impl KeyringEntry {
    /// The entry `SERVICE/ACCOUNT`, on the session bus of these variables. The account has no slash.
    pub(crate) fn new<'v>(
        written: &str,
        variable: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<Self, KeyringPlaceError> {
        let parts = written.rsplit_once('/').filter(|(service, account)| {
            let is_plain = |part: &str| !part.is_empty() && !part.chars().any(char::is_control);
            is_plain(service) && is_plain(account)
        });
        let (service, account) = parts.ok_or(KeyringPlaceError::Name)?;
        let usual = || variable("XDG_RUNTIME_DIR").map(|folder| format!("unix:path={folder}/bus"));
        let bus = variable("DBUS_SESSION_BUS_ADDRESS").map(str::to_owned).or_else(usual);
        let bus = bus.ok_or(KeyringPlaceError::NoBus)?;
        Ok(Self { service: service.to_owned(), account: account.to_owned(), bus })
    }

    /// The service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The account.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The secret, which is not empty.
    ///
    /// # Errors
    /// If there is no such entry, it is locked, or nothing answers in time.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, KeyringError> {
        entry(&self.bus, (&self.service, &self.account), Instant::now() + ANSWER)
    }
}

/// The reason why there is no place for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyringPlaceError {
    /// The text is not `SERVICE/ACCOUNT`.
    #[error("an entry of the keyring is written as `SERVICE/ACCOUNT`")]
    Name,
    /// There is no session.
    #[error("there is no session bus: neither `DBUS_SESSION_BUS_ADDRESS` nor `XDG_RUNTIME_DIR` is set")]
    NoBus,
}

#[cfg(test)]
mod tests;
