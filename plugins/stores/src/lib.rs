//! The common parts of the stores of credentials, which are TOML files that commands write and that people may read:
//! a version, and then one entry after the other.

mod entries;
mod rights;
mod time;

pub use entries::{EntryFault, EntryFile, in_parts, parse, whole};
pub use rights::{EntryRights, RightsFault};
pub use time::Time;

/// The limits of an identity: its subject, and its roles.
pub mod bounds {
    /// The maximum number of bytes in a subject.
    pub const SUBJECT: usize = 512;
    /// The maximum number of bytes in a role or a scope, and the maximum number of each.
    pub const NAMES: usize = 256;

    /// True if a text has 1 to `most` bytes and no control characters.
    pub fn fits(text: &str, most: usize) -> bool {
        (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
    }
}
