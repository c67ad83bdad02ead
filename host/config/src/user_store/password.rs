//! The requirements for new passwords (NIST SP 800-63B, sections 3.1.1 and 3.1.1.2: a length, no classes of characters, and
//! none of the passwords that are guessed first).

mod common;

use witgate_basic::credential::LONGEST_PASSWORD;

/// The minimum number of characters.
pub const SHORTEST_PASSWORD: usize = 8;

/// The minimum number of characters besides a name.
const SHORTEST_REST: usize = 5;

/// The shortest name that a password may not consist of. Shorter ones occur in words.
const SHORTEST_NAME: usize = 3;

/// A new password.
#[derive(Clone, Copy)]
pub struct NewPassword<'a> {
    /// The name of its user.
    pub user: &'a str,
    /// The names of the service: its host, and what it offers.
    pub services: &'a [String],
    /// The password.
    pub text: &'a str,
}

/// The reason why a text is not used as a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// It has no characters.
    #[error("the password is empty")]
    Empty,
    /// It has a control character.
    #[error("the password contains a control character, such as a tab, which Basic cannot carry")]
    Control,
    /// It is too long.
    #[error("the password has more than {LONGEST_PASSWORD} bytes")]
    Long,
    /// It can be guessed.
    #[error("the password has fewer than {SHORTEST_PASSWORD} characters")]
    Short,
    /// It can be guessed.
    #[error("the password is little more than the name of the user")]
    Name,
    /// It can be guessed.
    #[error("the password is little more than the name of this service")]
    Service,
    /// It can be guessed.
    #[error("the password is one of those that are guessed first, or nearly one")]
    Common,
}

impl PasswordFault {
    /// True if the password would work, but can be guessed.
    pub fn is_weakness(self) -> bool {
        matches!(self, Self::Short | Self::Name | Self::Service | Self::Common)
    }
}

/// The fault of a new password. None: it may be used. With `weak`, it may be one that can be guessed.
pub fn password_fault(password: NewPassword<'_>, weak: bool) -> Option<PasswordFault> {
    let NewPassword { user, services, text } = password;
    match text {
        "" => Some(PasswordFault::Empty),
        _ if text.chars().any(char::is_control) => Some(PasswordFault::Control),
        _ if text.len() > LONGEST_PASSWORD => Some(PasswordFault::Long),
        _ if weak => None,
        _ if text.chars().count() < SHORTEST_PASSWORD => Some(PasswordFault::Short),
        _ if is_mostly(text, user) => Some(PasswordFault::Name),
        _ if services.iter().any(|service| is_mostly(text, service)) => Some(PasswordFault::Service),
        _ if common::is_common(text) => Some(PasswordFault::Common),
        _ => None,
    }
}

/// True if a password is a name, or has few characters besides it. Case, and characters between the letters, do not
/// count.
fn is_mostly(password: &str, name: &str) -> bool {
    let (password, name) = (letters(password), letters(name));
    if name.chars().count() < SHORTEST_NAME || !password.contains(&name) {
        return false;
    }
    password.replace(&name, "").chars().count() < SHORTEST_REST
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
