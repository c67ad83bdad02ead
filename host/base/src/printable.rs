//! The sanitizer for texts from others in logs, in reports and on terminals. It alone decides which characters may be
//! shown.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Maximum length in bytes of a text of one line, including the mark of a cut.
const LONGEST: usize = 1024;

/// True if a character is visible and harmless in every place. Others move the cursor, end the line, reverse the text,
/// or are invisible: control characters, line and paragraph separators, the general category Format (bidirectional
/// controls, zero width, byte order mark, tags), characters that Unicode ignores by default (fillers, variation
/// selectors), and noncharacters.
pub fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        _ => !HIDDEN.iter().any(|(first, last)| (*first..=*last).contains(&c)) && !is_noncharacter(c),
    }
}

/// The last two characters of each plane, and 32 more in the first (Unicode, section 23.7).
fn is_noncharacter(c: char) -> bool {
    matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff) || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

/// The ranges of Cc, Cf, Zl, Zp and `Default_Ignorable_Code_Point` of Unicode 16, in order.
const HIDDEN: [(char, char); 27] = [
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// A text in one line, with escapes for all characters that are not plain (`\n`, `\u{202e}`), and cut after 1,024
/// bytes.
pub fn clean(text: &str) -> String {
    const MARK: char = '…';
    let mut cleaned = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        let before = cleaned.len();
        push(&mut cleaned, c);
        if cleaned.len() > LONGEST {
            cleaned.truncate(before);
            // The mark counts towards the limit.
            while cleaned.len() + MARK.len_utf8() > LONGEST {
                cleaned.pop();
            }
            cleaned.push(MARK);
            break;
        }
    }
    cleaned
}

/// A text of several lines, with escapes for all characters that are not plain, except line ends and tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// A text in one line, with escapes for all characters that are not plain.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

fn escaped(text: &str, is_kept: fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(|c| is_plain(c) || is_kept(c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_kept(c) { escaped.push(c) } else { push(&mut escaped, c) }
    }
    Cow::Owned(escaped)
}

fn push(text: &mut String, c: char) {
    if is_plain(c) {
        text.push(c);
    } else {
        text.extend(c.escape_default());
    }
}

/// JSON text with the same meaning, with JSON's escapes for all characters that are not plain. Line ends and tabs
/// stay, because they are only between values.
pub fn json(text: &str) -> Cow<'_, str> {
    let is_kept = |c: char| is_plain(c) || matches!(c, '\n' | '\t');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_kept(c) { escaped.push(c) } else { push_json_escape(&mut escaped, c) }
    }
    Cow::Owned(escaped)
}

/// Appends a character in the form that it has in a JSON string (RFC 8259, section 7). The values of logfmt are quoted
/// in the same way.
pub fn push_json(text: &mut String, c: char) {
    match c {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if is_plain(c) => text.push(c),
        c => push_json_escape(text, c),
    }
}

/// The number of bytes that [`push_json`] appends.
pub fn json_width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if is_plain(c) => c.len_utf8(),
        c => 6 * c.len_utf16(),
    }
}

fn push_json_escape(text: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a string does not fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Compares every character with the tables of the crate `regex`.
    #[test]
    fn every_invisible_unicode_character_is_escaped() {
        let hidden = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]";
        let hidden = regex::Regex::new(hidden).unwrap();
        let all: String = ('\0'..=char::MAX).collect();
        let hidden: HashSet<_> = hidden.find_iter(&all).flat_map(|found| found.as_str().chars()).collect();
        let is_clean = |text: &str| text.chars().all(|c| !hidden.contains(&c));
        for c in all.chars() {
            let (text, is_hidden) = (String::from(c), hidden.contains(&c));
            assert_eq!(is_plain(c), !is_hidden, "U+{:04X}", u32::from(c));
            assert!(is_clean(&clean(&text)) && is_clean(&line(&text)), "U+{:04X}", u32::from(c));
            let is_kept = matches!(c, '\n' | '\t');
            assert!(is_kept || is_clean(&json(&format!("\"{c}\""))), "U+{:04X}", u32::from(c));
            assert_eq!(lines(&text) == text, !is_hidden || is_kept);
            let mut quoted = String::from("\"");
            push_json(&mut quoted, c);
            assert_eq!(quoted.len() - 1, json_width(c), "U+{:04X}", u32::from(c));
            quoted.push('"');
            assert!(is_clean(&quoted), "{quoted}");
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }
    }

    #[test]
    fn the_table_of_characters_is_sorted() {
        assert!(HIDDEN.iter().all(|(first, last)| first <= last));
        assert!(HIDDEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn a_long_text_is_cut_at_the_limit_and_marked() {
        for unit in ["x", "é", "\u{202e}", "\u{e0041}", "\n"] {
            let long = clean(&unit.repeat(2000));
            assert!(long.len() <= LONGEST && long.ends_with('…'), "{long}");
        }
        let whole = "x".repeat(LONGEST);
        assert_eq!(clean(&whole), whole);
    }
}
