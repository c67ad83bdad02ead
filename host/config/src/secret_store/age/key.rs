//! Identities and recipients of X25519.

use std::fmt;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::error::Unspecified;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use zeroize::Zeroizing;

use super::file_key::{FileKey, derived};

/// The prefix of an identity in Bech32, whose text is in upper case.
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-");

/// The prefix of a recipient in Bech32.
const RECIPIENT: Hrp = Hrp::parse_unchecked("age");

/// The purpose of the key that encrypts a file key.
const PURPOSE: &[u8] = b"age-encryption.org/v1/X25519";

/// The length of an encrypted file key, in bytes: the key and its tag.
pub(super) const WRAPPED: usize = 16 + 16;

/// The length of the text of an identity, with room.
const TEXT: usize = 80;

/// A file key that is encrypted for one recipient.
pub(super) struct WrappedKey {
    /// The public key that was made for this file.
    pub(super) share: [u8; 32],
    /// The encrypted file key.
    pub(super) body: [u8; WRAPPED],
}

/// A key for which files are encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::secret_store) struct AgeRecipient([u8; 32]);

impl fmt::Display for AgeRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32, _>(f, RECIPIENT, &self.0).map_err(|_| fmt::Error)
    }
}

impl AgeRecipient {
    /// The recipient with this text, which begins with `age1`.
    pub(in crate::secret_store) fn parse(text: &str) -> Option<Self> {
        let recipient = Self(*decoded(text, RECIPIENT)?);
        (recipient.to_string() == text).then_some(recipient)
    }

    fn of(secret: &PrivateKey) -> Result<Self, Unspecified> {
        let public = secret.compute_public_key()?;
        Ok(Self(public.as_ref().try_into().map_err(|_| Unspecified)?))
    }

    /// Encrypts a file key.
    ///
    /// # Errors
    /// If there is no randomness, or this is a point of low order.
    pub(super) fn wrap(&self, key: &FileKey) -> Result<WrappedKey, Unspecified> {
        let secret = PrivateKey::generate(&X25519)?;
        let share = Self::of(&secret)?;
        let wrapping = wrapping_key(&secret, *self, (share, *self))?;
        let mut body = key.to_vec();
        wrapping.seal_in_place_append_tag(no_nonce(), Aad::empty(), &mut body)?;
        Ok(WrappedKey { share: share.0, body: body.try_into().map_err(|_| Unspecified)? })
    }
}

/// A key that decrypts files.
pub(in crate::secret_store) struct AgeIdentity {
    secret: PrivateKey,
    recipient: AgeRecipient,
}

impl AgeIdentity {
    /// The text of a new identity.
    ///
    /// # Errors
    /// If there is no randomness.
    pub(in crate::secret_store) fn generate() -> Result<Zeroizing<String>, Unspecified> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice())?;
        encoded(&bytes)
    }

    /// The identity with this text, which begins with `AGE-SECRET-KEY-1`.
    pub(in crate::secret_store) fn parse(text: &str) -> Option<Self> {
        let bytes = decoded(text, IDENTITY)?;
        if *encoded(&bytes).ok()? != text {
            return None;
        }
        let secret = PrivateKey::from_private_key(&X25519, bytes.as_slice()).ok()?;
        Some(Self { recipient: AgeRecipient::of(&secret).ok()?, secret })
    }

    /// Its recipient.
    pub(in crate::secret_store) fn recipient(&self) -> AgeRecipient {
        self.recipient
    }

    /// Decrypts a file key. None: it is encrypted for another recipient.
    ///
    /// # Errors
    /// If the share is a point of low order.
    pub(super) fn unwrap(&self, wrapped: &WrappedKey) -> Result<Option<FileKey>, Unspecified> {
        let share = AgeRecipient(wrapped.share);
        let wrapping = wrapping_key(&self.secret, share, (share, self.recipient))?;
        let mut body = Zeroizing::new(wrapped.body);
        let key = wrapping.open_in_place(no_nonce(), Aad::empty(), body.as_mut_slice());
        Ok(key.ok().and_then(|key| <[u8; 16]>::try_from(&*key).ok()).map(Zeroizing::new))
    }
}

/// The key that encrypts a file key, from the own secret key and the public key of the other side.
fn wrapping_key(
    own: &PrivateKey,
    other: AgeRecipient,
    (share, recipient): (AgeRecipient, AgeRecipient),
) -> Result<LessSafeKey, Unspecified> {
    let salt = [share.0, recipient.0].concat();
    let other = UnparsedPublicKey::new(&X25519, other.0);
    let key = agree(own, other, Unspecified, |secret| derived(secret, &salt, PURPOSE))?;
    UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map(LessSafeKey::new)
}

/// Each wrapping key is used once.
fn no_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn encoded(identity: &[u8; 32]) -> Result<Zeroizing<String>, Unspecified> {
    // With its final size, because growing would leave copies in memory.
    let mut text = Zeroizing::new(String::with_capacity(TEXT));
    bech32::encode_upper_to_fmt::<Bech32, _>(&mut *text, IDENTITY, identity).map_err(|_| Unspecified)?;
    Ok(text)
}

fn decoded(text: &str, prefix: Hrp) -> Option<Zeroizing<[u8; 32]>> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok().filter(|checked| checked.hrp() == prefix)?;
    let (mut bytes, mut key) = (checked.byte_iter(), Zeroizing::new([0; 32]));
    for place in key.iter_mut() {
        *place = bytes.next()?;
    }
    bytes.next().is_none().then_some(key)
}
