//! The ways to log in.

/// The way in which a person has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMethod {
    /// With a password alone.
    Password,
    /// With a password, and a code of an authenticator app or a recovery code.
    PasswordAndCode,
    /// With a passkey, which a person has unlocked on their device.
    Passkey,
}

impl LoginMethod {
    /// All ways.
    const ALL: [Self; 3] = [Self::Password, Self::PasswordAndCode, Self::Passkey];

    /// The word for it in the database.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PasswordAndCode => "password+code",
            Self::Passkey => "passkey",
        }
    }

    /// The way with this word. An unknown one counts as the weakest.
    pub(crate) fn of_word(word: &str) -> Self {
        Self::ALL.into_iter().find(|method| method.word() == word).unwrap_or(Self::Password)
    }

    /// `amr` of the tokens (RFC 8176).
    pub(crate) fn references(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp", "mfa"],
            Self::Passkey => &["pop", "user", "mfa"],
        }
    }

    /// True if the person has shown a second factor.
    pub fn is_strong(self) -> bool {
        self != Self::Password
    }
}
