//! User name and password, as `Authorization: Basic` carries them (RFC 7617).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use zeroize::Zeroizing;

/// The maximum number of bytes in a password. A longer one protects nothing more, and costs time.
pub const LONGEST_PASSWORD: usize = 1_024;

/// The maximum number of bytes in a name: that of a subject.
pub const LONGEST_NAME: usize = witgate_stores::bounds::SUBJECT;

/// A user name and a password, both in the normalization form NFC. The password is never printed, and erased at the end.
pub struct UserPassword {
    /// The name. It may be empty.
    pub name: String,
    /// The password. It may be empty.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for UserPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserPassword").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The reason why a text is no user name and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// It is not base64 (RFC 4648, section 4).
    Base64,
    /// It is not UTF-8.
    Utf8,
    /// It has no colon.
    Colon,
    /// It has a control character.
    Control,
    /// The name or the password is too long.
    Length,
}

impl fmt::Display for CredentialFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64 => "the credential is not base64",
            Self::Utf8 => "the credential is not UTF-8",
            Self::Colon => "the credential has no colon between name and password",
            Self::Control => "the credential has a control character",
            Self::Length => "the name has more than 512 bytes, or the password more than 1,024",
        })
    }
}

impl UserPassword {
    /// Reads the text after `Basic`. The first colon ends the name.
    ///
    /// # Errors
    /// With the fault of the text.
    pub fn parse(text: &str) -> Result<Self, CredentialFault> {
        // With enough room from the start, no copy of the password stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + 4));
        STANDARD.decode_vec(text, &mut bytes).map_err(|_| CredentialFault::Base64)?;
        let decoded = std::str::from_utf8(&bytes).map_err(|_| CredentialFault::Utf8)?;
        if decoded.chars().any(char::is_control) {
            return Err(CredentialFault::Control);
        }
        let (name, password) = decoded.split_once(':').ok_or(CredentialFault::Colon)?;
        if name.len() > LONGEST_NAME || password.len() > LONGEST_PASSWORD {
            return Err(CredentialFault::Length);
        }
        Ok(Self { name: composed(name), password: composed_password(password) })
    }
}

/// A name in the normalization form NFC (RFC 7617, section 2.1).
pub fn composed(name: &str) -> String {
    if is_nfc(name) { name.to_owned() } else { name.nfc().collect() }
}

/// A password in the normalization form NFC.
pub fn composed_password(password: &str) -> Zeroizing<String> {
    // A character has at most three times the bytes in this form, so the text never moves.
    let mut composed = Zeroizing::new(String::with_capacity(3 * password.len()));
    match is_nfc(password) {
        true => composed.push_str(password),
        false => composed.extend(password.nfc()),
    }
    composed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use witgate_testing::growth::assert_linear;

    use super::*;

    fn parsed(text: &str) -> Result<(String, String), CredentialFault> {
        UserPassword::parse(text).map(|shown| (shown.name, shown.password.to_string()))
    }

    fn sent(text: impl AsRef<[u8]>) -> Result<(String, String), CredentialFault> {
        parsed(&STANDARD.encode(text))
    }

    fn pair(name: &str, password: &str) -> Result<(String, String), CredentialFault> {
        Ok((name.to_owned(), password.to_owned()))
    }

    /// RFC 7617, section 2 and section 2.1.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        assert_eq!(parsed("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), pair("Aladdin", "open sesame"));
        assert_eq!(parsed("dGVzdDoxMjPCow=="), pair("test", "123£"));
    }

    #[test]
    fn the_first_colon_ends_the_name() {
        assert_eq!(sent("ada:a:b:"), pair("ada", "a:b:"));
        assert_eq!(sent(":secret"), pair("", "secret"));
        assert_eq!(sent("ada:"), pair("ada", ""));
        assert_eq!(sent(":"), pair("", ""));
        assert_eq!(sent("ada"), Err(CredentialFault::Colon));
    }

    #[test]
    fn a_text_in_another_form_is_refused() {
        for text in ["", "ada:secret", "YWRhOnM", "YWRhOnM= ", "YWRhOnM=YWRhOnM=", "YWRhOn-_"] {
            let expected = if text.is_empty() { CredentialFault::Colon } else { CredentialFault::Base64 };
            assert_eq!(parsed(text), Err(expected), "{text}");
        }
        assert_eq!(sent([b'a', b':', 0xff]), Err(CredentialFault::Utf8));
        for text in ["a\0b:c", "a:b\n", "a:\u{7f}", "a\u{85}:b"] {
            assert_eq!(sent(text), Err(CredentialFault::Control), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_counted_in_bytes() {
        let (name, password) = ("n".repeat(LONGEST_NAME), "p".repeat(LONGEST_PASSWORD));
        assert_eq!(sent(format!("{name}:{password}")), pair(&name, &password));
        assert_eq!(sent(format!("{name}n:{password}")), Err(CredentialFault::Length));
        assert_eq!(sent(format!("{name}:{password}p")), Err(CredentialFault::Length));
    }

    #[test]
    fn decomposed_characters_are_composed() {
        assert_eq!(sent("jose\u{301}:pa\u{30a}ss"), pair("jos\u{e9}", "p\u{e5}ss"));
    }

    #[test]
    fn a_password_is_not_printed() {
        let shown = UserPassword::parse("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(format!("{shown:?}"), r#"UserPassword { name: "Aladdin", .. }"#);
    }

    #[test]
    fn the_time_of_the_parse_grows_linearly() {
        assert_linear(
            "a credential",
            20_000,
            |size| STANDARD.encode("a\u{301}".repeat(size)),
            |text| drop(UserPassword::parse(&text)),
        );
    }

    proptest! {
        #[test]
        fn what_a_client_sends_is_read(name in "[^:\\p{C}]{0,40}", password in "\\P{C}{0,40}") {
            let expected = pair(&composed(&name), &composed(&password));
            prop_assert_eq!(sent(format!("{name}:{password}")), expected);
        }
    }
}
