//! The form of a refresh token. It is derived from the grant and a counter, so that the same presentation gets the same
//! successor without a copy of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::GrantId;
use witgate_base::seal::MacKey;

const PREFIX: &str = "wgr_";

/// A refresh token, as it says itself. Only [`Self::is_genuine`] tells whether that is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RefreshToken {
    pub(super) grant: GrantId,
    pub(super) counter: u64,
}

impl RefreshToken {
    /// The token with its code. None: the text has another form.
    pub(super) fn parse(text: &str) -> Option<(Self, [u8; 32])> {
        let text = text.strip_prefix(PREFIX)?;
        let bytes: [u8; 56] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (grant, rest) = bytes.split_first_chunk::<16>()?;
        let (counter, code) = rest.split_first_chunk::<8>()?;
        let token = Self { grant: *grant, counter: u64::from_be_bytes(*counter) };
        Some((token, code.try_into().ok()?))
    }

    /// The text of the token.
    pub(super) fn text(self, mac: &MacKey) -> SecretString {
        let counter = self.counter.to_be_bytes();
        let code = mac.code(&self.parts(&counter));
        let bytes = [self.grant.as_slice(), &counter, &code].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into()
    }

    /// True if Witgate has made the token.
    pub(super) fn is_genuine(self, mac: &MacKey, code: &[u8; 32]) -> bool {
        mac.is_code_of(&self.parts(&self.counter.to_be_bytes()), code)
    }

    fn parts<'a>(&'a self, counter: &'a [u8; 8]) -> [&'a [u8]; 3] {
        [b"refresh", &self.grant, counter]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    proptest! {
        #[test]
        fn only_the_whole_token_is_genuine(
            grant in any::<[u8; 16]>(), counter in any::<u64>(), at in 0..56_usize, bit in 0..8_u8,
        ) {
            let (mac, other) = (MacKey::of(b"secret"), MacKey::of(b"other"));
            let token = RefreshToken { grant, counter };
            let text = token.text(&mac);
            let (read, code) = RefreshToken::parse(text.expose_secret()).unwrap();
            prop_assert_eq!(read, token);
            prop_assert!(read.is_genuine(&mac, &code) && !read.is_genuine(&other, &code));
            let mut bytes = URL_SAFE_NO_PAD.decode(&text.expose_secret()[4..]).unwrap();
            bytes[at] ^= 1 << bit;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
            let (read, code) = RefreshToken::parse(&changed).unwrap();
            prop_assert!(!read.is_genuine(&mac, &code));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = RefreshToken::parse(&text);
            let _ = RefreshToken::parse(&format!("{PREFIX}{text}"));
        }
    }
}
