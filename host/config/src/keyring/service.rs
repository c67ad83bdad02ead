//! The questions to the keyring.

use std::io;
use std::time::Instant;

use zeroize::Zeroizing;

use super::bus::{Bus, BusError, MethodCall};
use super::message::{BodyReader, BodyWriter, MalformedMessage};
use crate::secret_text::in_file;
use witgate_base::cause::Cause;

const KEYRING: &str = "org.freedesktop.secrets";
const KEYRING_PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const ITEM: &str = "org.freedesktop.Secret.Item";

/// The reason why an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// There is no such entry.
    #[error("secret-missing: there is no such entry")]
    Missing,
    /// There are several such entries.
    #[error("secret-missing: there are {0} such entries, and none is preferred")]
    Ambiguous(usize),
    /// The keyring is locked.
    #[error("secret-locked: the keyring is locked; unlock it, or log in with a password")]
    Locked,
    /// The entry is not a text.
    #[error("secret-damaged: it is empty, or not text in UTF-8")]
    Text,
    /// Nothing answered in time.
    #[error("secret-unavailable: the keyring gave no answer in time")]
    Late,
    /// The session bus fails.
    #[error("secret-unavailable: the session bus cannot be used: {0}")]
    Bus(io::Error),
    /// There is no keyring, or it refuses.
    #[error("secret-unavailable: the keyring refuses: {0}")]
    Refused(String),
    /// The answer is not understood.
    #[error("secret-unavailable: the answer of the keyring is not understood")]
    Malformed,
}

impl KeyringError {
    /// The cause. A locked keyring may be unlocked, and a session may begin.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Ambiguous(_) | Self::Text | Self::Malformed => Cause::Content,
            _ => Cause::Machine,
        }
    }
}

impl From<MalformedMessage> for KeyringError {
    fn from(_: MalformedMessage) -> Self {
        Self::Malformed
    }
}

impl From<BusError> for KeyringError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Io(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Self::Late
            }
            BusError::Io(error) => Self::Bus(error),
            BusError::Refused(name) if name == "org.freedesktop.Secret.Error.IsLocked" => Self::Locked,
            BusError::Refused(name) => Self::Refused(name),
            BusError::Malformed => Self::Malformed,
        }
    }
}

/// The secret of the entry with this service and account.
pub(super) fn entry(
    addresses: &str,
    (service, account): (&str, &str),
    deadline: Instant,
) -> Result<Zeroizing<String>, KeyringError> {
    let mut bus = Bus::connect(addresses, deadline)?;
    let item = find(&mut bus, &[("service", service), ("username", account)])?;
    let session = open_session(&mut bus)?;
    value(&mut bus, &item, &session)
}

/// The path of the one unlocked item with these attributes.
fn find(bus: &mut Bus, attributes: &[(&str, &str)]) -> Result<String, KeyringError> {
    let mut body = BodyWriter::default();
    body.dictionary(attributes);
    let answer = bus.call(&of_service("SearchItems", "a{ss}", body))?;
    let mut answer = BodyReader::new(&answer);
    let (unlocked, locked) = (answer.texts()?, answer.texts()?);
    match (unlocked.as_slice(), locked.as_slice()) {
        ([item], _) => Ok((*item).to_owned()),
        ([], []) => Err(KeyringError::Missing),
        ([], _) => Err(KeyringError::Locked),
        (several, _) => Err(KeyringError::Ambiguous(several.len())),
    }
}

/// The path of a session. Its secrets are not encrypted again on the bus, which is a socket of the same user.
fn open_session(bus: &mut Bus) -> Result<String, KeyringError> {
    let mut body = BodyWriter::default();
    body.text("plain");
    body.signature("s");
    body.text("");
    let answer = bus.call(&of_service("OpenSession", "sv", body))?;
    let mut answer = BodyReader::new(&answer);
    if answer.signature()? != "s" {
        return Err(KeyringError::Malformed);
    }
    answer.text()?;
    Ok(answer.text()?.to_owned())
}

fn value(bus: &mut Bus, item: &str, session: &str) -> Result<Zeroizing<String>, KeyringError> {
    let mut body = BodyWriter::default();
    body.text(session);
    let (path, interface, member) = (item, ITEM, "GetSecret");
    let answer =
        bus.call(&MethodCall { destination: KEYRING, path, interface, member, signature: "o", body })?;
    let mut answer = BodyReader::new(&answer);
    answer.structure()?;
    answer.text()?;
    answer.bytes()?;
    let value = std::str::from_utf8(answer.bytes()?).map_err(|_| KeyringError::Text)?;
    match in_file(value) {
        "" => Err(KeyringError::Text),
        value => Ok(Zeroizing::new(value.to_owned())),
    }
}

fn of_service(member: &'static str, signature: &'static str, body: BodyWriter) -> MethodCall<'static> {
    MethodCall { destination: KEYRING, path: KEYRING_PATH, interface: SERVICE, member, signature, body }
}
