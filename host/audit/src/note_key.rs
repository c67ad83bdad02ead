//! Public keys in the form of signed notes (C2SP signed-note): `NAME+ID+KEY`.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hex;

/// The public key of an Ed25519 signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoteKey {
    /// The signature type, which says what is signed.
    kind: u8,
    pub(crate) name: String,
    pub(crate) id: [u8; 4],
    key: [u8; 32],
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[self.kind], self.key.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, hex::text(&self.id))
    }
}

impl NoteKey {
    /// The key of this signature type. None: the name cannot be that of a key.
    pub(crate) fn new(kind: u8, name: String, key: [u8; 32]) -> Option<Self> {
        let is_name = (1..=128).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
        let input = [name.as_bytes(), &[b'\n', kind], &key].concat();
        let id = digest(&SHA256, &input).as_ref().first_chunk().copied()?;
        is_name.then_some(Self { kind, name, id, key })
    }

    /// Reads a key of this signature type.
    pub(crate) fn read(kind: u8, text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let key = STANDARD.decode(key).ok()?;
        let read = Self::new(kind, name.to_owned(), key.strip_prefix(&[kind])?.try_into().ok()?)?;
        (id == hex::text(&read.id)).then_some(read)
    }

    /// True if `signature` is one of `message` by this key.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key).verify(message, signature).is_ok()
    }
}
