//! The syntax of files with variables. Programs differ about `$`, `\` and quotes within a value. The forms that are known
//! to be read differently are refused here, with advice. Other forms may still differ: the shell, for example, allows no
//! blanks around `=`. Nothing is replaced in a value, as some programs do.

use std::ops::Range;

use zeroize::Zeroizing;

/// An invalid line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineFault {
    /// The place of the fault, in bytes.
    pub(super) span: Range<usize>,
    /// The fault, without a part of the file.
    pub(super) message: &'static str,
    /// Advice.
    pub(super) help: &'static str,
}

/// A line `NAME=VALUE`.
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    pub(super) value: Zeroizing<String>,
    /// The place of the name.
    pub(super) span: Range<usize>,
}

const LINE: &str = "write `NAME=VALUE` in each line; a comment begins with `#`";
const QUOTE: &str = "put the value into single quotes, in which each character stands for itself";

/// Reads the assignments of a text one by one.
pub(super) struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next assignment. None: the text has ended.
    pub(super) fn next(&mut self) -> Result<Option<Assignment<'a>>, LineFault> {
        loop {
            self.skip(|c| c.is_ascii_whitespace());
            match self.peek() {
                None => return Ok(None),
                Some('#') => self.skip(|c| c != '\n'),
                Some(_) => return self.assignment().map(Some),
            }
        }
    }

    fn assignment(&mut self) -> Result<Assignment<'a>, LineFault> {
        let mut span = self.word();
        if self.text.get(span.clone()) == Some("export") && self.peek().is_some_and(is_blank) {
            self.skip(is_blank);
            span = self.word();
        }
        let name = self.text.get(span.clone()).unwrap_or_default();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.fault("a name has letters, digits and `_`, and begins with no digit", LINE));
        }
        self.skip(is_blank);
        if self.peek() != Some('=') {
            return Err(self.fault("there is no `=` after the name", LINE));
        }
        self.at += 1;
        self.skip(is_blank);
        let value = match self.peek() {
            Some('\'') => self.literal()?,
            Some('"') => self.quoted()?,
            _ => self.bare()?,
        };
        self.end()?;
        Ok(Assignment { name, value, span })
    }

    fn word(&mut self) -> Range<usize> {
        let start = self.at;
        self.skip(|c| c.is_ascii_alphanumeric() || c == '_');
        start..self.at
    }

    /// A value in single quotes, possibly of several lines.
    fn literal(&mut self) -> Result<Zeroizing<String>, LineFault> {
        let start = self.at + 1;
        let Some(length) = self.text.get(start..).and_then(|rest| rest.find('\'')) else {
            return Err(self.fault("this quote is not closed", LINE));
        };
        self.at = start + length + 1;
        Ok(Zeroizing::new(self.text.get(start..start + length).unwrap_or_default().to_owned()))
    }

    /// A value in double quotes, possibly of several lines.
    fn quoted(&mut self) -> Result<Zeroizing<String>, LineFault> {
        let opening = self.at;
        self.at += 1;
        let mut value = Zeroizing::new(String::with_capacity(self.length_to('"')));
        loop {
            match self.peek() {
                None => {
                    self.at = opening;
                    return Err(self.fault("this quote is not closed", LINE));
                }
                Some('"') => {
                    self.at += 1;
                    return Ok(value);
                }
                Some('\\') => {
                    let escaped = match self.text.as_bytes().get(self.at + 1) {
                        Some(b'n') => '\n',
                        Some(b'\\') => '\\',
                        Some(b'"') => '"',
                        Some(b'$') => '$',
                        _ => return Err(self.fault("programs differ about this `\\`", QUOTE)),
                    };
                    value.push(escaped);
                    self.at += 2;
                }
                Some(c) => value.push(self.plain(c)?),
            }
        }
    }

    /// A value without quotes.
    fn bare(&mut self) -> Result<Zeroizing<String>, LineFault> {
        let mut value = Zeroizing::new(String::with_capacity(self.length_to('\n')));
        while let Some(c) = self.peek() {
            match c {
                c if c.is_ascii_whitespace() => break,
                '\'' | '"' | '`' | '\\' => {
                    return Err(self.fault("programs differ about this character", QUOTE));
                }
                '#' if value.is_empty() => break,
                c => value.push(self.plain(c)?),
            }
        }
        Ok(value)
    }

    /// Takes a character that is not `$`, or a `$` that no program replaces.
    fn plain(&mut self, c: char) -> Result<char, LineFault> {
        let next = self.text.get(self.at + 1..).and_then(|rest| rest.chars().next());
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '{' | '(' | '$');
        if c == '$' && next.is_some_and(is_name) {
            return Err(self.fault("Witgate replaces no `$NAME`, and other programs do", QUOTE));
        }
        self.at += c.len_utf8();
        Ok(c)
    }

    /// Takes the rest of the line, which may have a comment.
    fn end(&mut self) -> Result<(), LineFault> {
        self.skip(is_blank);
        let before = self.text.as_bytes().get(self.at.wrapping_sub(1));
        match self.peek() {
            None | Some('\n' | '\r') => Ok(()),
            Some('#') if matches!(before, Some(b' ' | b'\t' | b'=')) => {
                self.skip(|c| c != '\n');
                Ok(())
            }
            Some(_) => Err(self.fault("the value has ended before this", QUOTE)),
        }
    }

    fn length_to(&self, end: char) -> usize {
        self.text.get(self.at..).map_or(0, |rest| rest.find(end).unwrap_or(rest.len()))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.find(|c| !is_skipped(c)).unwrap_or(rest.len());
    }

    /// A fault at the next character.
    fn fault(&self, message: &'static str, help: &'static str) -> LineFault {
        let length = self.peek().map_or(0, char::len_utf8);
        LineFault { span: self.at..self.at + length, message, help }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}
