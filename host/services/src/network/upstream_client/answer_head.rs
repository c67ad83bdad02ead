//! The head of an answer, and the length of the body that follows (RFC 9112, sections 4 to 6).
//!
//! It is stricter than hyper where a server and a proxy could disagree about the end of an answer: only CR LF ends a
//! line, `chunked` is the only transfer coding, and an answer has either a length or a transfer coding.

use std::mem::MaybeUninit;

use ::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use bytes::{Bytes, BytesMut};
use httparse::{ParserConfig, Status};

use super::fault::HttpAnswerFault;
use super::section::SectionSearch;

/// The size of the largest head, as for clients.
const MOST_BYTES: usize = 64 << 10;

/// The maximum number of fields, as for clients.
const MOST_FIELDS: usize = 100;

/// The maximum number of interim answers before an answer.
const MOST_INTERIM: u32 = 16;

/// The beginning of every answer.
const BEGINNING: &[u8] = b"HTTP/1.";

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The length of the body.
    pub length: AnswerLength,
    /// True if no other answer may follow on the connection.
    pub is_last: bool,
}

/// The length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLength {
    /// A number of bytes.
    Fixed(u64),
    /// Chunks, each with its length.
    Chunked,
    /// Everything until the connection ends.
    UntilEnd,
}

/// Reads the head of an answer, and skips interim answers before it.
#[derive(Debug)]
pub struct HeadReader {
    is_to_head: bool,
    search: SectionSearch,
    interim: u32,
}

impl HeadReader {
    /// For the answer to a request with this method.
    pub fn new(method: &Method) -> Self {
        Self { is_to_head: method == Method::HEAD, search: SectionSearch::default(), interim: 0 }
    }

    /// Takes the head of an answer off the beginning of `received`. None: its end has not arrived.
    ///
    /// # Errors
    /// If the bytes are not the head of an answer that Witgate accepts.
    pub fn read(&mut self, received: &mut BytesMut) -> Result<Option<AnswerHead>, HttpAnswerFault> {
        loop {
            if !received.iter().zip(BEGINNING).all(|(byte, expected)| byte == expected) {
                return Err(HttpAnswerFault::StatusLine);
            }
            let Some(end) = self.search.end(received, MOST_BYTES)? else { return Ok(None) };
            self.search = SectionSearch::default();
            let head = AnswerHead::parse(&received.split_to(end).freeze(), self.is_to_head)?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => return Err(HttpAnswerFault::Upgrade),
                status if status.is_informational() => self.skip()?,
                _ => return Ok(Some(head)),
            }
        }
    }

    fn skip(&mut self) -> Result<(), HttpAnswerFault> {
        self.interim += 1;
        if self.interim > MOST_INTERIM { Err(HttpAnswerFault::Interim) } else { Ok(()) }
    }
}

impl AnswerHead {
    fn parse(bytes: &Bytes, is_to_head: bool) -> Result<Self, HttpAnswerFault> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let parser = ParserConfig::default();
        let end =
            parser.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields).map_err(fault)?;
        if end != Status::Complete(bytes.len()) {
            return Err(HttpAnswerFault::StatusLine);
        }
        let code = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = code.ok_or(HttpAnswerFault::StatusLine)?;
        let mut framing = FramingFields { is_old: parsed.version != Some(1), ..FramingFields::default() };
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HttpAnswerFault::Field)?;
            // The value shares the memory of the head.
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
            let value = value.map_err(|_| HttpAnswerFault::Field)?;
            framing.note(&name, &value)?;
            headers.append(name, value);
        }
        let (length, is_last) = framing.length(status, is_to_head)?;
        Ok(Self { status, headers, length, is_last })
    }
}

/// The fields that determine the end of an answer and of its connection.
#[derive(Debug, Default)]
struct FramingFields {
    /// True for HTTP/1.0.
    is_old: bool,
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
}

impl FramingFields {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), HttpAnswerFault> {
        if name == CONTENT_LENGTH {
            for number in list(value) {
                let number = length(number).ok_or(HttpAnswerFault::Length)?;
                // Equal repeats are a known mistake of proxies (RFC 9110, section 8.6).
                if *self.length.get_or_insert(number) != number {
                    return Err(HttpAnswerFault::Length);
                }
            }
        } else if name == TRANSFER_ENCODING {
            if self.is_old || self.is_chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(HttpAnswerFault::Coding);
            }
            self.is_chunked = true;
        } else if name == CONNECTION {
            self.closes |= closes(value);
        }
        Ok(())
    }

    /// The length of the body, and whether the connection ends after it.
    fn length(self, status: StatusCode, is_to_head: bool) -> Result<(AnswerLength, bool), HttpAnswerFault> {
        let is_last = self.is_old || self.closes;
        if self.is_chunked && self.length.is_some() {
            return Err(HttpAnswerFault::Length);
        }
        if is_to_head || status == StatusCode::NOT_MODIFIED {
            return Ok((AnswerLength::Fixed(0), is_last));
        }
        if status == StatusCode::NO_CONTENT {
            // A server that announces a body might send one.
            let announces = self.is_chunked || self.length.is_some_and(|length| length > 0);
            return Ok((AnswerLength::Fixed(0), is_last || announces));
        }
        Ok(match self.length {
            _ if self.is_chunked => (AnswerLength::Chunked, is_last),
            Some(length) => (AnswerLength::Fixed(length), is_last),
            None => (AnswerLength::UntilEnd, true),
        })
    }
}

/// True if the field `Connection` ends the connection after its message.
pub(super) fn closes(value: &HeaderValue) -> bool {
    list(value).any(|option| option.eq_ignore_ascii_case(b"close"))
}

fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// A length in digits. Rust's own parser also accepts a sign.
fn length(digits: &[u8]) -> Option<u64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

fn fault(error: httparse::Error) -> HttpAnswerFault {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HttpAnswerFault::Field,
        httparse::Error::NewLine => HttpAnswerFault::LineEnd,
        httparse::Error::TooManyHeaders => HttpAnswerFault::Flood,
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            HttpAnswerFault::StatusLine
        }
    }
}
