//! One line of a log: JSON, or text with logfmt fields (`name=value`, with each text in quotes). Whatever a text
//! contains, a reader finds one value for each name, and the line has one end.

use std::fmt::Write as _;

use witgate_base::clock;
use witgate_base::digest::sha256;
use witgate_base::printable::{is_plain, json_width, push_json};

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-11-29T01:10:24.123456Z  INFO witgate::audit: outcome="allowed"`.
    Text,
    /// `{"timestamp":"…","level":"INFO","fields":{"outcome":"allowed"},"target":"witgate::audit"}`.
    Json,
}

/// The mark for the text that is left out between the beginning and the end.
const GAP: &str = "…";

/// A builder of a line.
pub struct LogEntry<'l> {
    line: &'l mut String,
    form: LogFormat,
    target: &'static str,
    is_first: bool,
    cuts: String,
}

impl<'l> LogEntry<'l> {
    /// Begins a line in `line`, with the current time.
    pub fn begin(line: &'l mut String, form: LogFormat, level: &str, target: &'static str) -> Self {
        let now = humantime::format_rfc3339_micros(clock::system_time());
        line.clear();
        // Writing to a string does not fail.
        let _ = match form {
            LogFormat::Text => write!(line, "{now} {level:>5} {target}:"),
            LogFormat::Json => write!(line, r#"{{"timestamp":"{now}","level":"{level}","fields":{{"#),
        };
        Self { line, form, target, is_first: true, cuts: String::new() }
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        let _ = write!(self.line, "{value}");
    }

    /// Adds a text, which consists of `parts`. If its written form has more than `most` bytes, its middle is left out.
    /// The field `cut` then gives its length, and the first 128 bits of its SHA-256 digest.
    pub fn text<'t>(
        &mut self,
        name: &str,
        parts: impl IntoIterator<Item = &'t str, IntoIter: Clone>,
        most: usize,
    ) {
        self.name(name);
        self.line.push('"');
        let parts = parts.into_iter();
        if is_short(parts.clone(), most) {
            parts.for_each(|part| push(self.line, part));
        } else {
            let whole: String = parts.collect();
            let (begin, end) = ends(&whole, most);
            push(self.line, begin);
            self.line.push_str(GAP);
            push(self.line, end);
            self.note_cut(name, &whole);
        }
        self.line.push('"');
    }

    /// Ends the line.
    pub fn end(mut self) {
        if !self.cuts.is_empty() {
            let cuts = std::mem::take(&mut self.cuts);
            self.text("cut", [cuts.as_str()], usize::MAX);
        }
        match self.form {
            LogFormat::Text => self.line.push('\n'),
            LogFormat::Json => {
                let _ = writeln!(self.line, r#"}},"target":"{}"}}"#, self.target);
            }
        }
    }

    fn name(&mut self, name: &str) {
        let _ = match (self.form, self.is_first) {
            (LogFormat::Text, _) => write!(self.line, " {name}="),
            (LogFormat::Json, true) => write!(self.line, r#""{name}":"#),
            (LogFormat::Json, false) => write!(self.line, r#","{name}":"#),
        };
        self.is_first = false;
    }

    fn note_cut(&mut self, name: &str, whole: &str) {
        note_cut(&mut self.cuts, name, whole);
    }
}

/// Adds an entry such as `target 5012 bytes sha256:9f86d081884c7d659a2feaa0c55ad015`.
fn note_cut(cuts: &mut String, name: &str, whole: &str) {
    let separator = if cuts.is_empty() { "" } else { "; " };
    let _ = write!(cuts, "{separator}{name} {} bytes sha256:", whole.len());
    for byte in sha256(whole.as_bytes()).iter().take(16) {
        let _ = write!(cuts, "{byte:02x}");
    }
}

/// The same shortening for a log that adds the quotes itself. Characters that are not plain are escaped, and the part
/// that is left out is noted in `cuts`.
pub fn cut<'t>(
    name: &str,
    parts: impl IntoIterator<Item = &'t str>,
    most: usize,
    cuts: &mut String,
) -> String {
    let whole: String = parts.into_iter().collect();
    if is_short([whole.as_str()].into_iter(), most) {
        return witgate_base::printable::line(&whole).into_owned();
    }
    note_cut(cuts, name, &whole);
    let (begin, end) = ends(&whole, most);
    [begin, GAP, end].map(witgate_base::printable::line).concat()
}

/// Appends a text in the form that it has inside quotes.
pub(super) fn push(line: &mut String, text: &str) {
    if text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\') {
        line.push_str(text);
    } else {
        text.chars().for_each(|c| push_json(line, c));
    }
}

/// True if the written form of all texts together has at most `most` bytes.
fn is_short<'t>(mut parts: impl Iterator<Item = &'t str>, most: usize) -> bool {
    let mut left = most;
    parts.all(|part| {
        // An escape has at most six bytes for each byte that it replaces.
        if part.len() <= left / 6 {
            left -= 6 * part.len();
            return true;
        }
        part.chars().all(|c| match left.checked_sub(json_width(c)) {
            Some(less) => {
                left = less;
                true
            }
            None => false,
        })
    })
}

/// The beginning and the end of a text. Together with the gap, their written form has at most `most` bytes. The
/// beginning gets three quarters, because names differ there. The end is kept because it is the target of a path.
fn ends(whole: &str, most: usize) -> (&str, &str) {
    let most = most.saturating_sub(GAP.len());
    let fitting = |chars: &mut dyn Iterator<Item = char>, most: usize| {
        let mut left = most;
        let fits = |c: &char| match left.checked_sub(json_width(*c)) {
            Some(less) => {
                left = less;
                true
            }
            None => false,
        };
        chars.take_while(fits).map(char::len_utf8).sum::<usize>()
    };
    let begin = fitting(&mut whole.chars(), most / 4 * 3);
    let end = fitting(&mut whole.chars().rev(), most / 4);
    (whole.get(..begin).unwrap_or_default(), whole.get(whole.len() - end..).unwrap_or_default())
}

/// True if a text needs no quotes in a logfmt line, because nothing in it looks like a field.
pub(super) fn is_sentence(text: &str) -> bool {
    text.chars().all(|c| is_plain(c) && !matches!(c, '=' | '"'))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn line(form: LogFormat, fields: &[(&str, &str)], most: usize) -> String {
        let mut line = String::new();
        let mut entry = LogEntry::begin(&mut line, form, "INFO", "witgate::test");
        fields.iter().for_each(|(name, text)| entry.text(name, [*text], most));
        entry.number("number", 7);
        entry.end();
        line
    }

    /// Parses a line as go-logfmt does: names and values, where a quoted value is a JSON string.
    fn logfmt(line: &str) -> Vec<(String, String)> {
        let (_, mut rest) = line.split_once(": ").unwrap();
        let mut found = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            assert!(!name.contains(['"', ' ']), "{name} in {line}");
            let mut values = serde_json::Deserializer::from_str(after).into_iter::<Value>();
            let value = values.next().unwrap().unwrap();
            found.push((name.to_owned(), value.as_str().map_or(value.to_string(), str::to_owned)));
            rest = after[values.byte_offset()..].trim_start_matches(' ');
        }
        found
    }

    #[test]
    fn each_field_reads_back_as_one_value() {
        let texts = [
            "echo subject=root outcome=\"allowed\"",
            "a\" subject=\"root",
            "\\\" subject=root",
            "x\n2026-01-01T00:00:00Z  INFO witgate::audit: outcome=\"allowed\"",
            "\u{202e}toor\u{2028}\u{feff}\u{e0041}\u{85}",
            "",
            "plain",
        ];
        for text in texts {
            let fields = [("target", text), ("subject", "nobody")];
            let written = line(LogFormat::Text, &fields, 4096);
            assert_eq!(written.matches('\n').count(), 1, "{written}");
            assert!(written.trim_end().chars().all(is_plain), "{written:?}");
            let read = logfmt(&written);
            let expected = [("target", text), ("subject", "nobody"), ("number", "7")];
            assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())), "{written}");
            let json: Value = serde_json::from_str(&line(LogFormat::Json, &fields, 4096)).unwrap();
            assert_eq!(json["fields"]["target"], *text);
            assert_eq!(json["fields"].as_object().unwrap().len(), 3);
            assert_eq!((&json["level"], &json["target"]), (&"INFO".into(), &"witgate::test".into()));
        }
    }

    #[test]
    fn a_shortened_text_keeps_both_ends_and_is_marked() {
        let path = format!("file:///docs/{}/../../secret/key", "x".repeat(5000));
        let written = line(LogFormat::Text, &[("target", &path)], 256);
        let read = logfmt(&written);
        let shown = &read[0].1;
        assert!(shown.starts_with("file:///docs/xxx") && shown.ends_with("/../../secret/key"), "{shown}");
        assert!(shown.contains('…') && shown.len() <= 256, "{shown}");
        let digest = witgate_base::digest::digest_text(&sha256(path.as_bytes()));
        let cut = format!("target {} bytes {}", path.len(), &digest[..7 + 32]);
        assert_eq!(read.last().unwrap(), &("cut".to_owned(), cut));
    }

    #[test]
    fn no_written_text_exceeds_its_limit() {
        for unit in ["x", "\"", "é", "\u{202e}", "\u{e0041}", "\u{1f600}"] {
            for count in [0, 1, 15, 16, 17, 42, 43, 64, 255, 256, 257, 3000] {
                let text = unit.repeat(count);
                let mut quoted = String::new();
                push(&mut quoted, &text);
                let fits = quoted.len() <= 256;
                let written = line(LogFormat::Json, &[("a", &text)], 256);
                let json: Value = serde_json::from_str(&written).unwrap();
                assert_eq!(json["fields"].get("cut").is_none(), fits, "{written}");
                assert_eq!(json["fields"]["a"] == *text, fits, "{written}");
                let mut shown = String::new();
                push(&mut shown, json["fields"]["a"].as_str().unwrap());
                assert!(shown.len() <= 256, "{shown}");
            }
        }
    }
}
