//! Characters that nobody sees in a text: they are shown as escapes, and named.

use std::collections::BTreeMap;
use std::fmt;

use witgate_base::printable::is_plain;

/// The hidden characters of a text, each with its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiddenCharacters(BTreeMap<char, usize>);

impl HiddenCharacters {
    /// Those in `text`. Line ends and tabs are not hidden.
    pub fn of(text: &str) -> Self {
        let mut found = BTreeMap::new();
        for c in text.chars().filter(|c| is_hidden(*c)) {
            *found.entry(c).or_default() += 1;
        }
        Self(found)
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The number of different characters that are named.
const NAMED: usize = 16;

impl fmt::Display for HiddenCharacters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (c, count)) in self.0.iter().take(NAMED).enumerate() {
            let separator = if place > 0 { ", " } else { "" };
            write!(f, "{separator}U+{:04X} {}", u32::from(*c), name(*c))?;
            if *count > 1 {
                write!(f, " ({count} times)")?;
            }
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            others => write!(f, ", and {others} others"),
        }
    }
}

/// The text with escapes for the characters that nobody sees, such as `\u{200b}`, and for the backslash of a text that
/// looks like such an escape.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.peek() == Some(&'u') => shown.push_str("\\\\"),
            c if is_hidden(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

fn is_hidden(c: char) -> bool {
    !is_plain(c) && !matches!(c, '\n' | '\t')
}

/// The name of a hidden character, or of its group.
fn name(c: char) -> String {
    let name = match c {
        '\u{ad}' => "soft hyphen",
        '\u{200b}' => "zero width space",
        '\u{200c}' => "zero width non-joiner",
        '\u{200d}' => "zero width joiner",
        '\u{2060}' => "word joiner",
        '\u{feff}' => "zero width no-break space",
        '\u{61c}' | '\u{200e}' | '\u{200f}' => "bidirectional mark",
        '\u{202a}' | '\u{202b}' => "bidirectional embedding",
        '\u{202d}' | '\u{202e}' => "bidirectional override",
        '\u{202c}' | '\u{2069}' => "end of a bidirectional control",
        '\u{2066}'..='\u{2068}' => "bidirectional isolate",
        '\u{2061}'..='\u{2064}' => "invisible operator",
        '\u{2028}' => "line separator",
        '\u{2029}' => "paragraph separator",
        '\u{1b}' => "escape, which begins a sequence for terminals",
        '\u{9b}' => "control sequence introducer of terminals",
        '\r' => "carriage return",
        '\u{8}' => "backspace",
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => "control character",
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => "variation selector",
        '\u{180b}'..='\u{180f}' => "Mongolian variation selector",
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => "Hangul filler",
        '\u{e0020}'..='\u{e007e}' => return tag(c),
        '\u{e0000}'..='\u{e0fff}' => "tag character",
        '\u{fff9}'..='\u{fffb}' => "interlinear annotation",
        _ => "invisible character",
    };
    name.to_owned()
}

/// Tags repeat the printable characters of ASCII, so that a text can hide in them.
fn tag(c: char) -> String {
    match char::from_u32(u32::from(c) - 0xe0000) {
        Some(letter) => format!("tag character `{letter}`"),
        None => "tag character".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_and_named() {
        for (text, as_shown, named) in [
            ("a\u{200b}b\u{200b}", r"a\u{200b}b\u{200b}", "U+200B zero width space (2 times)"),
            ("\u{202e}x", r"\u{202e}x", "U+202E bidirectional override"),
            ("\u{e0041}", r"\u{e0041}", "U+E0041 tag character `A`"),
            ("☂\u{fe0f}", r"☂\u{fe0f}", "U+FE0F variation selector"),
            ("x\u{e0101}", r"x\u{e0101}", "U+E0101 variation selector"),
            ("\u{1b}[8m", r"\u{1b}[8m", "U+001B escape, which begins a sequence for terminals"),
            (
                "\u{2066}\u{2069}",
                r"\u{2066}\u{2069}",
                "U+2066 bidirectional isolate, U+2069 end of a bidirectional control",
            ),
        ] {
            assert_eq!(shown(text), as_shown);
            assert_eq!(HiddenCharacters::of(text).to_string(), named);
        }
        assert!(HiddenCharacters::of("schön\n\tπ").is_empty());
    }

    #[test]
    fn a_text_cannot_pretend_an_escape() {
        assert_eq!(shown(r"\u{200b}"), r"\\u{200b}");
        assert_eq!(shown(r"\n"), r"\n");
    }

    #[test]
    fn many_different_characters_are_counted() {
        let text: String = ('\u{e0100}'..='\u{e01ef}').collect();
        assert!(HiddenCharacters::of(&text).to_string().ends_with(", and 224 others"));
    }
}
