//! Input of lines from a sender that may send lines that are too long: JSON-RPC messages over a pipe (MCP,
//! "Transports", stdio).

use std::io;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt};

#[cfg(test)]
mod tests;

/// The number of bytes to read from a pipe at once: the size of a Linux pipe.
const CHUNK: usize = 64 << 10;

/// The outcome of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub enum LineOutcome {
    /// A line that is not empty, without its end.
    Line(Bytes),
    /// A line that was longer than the limit, and was skipped to its end.
    TooLong(LineEnds),
    /// The other end has closed.
    End,
}

/// The beginning and the end of a skipped line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LineEnds {
    head: BytesMut,
    tail: BytesMut,
}

/// The number of bytes that are kept of the beginning, and of the end. One of the two contains the id and `jsonrpc`.
const END: usize = 4 << 10;

impl LineEnds {
    /// Adds a further part of the line.
    fn take(&mut self, part: &[u8]) {
        let room = END.saturating_sub(self.head.len()).min(part.len());
        self.head.extend_from_slice(part.get(..room).unwrap_or_default());
        self.tail.extend_from_slice(part.get(part.len().saturating_sub(END)..).unwrap_or_default());
        let _ = self.tail.split_to(self.tail.len().saturating_sub(END));
    }

    /// The id of the message as JSON text, if it is within the kept beginning or end.
    pub fn id(&self) -> Option<String> {
        id_before(&self.head).or_else(|| id_after(&self.tail))
    }
}

/// The `id` among the first members of an object that is cut off at its end.
fn id_before(head: &[u8]) -> Option<String> {
    struct FirstId<'a>(&'a mut Option<Box<RawValue>>);
    impl<'de> serde::de::Visitor<'de> for FirstId<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a message")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
            while let Some(key) = members.next_key::<String>()? {
                if key == "id" {
                    *self.0 = Some(members.next_value()?);
                } else {
                    members.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(())
        }
    }
    let mut id = None;
    // An error is expected, because the object is cut off.
    let _ = serde::Deserializer::deserialize_map(
        &mut serde_json::Deserializer::from_slice(head),
        FirstId(&mut id),
    );
    id.map(|id| id.get().to_owned())
}

/// The `id` among the last members of an object whose beginning is missing. No nested object can end in this way.
fn id_after(tail: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LastId {
        id: Box<RawValue>,
        #[serde(default, rename = "jsonrpc")]
        _jsonrpc: serde::de::IgnoredAny,
    }
    const KEY: &[u8] = br#""id""#;
    let at = tail.windows(KEY.len()).rposition(|window| window == KEY)?;
    let object = [b"{", tail.get(at..)?].concat();
    serde_json::from_slice::<LastId>(&object).ok().map(|last| last.id.get().to_owned())
}

/// A reader of lines with a maximum size.
pub struct LineReader<R> {
    reader: R,
    buffer: BytesMut,
    /// The number of bytes at the front of `buffer` that contain no line end.
    searched: usize,
    bound: usize,
    /// The kept ends of the current line, if it is longer than the limit.
    skipping: Option<LineEnds>,
    ended: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// A reader of lines of up to `bound` bytes.
    pub fn new(reader: R, bound: usize) -> Self {
        Self { reader, buffer: BytesMut::new(), searched: 0, bound, skipping: None, ended: false }
    }

    /// Reads the next line. If the future is dropped before it is ready, no bytes are lost.
    pub async fn next(&mut self) -> io::Result<LineOutcome> {
        loop {
            if let Some(read) = self.take() {
                return Ok(read);
            }
            if self.ended {
                return Ok(LineOutcome::End);
            }
            self.buffer.reserve(CHUNK);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                self.ended = true;
                if let Some(ends) = self.skipping.take() {
                    return Ok(LineOutcome::TooLong(ends));
                }
                // The last line may lack its line end.
                if !self.buffer.trim_ascii().is_empty() {
                    return Ok(LineOutcome::Line(self.buffer.split().freeze()));
                }
            }
        }
    }

    fn take(&mut self) -> Option<LineOutcome> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = unsearched.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.buffer.len();
                self.overflow();
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + at + 1);
            self.searched = 0;
            line.truncate(line.len() - 1);
            if self.skipping.is_some() || line.len() > self.bound {
                let mut ends = self.skipping.take().unwrap_or_default();
                ends.take(&line);
                return Some(LineOutcome::TooLong(ends));
            }
            if !line.trim_ascii().is_empty() {
                return Some(LineOutcome::Line(line.freeze()));
            }
        }
    }

    /// Discards a line beyond the limit, except for its two ends.
    fn overflow(&mut self) {
        if self.buffer.len() > self.bound || self.skipping.is_some() {
            self.skipping.get_or_insert_default().take(&self.buffer);
            self.buffer.clear();
            self.searched = 0;
        }
    }
}

/// Converts a message to one line. JSON may have line ends outside of strings, where they mean the same as spaces.
pub fn one_line(message: Bytes) -> Bytes {
    if !message.iter().any(|&byte| matches!(byte, b'\n' | b'\r')) {
        return message;
    }
    message.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }).collect()
}
