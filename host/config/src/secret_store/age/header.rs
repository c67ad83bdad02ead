//! The header: the file key for each recipient, and a MAC.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::error::AgeError;
use super::file_key::{FileKey, derived};
use super::key::{AgeIdentity, AgeRecipient, WRAPPED, WrappedKey};

/// Limit of the recipients of a file. Each costs time before anything tells whether the file was changed.
pub(in crate::secret_store) const MOST_RECIPIENTS: usize = 256;

const VERSION: &[u8] = b"age-encryption.org/v1";

/// The kind of a recipient of X25519, and its purpose of a derived key.
const X25519: &[u8] = b"X25519";

/// The beginning of a recipient.
const RECIPIENT: &[u8] = b"-> ";

/// The beginning of the last line.
const LAST: &[u8] = b"---";

/// The length of all lines of a body but the last one.
const COLUMNS: usize = 64;

/// A header.
pub(super) struct AgeHeader<'f> {
    keys: Vec<WrappedKey>,
    /// The bytes that the MAC covers.
    covered: &'f [u8],
    mac: [u8; 32],
}

/// Writes a header.
pub(super) fn write(key: &FileKey, recipients: &[AgeRecipient]) -> Result<Vec<u8>, Unspecified> {
    let mut header = [VERSION, b"\n"].concat();
    for recipient in recipients {
        let WrappedKey { share, body } = recipient.wrap(key)?;
        let (share, body) = (STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(body));
        for part in [RECIPIENT, X25519, b" ", share.as_bytes(), b"\n", body.as_bytes(), b"\n"] {
            header.extend_from_slice(part);
        }
    }
    header.extend_from_slice(LAST);
    let mac = hmac::sign(&mac_key(key)?, &header);
    for part in [b" ", STANDARD_NO_PAD.encode(mac).as_bytes(), b"\n"] {
        header.extend_from_slice(part);
    }
    Ok(header)
}

fn mac_key(key: &FileKey) -> Result<hmac::Key, Unspecified> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, derived(key.as_slice(), &[], b"header")?.as_slice()))
}

impl<'f> AgeHeader<'f> {
    /// Reads the header of a file. The rest is the payload.
    pub(super) fn read(file: &'f [u8]) -> Result<(Self, &'f [u8]), AgeError> {
        let mut rest = file;
        if line(&mut rest)? != VERSION {
            return Err(AgeError::Header);
        }
        let mut keys = Vec::new();
        loop {
            let begin = file.len() - rest.len();
            let head = line(&mut rest)?;
            if let Some(mac) = head.strip_prefix(LAST) {
                let mac = mac.strip_prefix(b" ").and_then(bytes).ok_or(AgeError::Header)?;
                let covered = file.get(..begin + LAST.len()).ok_or(AgeError::Header)?;
                return Ok((Self { keys, covered, mac }, rest));
            }
            keys.extend(recipient(head, &mut rest)?);
            if keys.len() > MOST_RECIPIENTS {
                return Err(AgeError::Recipients);
            }
        }
    }

    /// The file key, which one of these identities decrypts.
    pub(super) fn file_key(&self, identities: &[AgeIdentity]) -> Result<FileKey, AgeError> {
        for key in &self.keys {
            for identity in identities {
                // A share of low order is no valid header.
                if let Some(key) = identity.unwrap(key).map_err(|Unspecified| AgeError::Header)? {
                    return Ok(key);
                }
            }
        }
        Err(AgeError::NoMatch)
    }

    /// Checks the MAC, so that nobody has added or removed recipients.
    pub(super) fn verify(&self, key: &FileKey) -> Result<(), AgeError> {
        mac_key(key)
            .and_then(|key| hmac::verify(&key, self.covered, &self.mac))
            .map_err(|Unspecified| AgeError::Mac)
    }
}

/// The next line, without its end.
fn line<'f>(rest: &mut &'f [u8]) -> Result<&'f [u8], AgeError> {
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(AgeError::Header)?;
    let (line, after) = rest.split_at_checked(end).ok_or(AgeError::Header)?;
    *rest = after.get(1..).unwrap_or_default();
    Ok(line)
}

/// A recipient with the line `head`. None: it is of another kind.
fn recipient(head: &[u8], rest: &mut &[u8]) -> Result<Option<WrappedKey>, AgeError> {
    let arguments = head.strip_prefix(RECIPIENT).ok_or(AgeError::Header)?;
    let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == b' ').collect();
    let is_valid = |argument: &&[u8]| !argument.is_empty() && argument.iter().all(u8::is_ascii_graphic);
    if !arguments.iter().all(is_valid) {
        return Err(AgeError::Header);
    }
    let body = body(rest)?;
    match arguments.as_slice() {
        [X25519, share] => {
            let share = bytes(share).ok_or(AgeError::Header)?;
            let body = <[u8; WRAPPED]>::try_from(body).map_err(|_| AgeError::Header)?;
            Ok(Some(WrappedKey { share, body }))
        }
        [X25519, ..] => Err(AgeError::Header),
        _ => Ok(None),
    }
}

/// The body of a recipient, which ends with a line that is not full.
fn body(rest: &mut &[u8]) -> Result<Vec<u8>, AgeError> {
    let mut body = Vec::new();
    loop {
        let line = line(rest)?;
        if line.len() > COLUMNS {
            return Err(AgeError::Header);
        }
        body.extend(STANDARD_NO_PAD.decode(line).map_err(|_| AgeError::Header)?);
        if line.len() < COLUMNS {
            return Ok(body);
        }
    }
}

/// As many bytes in base64 as there have to be.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}
