//! The store of users: a TOML file that `witgate user` writes and that people may read.
//!
//! ```
//! # use witgate_basic::users::Users;
//! let users = Users::parse(r#"
//! version = 1
//!
//! [[users]]
//! name = "ada"                      # the identity's subject
//! id = "4f9a01c2"                   # names the user in lists and logs
//! hash = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"
//! created = 2026-01-01T00:00:00Z
//! disabled = 2026-07-01T00:00:00Z   # optional
//! roles = ["ops"]
//! scopes = ["mcp:read"]
//! allow = ["get_*"]
//! deny = ["get_secret"]
//! "#)?;
//! assert_eq!(Users::parse(&users.to_toml()?)?, users);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::is_nfc;
use witgate_plugin::Rules;
use witgate_stores::bounds::{self, fits};
use witgate_stores::{EntryFault, EntryFile, EntryRights, RightsFault, Time};

use crate::hash::PasswordHash;

/// The version of the format that this release reads and writes.
pub const VERSION: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// The version of the format: [`VERSION`].
    pub version: u32,
    /// The users, in the order in which they were added.
    #[serde(default)]
    pub users: Vec<StoredUser>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredUser {
    /// The subject of the user's identity, in the normalization form NFC. 1 to 512 bytes, no control characters and no
    /// colon.
    pub name: String,
    /// The id of the user in lists and logs.
    pub id: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The time of creation.
    pub created: Time,
    /// The time from which the user has been disabled. A user who has this cannot log in at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Time>,
    /// Roles of the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Scopes of the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Patterns of the calls that the user may make. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Patterns of the calls that the user may not make, even if `allow` covers them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// The error in a store of users. It names the place, but never the text there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsersError {
    /// The text does not have the format of a store.
    Format {
        /// The line, from 1.
        line: usize,
        /// The error.
        message: String,
    },
    /// The store has another version of the format.
    Version(u32),
    /// The entry of a user is invalid.
    User {
        /// The user's place in the file, from 1.
        place: usize,
        /// The fault of the entry.
        fault: UserFault,
    },
}

/// A fault of a user's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserFault {
    /// The name exceeds its limits.
    Name,
    /// The name contains a colon.
    Colon,
    /// The name is not in the normalization form NFC.
    Form,
    /// The user at that earlier place has the same name.
    SameName(usize),
    /// The user at that earlier place has the same id.
    SameId(usize),
    /// The id or the rights are invalid.
    Rights(RightsFault),
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { line, message } => write!(f, "store of users, line {line}: {message}"),
            Self::Version(version) => write!(
                f,
                "store of users: version {version} is not {VERSION}, the one that this release understands"
            ),
            Self::User { place, fault } => write!(f, "store of users, user {place}: {fault}"),
        }
    }
}

impl fmt::Display for UserFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("`name` has to have 1 to 512 bytes and no control characters"),
            Self::Colon => f.write_str("`name` contains a colon, which ends the name in a request"),
            Self::Form => f.write_str("`name` is not in the Unicode normalization form NFC"),
            Self::SameName(place) => write!(f, "the same `name` as user {place}"),
            Self::SameId(place) => write!(f, "the same `id` as user {place}"),
            Self::Rights(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for UsersError {}

impl Default for Users {
    fn default() -> Self {
        Self { version: VERSION, users: Vec::new() }
    }
}

impl Users {
    /// Reads and checks a store.
    ///
    /// # Errors
    /// If it is damaged, has another version, or contains an invalid entry. Then no part of it is used.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let users: Self = witgate_stores::parse(text)?;
        users.check()?;
        Ok(users)
    }

    /// Checks the entries of a store. [`Users::parse`] does so as well.
    ///
    /// # Errors
    /// With the first invalid entry.
    pub fn check(&self) -> Result<(), UsersError> {
        if self.version != VERSION {
            return Err(UsersError::Version(self.version));
        }
        let (mut names, mut ids) = (HashMap::new(), HashMap::new());
        for (place, user) in (1..).zip(&self.users) {
            let earlier_name = names.insert(user.name.as_str(), place).map(UserFault::SameName);
            let earlier_id = ids.insert(user.id.as_str(), place).map(UserFault::SameId);
            let fault = user.check().err().or(earlier_name).or(earlier_id);
            if let Some(fault) = fault {
                return Err(UsersError::User { place, fault });
            }
        }
        Ok(())
    }

    /// Writes the store as TOML.
    ///
    /// # Errors
    /// If a time is after the year 9999.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

impl StoredUser {
    fn check(&self) -> Result<(), UserFault> {
        if !fits(&self.name, bounds::SUBJECT) {
            return Err(UserFault::Name);
        }
        if self.name.contains(':') {
            return Err(UserFault::Colon);
        }
        if !is_nfc(&self.name) {
            return Err(UserFault::Form);
        }
        self.rights().check().map_err(UserFault::Rights)
    }

    /// The compiled patterns of the user.
    ///
    /// # Errors
    /// If a pattern is invalid. A checked store has no such pattern.
    pub fn rules(&self) -> Result<Rules, UserFault> {
        self.rights().rules().map_err(UserFault::Rights)
    }

    fn rights(&self) -> EntryRights<'_> {
        let Self { id, roles, scopes, allow, deny, .. } = self;
        EntryRights { id, roles, scopes, allow, deny }
    }
}

