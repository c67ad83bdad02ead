//! Newline-delimited JSON-RPC: lines in, bounded; what a child's message is; answers made here.

use std::io;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::flow::call::LONGEST_ID;
use crate::upstream::json::{quote, span_in, splice};

/// How much is asked of a pipe at once; the size of a Linux pipe.
const CHUNK: usize = 64 << 10;

/// What comes of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A line that is not empty, without its end.
    Line(Bytes),
    /// A line longer than the bound; it is skipped.
    TooLong,
    /// The other end has closed.
    End,
}

/// Lines of at most a number of bytes.
pub(crate) struct Lines<R> {
    reader: R,
    buffer: BytesMut,
    /// Bytes at the front of `buffer` in which there is no line end.
    searched: usize,
    bound: usize,
    skipping: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads lines of up to `bound` bytes.
    pub(crate) fn new(reader: R, bound: usize) -> Self {
        Self { reader, buffer: BytesMut::new(), searched: 0, bound, skipping: false, ended: false }
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
                // A last line may lack its end.
                if !self.skipping && !self.buffer.trim_ascii().is_empty() {
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
                return self.overflow();
            };
            let mut line = self.buffer.split_to(self.searched + at + 1);
            self.searched = 0;
            line.truncate(line.len() - 1);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > self.bound {
                return Some(Read::TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Some(Read::Line(line.freeze()));
            }
        }
    }

    /// Forgets what passes the bound; says so once for a line.
    fn overflow(&mut self) -> Option<Read> {
        if self.buffer.len() <= self.bound && !self.skipping {
            return None;
        }
        self.buffer.clear();
        self.searched = 0;
        (!std::mem::replace(&mut self.skipping, true)).then_some(Read::TooLong)
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

/// What kind of message it is.
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
