//! The content of a store, before encryption.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use toml::{Table, Value};
use zeroize::Zeroizing;

use super::age::MOST_RECIPIENTS;
use super::encryption::is_recipient;
use super::error::SecretStoreError;

/// The table for what is not a secret.
const OWN: &str = "witgate";

/// Size limit of a name, in bytes.
const LONGEST_NAME: usize = 128;

/// Size limit of a value, in bytes, the same as for programs.
const LONGEST_VALUE: usize = 64 << 10;

/// The largest number of changes. People do not reach it; a forged number beyond it would end the counting.
pub(super) const MOST_CHANGES: u64 = 1 << 48;

/// The secrets of a store.
#[derive(Default)]
pub struct StoredSecrets {
    values: BTreeMap<String, Zeroizing<String>>,
    /// The recipients, whose identities decrypt the store.
    recipients: BTreeSet<String>,
    changes: u64,
}

impl std::fmt::Debug for StoredSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl StoredSecrets {
    /// Reads the text of a store. An error quotes nothing of it.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let table: Table = toml::from_str(text).map_err(|_| "is not TOML")?;
        let (mut secrets, mut fault) = (Self::default(), None);
        // All of them, so that all are wiped.
        for (name, value) in table {
            match value {
                Value::String(value) => drop(secrets.values.insert(name, Zeroizing::new(value))),
                Value::Table(own) if name == OWN => fault = fault.or(secrets.read_own(&own).err()),
                _ => fault = Some("has a value that is not a text"),
            }
        }
        fault.map_or(Ok(secrets), Err)
    }

    fn read_own(&mut self, own: &Table) -> Result<(), &'static str> {
        let changes = own.get("changes").and_then(Value::as_integer).unwrap_or(0);
        let changes = u64::try_from(changes).ok().filter(|changes| *changes <= MOST_CHANGES);
        self.changes = changes.ok_or("has an impossible number of changes")?;
        for recipient in own.get("recipients").and_then(Value::as_array).into_iter().flatten() {
            let recipient = recipient.as_str().filter(|text| is_recipient(text));
            self.recipients.insert(recipient.ok_or("has a recipient that is not one of age")?.to_owned());
        }
        if self.recipients.len() > MOST_RECIPIENTS {
            return Err("has too many recipients");
        }
        Ok(())
    }

    /// The text of a store.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        // With room for escapes, because growing would leave copies in memory.
        let room = self.values.iter().map(|(name, value)| name.len() + 6 * value.len() + 16).sum::<usize>();
        let mut text = Zeroizing::new(String::with_capacity(room + 128 * (self.recipients.len() + 4)));
        text.push_str("# Written by `witgate secret`, which keeps no comments.\n");
        for (name, value) in &self.values {
            for part in ["\"", name, "\" = \""] {
                text.push_str(part);
            }
            write_escaped(&mut text, value);
            text.push_str("\"\n");
        }
        let recipients: Vec<_> = self.recipients.iter().map(|text| format!("\"{text}\"")).collect();
        let (changes, recipients) = (self.changes, recipients.join(", "));
        // Writing to a string cannot fail.
        let _ = write!(text, "\n[{OWN}]\nchanges = {changes}\nrecipients = [{recipients}]\n");
        text
    }

    /// The value of a secret.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.as_str())
    }

    /// The names, with the length of each value in bytes.
    pub fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.len()))
    }

    /// Sets a secret.
    ///
    /// # Errors
    /// If the name or the value is not possible.
    pub fn set(&mut self, name: &str, value: Zeroizing<String>) -> Result<(), SecretStoreError> {
        is_name(name)?;
        let refused = |why: String| Err(SecretStoreError::Refused(why));
        match value.len() {
            0 => return refused(format!("the value of `{name}` is empty")),
            size if size > LONGEST_VALUE => {
                return refused(format!(
                    "the value of `{name}` has {size} bytes, and at most {LONGEST_VALUE} are possible"
                ));
            }
            _ => {}
        }
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn remove(&mut self, name: &str) -> Result<(), SecretStoreError> {
        let missing = || SecretStoreError::Missing(format!("the store has no secret `{name}`"));
        self.values.remove(name).map(drop).ok_or_else(missing)
    }

    /// The recipients.
    pub fn recipients(&self) -> &BTreeSet<String> {
        &self.recipients
    }

    /// Adds a recipient. False: it is one already.
    ///
    /// # Errors
    /// If it is not a recipient of age, or there are too many.
    pub fn add_recipient(&mut self, recipient: &str) -> Result<bool, SecretStoreError> {
        if !is_recipient(recipient) {
            let why = format!("`{recipient}` is not a recipient of age: it begins with `age1`");
            return Err(SecretStoreError::Refused(why));
        }
        let is_new = !self.recipients.contains(recipient);
        if is_new && self.recipients.len() >= MOST_RECIPIENTS {
            let why = format!("the store has {MOST_RECIPIENTS} recipients, and no more are possible");
            return Err(SecretStoreError::Refused(why));
        }
        self.recipients.insert(recipient.to_owned());
        Ok(is_new)
    }

    /// Removes a recipient.
    ///
    /// # Errors
    /// If it is none.
    pub fn remove_recipient(&mut self, recipient: &str) -> Result<(), SecretStoreError> {
        let missing = || SecretStoreError::Refused(format!("`{recipient}` is not a recipient of the store"));
        self.recipients.remove(recipient).then_some(()).ok_or_else(missing)
    }

    /// The number of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Counts a change after the change `last`, and returns its number. None: there is no further number.
    pub(super) fn count_change(&mut self, last: u64) -> Option<u64> {
        self.changes = self.changes.max(last).checked_add(1).filter(|changes| *changes <= MOST_CHANGES)?;
        Some(self.changes)
    }
}

/// Writes the inside of a basic string of TOML. `text` has room for it.
fn write_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            // Writing to a string cannot fail.
            c if c.is_ascii_control() => drop(write!(text, "\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
}

fn is_name(name: &str) -> Result<(), SecretStoreError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name == OWN || name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
        let why = format!("`{name}` cannot be the name of a secret: use letters, digits, `-`, `_` and `.`");
        return Err(SecretStoreError::Refused(why));
    }
    Ok(())
}