/// The entries of a part of a store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEntries {
    users: Vec<StoredUser>,
}

impl EntryFile for Users {
    type Entries = UserEntries;
    const HEADING: &'static str = "\n[[users]]\n";

    fn of(version: u32, parts: Vec<UserEntries>) -> Self {
        Self { version, users: parts.into_iter().flat_map(|part| part.users).collect() }
    }
}

impl From<EntryFault> for UsersError {
    fn from(EntryFault { line, message }: EntryFault) -> Self {
        Self::Format { line, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

    fn entry(name: &str, lines: &str) -> String {
        format!(
            "\n[[users]]\nname = \"{name}\"\nid = \"u{}\"\nhash = \"{HASH}\"\ncreated = 2026-01-01T00:00:00Z\n{lines}",
            name.len()
        )
    }

    fn parsed(entries: &[String]) -> Result<Users, UsersError> {
        Users::parse(&format!("version = 1\n{}", entries.concat()))
    }

    fn fault(entries: &[String]) -> UserFault {
        match parsed(entries) {
            Err(UsersError::User { fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reading_in_parts_equals_reading_as_a_whole() {
        let text = format!("version = 1\n{}{}", entry("a", "roles = [\"x\"]\n"), entry("bb", ""));
        let in_parts = witgate_stores::in_parts::<Users>(&text).unwrap();
        assert_eq!(Ok(&in_parts), witgate_stores::whole(&text).as_ref());
        assert_eq!(in_parts.users.len(), 2);
    }

    #[test]
    fn names_are_those_that_a_request_can_carry() {
        assert!(parsed(&[entry("jos\u{e9}", ""), entry("a b@c.example", "")]).is_ok());
        for (name, expected) in [
            ("", UserFault::Name),
            ("a\\u0000", UserFault::Name),
            ("a:b", UserFault::Colon),
            ("jose\u{301}", UserFault::Form),
        ] {
            assert_eq!(fault(&[entry(name, "")]), expected, "{name}");
        }
        assert_eq!(fault(&[entry(&"n".repeat(513), "")]), UserFault::Name);
    }

    #[test]
    fn names_and_ids_are_unique() {
        assert_eq!(fault(&[entry("a", ""), entry("a", "")]), UserFault::SameName(1));
        assert_eq!(fault(&[entry("a", ""), entry("b", "")]), UserFault::SameId(1));
    }

    #[test]
    fn errors_name_the_line_and_not_the_hash() {
        let text = format!("version = 1\n{}", entry("a", ""));
        for (from, to, said) in [
            (HASH, "secret-hash", "line 6: not a password hash"),
            (HASH, "$apr1$secret$hash", "line 6: a hash of MD5"),
            ("id = \"u1\"", "id = 1", "line 5: "),
            ("created", "password = \"secret\"\ncreated", "line 7: unknown field"),
        ] {
            let error = Users::parse(&text.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
        let error = Users::parse("version = 2").unwrap_err();
        assert_eq!(error, UsersError::Version(2));
    }

    #[test]
    fn patterns_roles_and_scopes_have_their_limits() {
        assert_eq!(fault(&[entry("a", "roles = [\"ok\", \"\"]\n")]), UserFault::Rights(RightsFault::Role(1)));
        assert_eq!(fault(&[entry("a", "scopes = [\"a b\"]\n")]), UserFault::Rights(RightsFault::Scope(0)));
        let fault = fault(&[entry("a", "allow = [\"\"]\n")]);
        assert!(matches!(fault, UserFault::Rights(RightsFault::Pattern("allow", 0, _))));
    }
}
