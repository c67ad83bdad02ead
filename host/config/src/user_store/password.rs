//! The requirements for new passwords (NIST SP 800-63B, section 3.1.1: a length, and no classes of characters).

use witgate_basic::credential::LONGEST_PASSWORD;

/// The minimum number of characters.
pub const SHORTEST_PASSWORD: usize = 8;

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
    #[error("the password has fewer than {SHORTEST_PASSWORD} characters; take a longer one, or add `--weak`")]
    Short,
    /// It can be guessed.
    #[error("the password is the name of the user; take another one, or add `--weak`")]
    Name,
}

/// The fault of a new password. None: it may be used. With `weak`, it may be one that can be guessed.
pub fn password_fault(name: &str, password: &str, weak: bool) -> Option<PasswordFault> {
    match password {
        "" => Some(PasswordFault::Empty),
        _ if password.chars().any(char::is_control) => Some(PasswordFault::Control),
        _ if password.len() > LONGEST_PASSWORD => Some(PasswordFault::Long),
        _ if !weak && password.chars().count() < SHORTEST_PASSWORD => Some(PasswordFault::Short),
        _ if !weak && password.eq_ignore_ascii_case(name) => Some(PasswordFault::Name),
        _ => None,
    }
}
