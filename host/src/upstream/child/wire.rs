//! Newline-delimited JSON-RPC: lines in, bounded; what a child's message is; answers made here.

use std::io;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::flow::call::LONGEST_ID;
use crate::upstream::json::{quote, span_in, splice};

/// Bytes read from a pipe at once; the size of a Linux pipe.
const CHUNK: usize = 64 << 10;

/// The result of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A line that is not empty, without its end.
    Line(Bytes),
    /// A line longer than the bound; it is skipped. Its end has been seen.
    TooLong(Ends),
    /// The other end has closed.
    End,
}

/// The ends of a line that is skipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    head: BytesMut,
    tail: BytesMut,
}

/// Bytes of either end that are kept: an id stands in one of them, beside `jsonrpc`.
const END: usize = 4 << 10;

impl Ends {
    /// Takes a further part of the line.
    fn take(&mut self, part: &[u8]) {
        let room = END.saturating_sub(self.head.len()).min(part.len());
        self.head.extend_from_slice(part.get(..room).unwrap_or_default());
        self.tail.extend_from_slice(part.get(part.len().saturating_sub(END)..).unwrap_or_default());
        let _ = self.tail.split_to(self.tail.len().saturating_sub(END));
    }

    /// The id of the message, as JSON text, where it comes before or after all that is long.
    pub(crate) fn id(&self) -> Option<String> {
        id_before(&self.head).or_else(|| id_after(&self.tail))
    }
}

/// The `id` among the first members of an object that is cut off.
fn id_before(head: &[u8]) -> Option<String> {
    struct First<'a>(&'a mut Option<Box<RawValue>>);
    impl<'de> serde::de::Visitor<'de> for First<'_> {
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
    // It breaks off, which is the one error that is expected.
    let _ =
        serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_slice(head), First(&mut id));
    id.map(|id| id.get().to_owned())
}

/// The `id` among the last members of an object whose beginning is not there. No other object can end in this way.
fn id_after(tail: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Last {
        id: Box<RawValue>,
        #[serde(default, rename = "jsonrpc")]
        _jsonrpc: serde::de::IgnoredAny,
    }
    const KEY: &[u8] = br#""id""#;
    let at = tail.windows(KEY.len()).rposition(|window| window == KEY)?;
    let object = [b"{", tail.get(at..)?].concat();
    serde_json::from_slice::<Last>(&object).ok().map(|last| last.id.get().to_owned())
}

/// Lines of at most a number of bytes.
pub(crate) struct Lines<R> {
    reader: R,
    buffer: BytesMut,
    /// Bytes at the front of `buffer` in which there is no line end.
    searched: usize,
    bound: usize,
    /// Of a line that has passed the bound.
    skipping: Option<Ends>,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads lines of up to `bound` bytes.
    pub(crate) fn new(reader: R, bound: usize) -> Self {
        Self { reader, buffer: BytesMut::new(), searched: 0, bound, skipping: None, ended: false }
    }

    /// The next line. May be dropped half-way: nothing is lost.
    pub(crate) async fn next(&mut self) -> io::Result<Read> {
        loop {
            if let Some(read) = self.take() {
                return Ok(read);
            }
            if self.ended {
                return Ok(Read::End);
            }
            self.buffer.reserve(CHUNK);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                self.ended = true;
                if let Some(ends) = self.skipping.take() {
                    return Ok(Read::TooLong(ends));
                }
                // A last line may lack its end.
                if !self.buffer.trim_ascii().is_empty() {
                    return Ok(Read::Line(self.buffer.split().freeze()));
                }
            }
        }
    }

    fn take(&mut self) -> Option<Read> {
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
                return Some(Read::TooLong(ends));
            }
            if !line.trim_ascii().is_empty() {
                return Some(Read::Line(line.freeze()));
            }
        }
    }

    /// Forgets what passes the bound, but for the ends.
    fn overflow(&mut self) {
        if self.buffer.len() > self.bound || self.skipping.is_some() {
            self.skipping.get_or_insert_default().take(&self.buffer);
            self.buffer.clear();
            self.searched = 0;
        }
    }
}

/// `message` as one line. Outside its strings JSON may hold line ends; they mean what a space means.
pub(crate) fn one_line(message: Bytes) -> Bytes {
    if !message.iter().any(|&byte| matches!(byte, b'\n' | b'\r')) {
        return message;
    }
    message.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }).collect()
}

/// A message of a child, taken apart as far as it takes to find its way.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    line: &'a [u8],
    id: Option<&'a RawValue>,
    pub(crate) what: What<'a>,
}

/// The kind of a message.
#[derive(Debug)]
pub(crate) enum What<'a> {
    /// The child wants an answer.
    Request { method: String },
    /// It wants none.
    Notification { method: String, params: Option<&'a str> },
    /// It answers.
    Response { result: Option<&'a str> },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> Incoming<'a> {
    /// Reads a line. None: it is not a JSON-RPC message.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let envelope: Envelope<'a> = serde_json::from_slice(line).ok()?;
        if envelope.id.is_some_and(|id| id.get().len() > LONGEST_ID) {
            return None;
        }
        let result = envelope.result.map(RawValue::get);
        let what = match (envelope.method, envelope.id) {
            (Some(method), Some(_)) => What::Request { method },
            (Some(method), None) => What::Notification { method, params: envelope.params.map(RawValue::get) },
            (None, _) if result.is_some() != envelope.error.is_some() => What::Response { result },
            (None, _) => return None,
        };
        Some(Self { line, id: envelope.id, what })
    }

    /// The id as JSON text.
    pub(crate) fn id(&self) -> Option<&'a str> {
        self.id.map(RawValue::get)
    }

    /// The line with other values for parts of it; each part must be a slice of the line.
    pub(crate) fn with(&self, parts: &[(&str, &str)]) -> Bytes {
        let mut edits: Vec<_> =
            parts.iter().filter_map(|(part, text)| Some((span_in(self.line, part)?, *text))).collect();
        splice(self.line, &mut edits)
    }
}

/// A JSON-RPC result.
pub(crate) fn result_response(id: &str, result: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into()
}

/// A JSON-RPC error.
pub(crate) fn error_response(id: &str, code: i32, message: &str, data: Option<&str>) -> Bytes {
    let data = data.map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
    let message = quote(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#).into()
}

/// `notifications/cancelled` for the request `id`.
pub(crate) fn cancelled(id: &str, reason: &str) -> Bytes {
    let reason = quote(reason);
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":{reason}}}}}"#
    )
    .into()
}

#[cfg(test)]
mod tests;
