//! The texts of keys.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use witgate_api_key::store::{KEY_BYTES, KEY_PREFIX, Sha256};
use zeroize::Zeroizing;

use super::{KeyStoreError, sha256};

/// The fewest characters of a new key. In hexadecimal digits, they are 128 random bits.
pub const SHORTEST_KEY: usize = 32;

/// The most characters of a new key. Some programs have a limit for headers of 8 KiB.
pub const LONGEST_KEY: usize = 512;

/// The form of a new key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyFormat {
    /// `wgk_` and random characters of base64url, 47 characters by default.
    #[default]
    Wgk,
    /// Random hexadecimal digits, 64 by default.
    Hex,
    /// Random characters of base64url, 43 by default.
    UrlSafe,
}

/// The text of a key, shown once to its creator. It is never printed by `Debug`, and erased when dropped.
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// A random text of `length` characters, or of the usual length of the form.
    pub(super) fn random(format: KeyFormat, length: Option<usize>) -> Result<Self, KeyStoreError> {
        let length = length.unwrap_or(match format {
            KeyFormat::Wgk => 47,
            KeyFormat::Hex => 64,
            KeyFormat::UrlSafe => 43,
        });
        if !(SHORTEST_KEY..=LONGEST_KEY).contains(&length) {
            return Err(KeyStoreError::Length(length));
        }
        // A byte gives at least one character.
        let mut bytes = Zeroizing::new(vec![0; length.max(KEY_BYTES)]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyStoreError::Randomness)?;
        // With its final size, because growing would leave copies in memory.
        let mut text = Zeroizing::new(String::with_capacity(4 * bytes.len()));
        if format == KeyFormat::Wgk {
            text.push_str(KEY_PREFIX);
        }
        match format {
            KeyFormat::Wgk | KeyFormat::UrlSafe => {
                BASE64_URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
            }
            KeyFormat::Hex => {
                let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
                bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(byte & 15)]));
            }
        }
        text.truncate(length);
        Ok(Self(text))
    }

    /// The key itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn sha256(&self) -> Sha256 {
        sha256(&self.0)
    }
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyText(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_key_has_its_form_and_length() {
        let text = |format, length| KeyText::random(format, length).map(|text| text.reveal().to_owned());
        let url_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        for (format, usual) in [(KeyFormat::Wgk, 47), (KeyFormat::Hex, 64), (KeyFormat::UrlSafe, 43)] {
            assert_eq!(text(format, None).unwrap().len(), usual);
            for length in [32, 33, 64, 512] {
                let made = text(format, Some(length)).unwrap();
                assert_eq!(made.len(), length, "{format:?}");
                assert!(made.chars().all(url_safe) && made != text(format, Some(length)).unwrap());
            }
            for length in [0, 31, 513] {
                assert!(matches!(text(format, Some(length)), Err(KeyStoreError::Length(_))));
            }
        }
        assert!(text(KeyFormat::Wgk, None).unwrap().starts_with(KEY_PREFIX));
        assert!(text(KeyFormat::Hex, None).unwrap().chars().all(|c| c.is_ascii_hexdigit()));
    }
}
