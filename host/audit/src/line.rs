//! The form of a line: a JSON object whose first members are the hash of the line before, and the line's number, at a
//! fixed place.

use crate::hex;
use crate::tree::{Frontier, Hash, LEAF_MARK, marked_leaf_hash};

const BEFORE_HASH: &[u8] = b"{\"prev\":\"";
const BEFORE_NUMBER: &[u8] = b"\",\"seq\":";
const BEFORE_KIND: &[u8] = b",\"kind\":\"";

/// The bound of the numbers of lines. A log does not get there, so a larger number is not one of a log.
const MOST_LINES: u64 = 1 << 62;

/// The `prev` of the first line of a log.
const NO_LINE: Hash = [0; 32];

/// The state of the chain and of the tree after some lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainState {
    /// The hash of the last line.
    pub(crate) prev: Hash,
    /// The tree over all lines.
    pub(crate) tree: Frontier,
}

impl Default for ChainState {
    fn default() -> Self {
        Self { prev: NO_LINE, tree: Frontier::default() }
    }
}

impl ChainState {
    /// The number of the next line.
    pub(crate) fn next(&self) -> u64 {
        self.tree.size()
    }

    /// Appends a line to `out`: the chain fields, and then the members of the JSON object `entry`.
    pub(crate) fn write(&mut self, entry: &[u8], out: &mut MarkedLines) {
        let begin = out.begin();
        out.0.extend_from_slice(BEFORE_HASH);
        hex::push(&mut out.0, &self.prev);
        out.0.extend_from_slice(BEFORE_NUMBER);
        out.0.extend_from_slice(self.next().to_string().as_bytes());
        out.0.push(b',');
        out.0.extend_from_slice(entry.strip_prefix(b"{").unwrap_or(entry));
        self.advance(marked_leaf_hash(out.0.get(begin..).unwrap_or_default()));
        out.end(begin);
    }

    /// Takes the next line by its hash.
    pub(crate) fn advance(&mut self, hash: Hash) {
        self.prev = hash;
        self.tree.push(hash);
    }

    /// The fault of `line` as the next line of the chain.
    pub(crate) fn fault_of(&self, line: &[u8]) -> Option<ChainFault> {
        let Some(fields) = ChainFields::of(line) else { return Some(ChainFault::Form) };
        if fields.number != self.next() {
            Some(ChainFault::Number { expected: self.next(), found: fields.number })
        } else if !hex::is_text_of(fields.prev, &self.prev) {
            Some(ChainFault::Hash)
        } else {
            None
        }
    }
}

/// Lines that are made one after the other. While a line is made, the byte before it is the mark of a leaf, so that it
/// is hashed in place.
#[derive(Debug)]
pub(crate) struct MarkedLines(Vec<u8>);

impl Default for MarkedLines {
    fn default() -> Self {
        Self(vec![b'\n'])
    }
}

impl MarkedLines {
    /// The lines, each with its line end.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Removes all lines.
    pub(crate) fn clear(&mut self) {
        self.0.truncate(1);
    }

    /// Begins a line: replaces the line end before it by the mark, and returns its place.
    fn begin(&mut self) -> usize {
        if let Some(end) = self.0.last_mut() {
            *end = LEAF_MARK;
        }
        self.0.len() - 1
    }

    fn end(&mut self, begin: usize) {
        if let Some(mark) = self.0.get_mut(begin) {
            *mark = b'\n';
        }
        self.0.push(b'\n');
    }
}

/// The reason why a line does not continue the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// The line does not have the form of an entry.
    #[error("it does not have the form of an entry")]
    Form,
    /// The number is not the next one.
    #[error("it has the number {found} in place of {expected}")]
    Number {
        /// The next number.
        expected: u64,
        /// The number of the line.
        found: u64,
    },
    /// The line before has another hash.
    #[error("its `prev` is not the hash of the line before")]
    Hash,
}

/// The members at the beginning of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChainFields<'a> {
    /// The hash of the line before, as text.
    pub(crate) prev: &'a [u8],
    /// The number.
    pub(crate) number: u64,
    /// The kind of entry.
    pub(crate) kind: &'a [u8],
}

impl<'a> ChainFields<'a> {
    /// Reads them without a parse of the JSON.
    pub(crate) fn of(line: &'a [u8]) -> Option<Self> {
        let (prev, rest) = line.strip_prefix(BEFORE_HASH)?.split_at_checked(64)?;
        let rest = rest.strip_prefix(BEFORE_NUMBER)?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = rest.split_at_checked(digits)?;
        let is_canonical = digits == b"0" || !digits.starts_with(b"0");
        let number = std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| is_canonical)?;
        let number = Some(number).filter(|number| *number < MOST_LINES)?;
        let rest = rest.strip_prefix(BEFORE_KIND)?;
        let kind = rest.get(..rest.iter().position(|byte| *byte == b'"')?)?;
        rest.ends_with(b"}").then_some(Self { prev, number, kind })
    }

    /// The hash of the line before.
    pub(crate) fn prev_hash(&self) -> Option<Hash> {
        hex::hash(self.prev)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::leaf_hash;

    #[test]
    fn a_line_carries_the_hash_of_the_line_before() {
        let (mut chain, mut lines) = (ChainState::default(), MarkedLines::default());
        for number in 0..3 {
            chain.write(format!(r#"{{"kind":"decision","n":{number}}}"#).as_bytes(), &mut lines);
        }
        let text = std::str::from_utf8(lines.bytes()).unwrap();
        let mut read = ChainState::default();
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["seq"], read.next());
            assert_eq!(value["prev"], hex::text(&read.prev));
            assert_eq!(read.fault_of(line.as_bytes()), None);
            assert_eq!(ChainFields::of(line.as_bytes()).unwrap().kind, b"decision");
            read.advance(leaf_hash(line.as_bytes()));
        }
        assert_eq!(read, chain);
        let line = text.lines().next().unwrap().as_bytes();
        assert_eq!(chain.fault_of(line), Some(ChainFault::Number { expected: 3, found: 0 }));
        assert_eq!(chain.fault_of(b"{}"), Some(ChainFault::Form));
        let forged = text.lines().last().unwrap().replace("\"seq\":2", "\"seq\":3");
        assert_eq!(chain.fault_of(forged.as_bytes()), Some(ChainFault::Hash));
    }
}
