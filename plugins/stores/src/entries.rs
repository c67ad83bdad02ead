//! Reads a store. Errors name the place, but never the text there, which could be a credential.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A store: a version, and a list of entries.
pub trait EntryFile: DeserializeOwned {
    /// The list alone, with one entry, or with several in another form of TOML.
    type Entries: DeserializeOwned;
    /// The line that begins an entry, between two line feeds.
    const HEADING: &'static str;

    /// The whole that consists of these parts.
    fn of(version: u32, parts: Vec<Self::Entries>) -> Self;
}

/// The fault of a text that is no store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFault {
    /// The line, from 1.
    pub line: usize,
    /// The error, without quoted values.
    pub message: String,
}

/// Reads a store.
///
/// # Errors
/// If the text is no TOML, or has another form.
pub fn parse<F: EntryFile>(text: &str) -> Result<F, EntryFault> {
    in_parts(text).map_or_else(|| whole(text), Ok)
}

/// Reads a store at once.
///
/// # Errors
/// As [`parse`].
pub fn whole<F: EntryFile>(text: &str) -> Result<F, EntryFault> {
    toml::from_str(text).map_err(|error| EntryFault {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: without_values(error.message()),
    })
}

/// The part of a store before the first entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
}

/// Reads a store entry by entry, because a reader of TOML takes fifteen times the memory of the text that it reads at
/// once. None: the store cannot be read in parts, or is invalid. If each part is valid TOML, the parts together mean
/// the same as the whole text: a value of several lines, such as a list, would not be valid TOML after a cut.
pub fn in_parts<F: EntryFile>(text: &str) -> Option<F> {
    let mut at = text.find(F::HEADING)? + 1;
    let Head { version } = toml::from_str(text.get(..at)?).ok()?;
    let mut parts = Vec::new();
    while at < text.len() {
        let rest = text.get(at..)?;
        let length = rest.find(F::HEADING).map_or(rest.len(), |next| next + 1);
        parts.push(toml::from_str(rest.get(..length)?).ok()?);
        at += length;
    }
    Some(F::of(version, parts))
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The message of an error, without the values that it quotes.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(start), Some(end)) if start < end => {
            let (head, tail) = (message.get(..start), message.get(end + 1..));
            format!("{}\"…\"{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
        _ => message.to_owned(),
    }
}
