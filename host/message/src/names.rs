//! Names that all readers understand in the same way: tools and prompts in Unicode's normal form C, resources as URIs
//! in normal form. A rule decides about the text of a name, and a server that normalises names would act on another
//! one.

use unicode_normalization::{UnicodeNormalization, is_nfc};
use witgate_plugin::TargetKind;

use crate::call::LONGEST_NAME;
pub use uri::{check_template, check_uri};

mod uri;

/// The fault of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// The name is longer than the limit that the WIT package documents.
    #[error("is longer than 8,192 bytes")]
    TooLong,
    /// Readers that normalise names read another one.
    #[error("is not in Unicode normal form C: send it composed (NFC)")]
    NotComposed,
    /// The name is not a URI.
    #[error("is not a URI: it needs a scheme, and no characters but those of RFC 3986 unescaped")]
    NoUri,
    /// Readers that normalise URIs read another one.
    #[error(
        "is not a URI in normal form (RFC 3986, section 6.2.2, and WHATWG URL): no dot segments, scheme and host \
         in lower case, `%` with capital digits and only where it is needed"
    )]
    NotNormal,
    /// Readers that decode `%` read a path of another shape.
    #[error("has a control character, a dot segment or bytes that are not UTF-8 behind its percent-encoding")]
    Hidden,
    /// The path has an empty segment, or a separator within a segment. File systems collapse empty segments, and the
    /// name of a file cannot contain separators.
    #[error("is a file URI with an empty segment or an encoded separator in its path")]
    OddFile,
}

/// Checks the name of a target.
///
/// # Errors
/// If two readers could understand it differently.
pub fn check(kind: TargetKind, name: &str) -> Result<(), NameFault> {
    check_length(name)?;
    match kind {
        TargetKind::Resource => check_uri(name),
        TargetKind::Tool | TargetKind::Prompt | TargetKind::Method if is_composed(name) => Ok(()),
        TargetKind::Tool | TargetKind::Prompt | TargetKind::Method => Err(NameFault::NotComposed),
    }
}

fn check_length(name: &str) -> Result<(), NameFault> {
    if name.len() > LONGEST_NAME { Err(NameFault::TooLong) } else { Ok(()) }
}

/// True if the text is in normal form C (Unicode Standard Annex #15).
pub fn is_composed(text: &str) -> bool {
    text.is_ascii() || is_nfc(text)
}

/// The text without case and composition of letters. It folds more than any single reader does, to find all texts that
/// some reader could take for the same name.
pub(super) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Maps to small letters first, because some capitals have a small letter with another capital: \u{1e9e}, \u{df},
    // SS.
    let small = text.nfc().flat_map(char::to_lowercase);
    small.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_and_prompt_names_have_to_be_composed() {
        for kind in [TargetKind::Tool, TargetKind::Prompt, TargetKind::Method] {
            assert_eq!(check(kind, "get_sum"), Ok(()));
            assert_eq!(check(kind, "caf\u{e9}"), Ok(()));
            assert_eq!(check(kind, "\u{d55c}\u{ae00}"), Ok(()));
            assert_eq!(check(kind, "cafe\u{301}"), Err(NameFault::NotComposed));
            assert_eq!(
                check(kind, "\u{212b}"),
                Err(NameFault::NotComposed),
                "the Angstrom sign is the letter"
            );
        }
    }

    #[test]
    fn folding_finds_names_that_differ_only_in_case() {
        for (one, other) in [
            ("limit", "LIMIT"),
            ("k", "\u{212a}"),
            ("s", "\u{17f}"),
            ("\u{e9}", "E\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("ma\u{df}", "MA\u{1e9e}"),
            ("ma\u{1e9e}", "mass"),
            ("\u{3c3}", "\u{3c2}"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        assert_ne!(fold("limit"), fold("limits"));
    }
}
