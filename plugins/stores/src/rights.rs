//! The id and the rights of an entry, which those of all stores have.

use std::fmt;

use witgate_plugin::{PatternError, Rules, is_scope};

use crate::bounds::{NAMES, fits};

/// The maximum number of bytes in an id.
const ID: usize = 64;

/// The id and the rights of an entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryRights<'a> {
    /// The id in lists and logs.
    pub id: &'a str,
    /// The roles of the identity.
    pub roles: &'a [String],
    /// The scopes of the identity.
    pub scopes: &'a [String],
    /// The patterns of allowed calls.
    pub allow: &'a [String],
    /// The patterns of denied calls.
    pub deny: &'a [String],
}

/// A fault of the id or the rights of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RightsFault {
    /// The id exceeds its limits.
    Id,
    /// A role exceeds the limits of an identity.
    Role(usize),
    /// A text is not a scope (RFC 6749, section 3.3), or there are too many.
    Scope(usize),
    /// A pattern is invalid.
    Pattern(&'static str, usize, PatternError),
}

impl EntryRights<'_> {
    /// Checks the id, the roles, the scopes and the patterns.
    ///
    /// # Errors
    /// With the first fault.
    pub fn check(&self) -> Result<(), RightsFault> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !fits(self.id, ID) || !self.id.chars().all(is_plain) {
            return Err(RightsFault::Id);
        }
        if let Some(index) = unfit(self.roles, |role| fits(role, NAMES)) {
            return Err(RightsFault::Role(index));
        }
        if let Some(index) = unfit(self.scopes, |scope| fits(scope, NAMES) && is_scope(scope)) {
            return Err(RightsFault::Scope(index));
        }
        self.rules().map(drop)
    }

    /// The compiled patterns.
    ///
    /// # Errors
    /// If a pattern is invalid. A checked store has no such pattern.
    pub fn rules(&self) -> Result<Rules, RightsFault> {
        Rules::parse(self.allow, self.deny).map_err(|(list, i, e)| RightsFault::Pattern(list, i, e))
    }
}

/// The place of the first text that does not fit, or that is one too many.
fn unfit(texts: &[String], fits: impl Fn(&str) -> bool) -> Option<usize> {
    let unfit = texts.iter().position(|text| !fits(text));
    unfit.or_else(|| (texts.len() > NAMES).then_some(NAMES))
}

impl fmt::Display for RightsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("`id` has to have 1 to 64 letters, digits, `-` or `_`"),
            Self::Role(index) => {
                write!(f, "`roles` {index}: 1 to 256 bytes, no control characters, 256 roles at most")
            }
            Self::Scope(index) => write!(
                f,
                "`scopes` {index}: 1 to 256 printable ASCII characters without spaces, quotes and backslashes, 256 scopes \
                 at most"
            ),
            Self::Pattern(list, index, error) => write!(f, "`{list}` {index}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_limits() {
        let good = EntryRights { id: "a-1_b", roles: &[], scopes: &[], allow: &[], deny: &[] };
        let (ok, many) = (vec!["ok".to_owned()], vec!["x".to_owned(); 257]);
        let of = |text: &str| vec!["ok".to_owned(), text.to_owned()];
        assert_eq!(EntryRights { roles: &ok, scopes: &ok, allow: &ok, deny: &ok, ..good }.check(), Ok(()));
        for id in ["", "a b", "é", &"i".repeat(65)] {
            assert_eq!(EntryRights { id, ..good }.check(), Err(RightsFault::Id), "{id}");
        }
        for (roles, place) in [(of(""), 1), (of("a\n"), 1), (of(&"r".repeat(257)), 1), (many.clone(), 256)] {
            assert_eq!(EntryRights { roles: &roles, ..good }.check(), Err(RightsFault::Role(place)));
        }
        for (scopes, place) in [(of("a b"), 1), (of("a\"b"), 1), (of(&"s".repeat(257)), 1), (many, 256)] {
            assert_eq!(EntryRights { scopes: &scopes, ..good }.check(), Err(RightsFault::Scope(place)));
        }
        let deny = of("");
        let fault = EntryRights { deny: &deny, ..good }.check();
        assert!(matches!(fault, Err(RightsFault::Pattern("deny", 1, _))), "{fault:?}");
    }
}
