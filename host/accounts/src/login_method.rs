//! The ways to log in.

/// The way in which a person has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMethod {
    /// With a password alone.
    Password,
    /// With a password, and a code of an authenticator app or a recovery code.
    PasswordAndCode,
    /// With a password, in a browser in which the person has shown a code lately.
    RememberedBrowser,
    /// With a passkey, which a person has unlocked on their device.
    Passkey,
    /// At a provider. Whether it asks for a second factor is its matter.
    Provider,
}

impl LoginMethod {
    /// All ways.
    const ALL: [Self; 5] =
        [Self::Password, Self::PasswordAndCode, Self::RememberedBrowser, Self::Passkey, Self::Provider];

    /// The word for it in the database.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PasswordAndCode => "password+code",
            Self::RememberedBrowser => "password+browser",
            Self::Passkey => "passkey",
            Self::Provider => "provider",
        }
    }

    /// The way with this word. An unknown one counts as the weakest.
    pub(crate) fn of_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|method| method.word() == word).unwrap_or(Self::Password)
    }

    /// `amr` of the tokens (RFC 8176). Empty: Witgate does not know.
    pub(crate) fn references(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp", "mfa"],
            Self::RememberedBrowser => &["pwd", "mfa"],
            Self::Passkey => &["pop", "user", "mfa"],
            Self::Provider => &[],
        }
    }

    /// True if the person has shown a second factor, now or lately in the same browser, or a provider has judged who they are.
    pub fn is_strong(self) -> bool {
        self != Self::Password
    }
}
