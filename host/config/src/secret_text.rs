//! The text of a secret within what a file or a program contains.

/// The secret in the text of a file, without the mark (U+FEFF) and the line break that editors add.
pub fn in_file(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches(['\r', '\n'])
}
