//! The body of an answer, decoded from the bytes of the connection (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::answer_head::AnswerLength;
use super::fault::HttpAnswerFault;
use super::section::SectionSearch;

/// The maximum number of digits of a chunk's size.
const MOST_DIGITS: usize = 16;

/// The maximum number of bytes of all chunk extensions of a body, and of its trailers. Nobody uses either.
const MOST_EXTRAS: usize = 16 << 10;

/// The maximum number of fields in trailers, as in heads.
const MOST_TRAILERS: usize = 100;

/// Decodes a body that arrives in parts.
#[derive(Debug)]
pub struct BodyDecoder {
    part: BodyPart,
    /// The number of bytes of chunk extensions so far.
    extensions: usize,
}

/// The part of a body that comes next.
#[derive(Clone, Copy, Debug)]
enum BodyPart {
    /// A number of bytes, after which the body ends.
    Fixed(u64),
    /// Bytes until the connection ends.
    UntilEnd,
    /// The line with the size of a chunk, of which so many bytes have been searched.
    ChunkSize(usize),
    /// A number of bytes, after which the chunk ends.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// The trailers.
    Trailers(SectionSearch),
    /// Nothing.
    Nothing,
}

impl BodyDecoder {
    /// A body of a length.
    pub fn new(length: AnswerLength) -> Self {
        let part = match length {
            AnswerLength::Fixed(0) => BodyPart::Nothing,
            AnswerLength::Fixed(length) => BodyPart::Fixed(length),
            AnswerLength::Chunked => BodyPart::ChunkSize(0),
            AnswerLength::UntilEnd => BodyPart::UntilEnd,
        };
        Self { part, extensions: 0 }
    }

    /// True if the whole body has been decoded.
    pub fn is_ended(&self) -> bool {
        matches!(self.part, BodyPart::Nothing)
    }

    /// The number of bytes that are missing, if the server has declared it.
    pub fn rest(&self) -> Option<u64> {
        match self.part {
            BodyPart::Fixed(rest) => Some(rest),
            BodyPart::Nothing => Some(0),
            _ => None,
        }
    }

    /// Takes the next bytes of the body off the beginning of `received`. None: none have arrived, or the body has
    /// ended.
    ///
    /// # Errors
    /// If the bytes are not a body. The body has no further bytes then.
    pub fn next(&mut self, received: &mut BytesMut) -> Result<Option<Bytes>, HttpAnswerFault> {
        while self.step(received)? {}
        let data = match &mut self.part {
            BodyPart::Fixed(rest) | BodyPart::Chunk(rest) => take(rest, received),
            BodyPart::UntilEnd => received.split().freeze(),
            _ => return Ok(None),
        };
        if data.is_empty() {
            return Ok(None);
        }
        // Finds the end of the body together with its last bytes. A fault is found again by the next call.
        while let Ok(true) = self.step(received) {}
        Ok(Some(data))
    }

    /// Notes the end of the connection.
    ///
    /// # Errors
    /// If the body has not ended.
    pub fn finish(&mut self) -> Result<(), HttpAnswerFault> {
        match std::mem::replace(&mut self.part, BodyPart::Nothing) {
            BodyPart::UntilEnd | BodyPart::Nothing => Ok(()),
            _ => Err(HttpAnswerFault::Incomplete),
        }
    }

    /// Goes on to the next part, if the current one has ended. False: it has not.
    fn step(&mut self, received: &mut BytesMut) -> Result<bool, HttpAnswerFault> {
        let next = match self.part {
            BodyPart::Fixed(0) => Some(BodyPart::Nothing),
            BodyPart::Chunk(0) => Some(BodyPart::ChunkEnd),
            BodyPart::ChunkSize(searched) => self.after_size(searched, received)?,
            BodyPart::ChunkEnd => after_line_end(received)?,
            BodyPart::Trailers(search) => self.after_trailers(search, received)?,
            BodyPart::Fixed(_) | BodyPart::Chunk(_) | BodyPart::UntilEnd | BodyPart::Nothing => None,
        };
        let has_ended = next.is_some();
        self.part = next.unwrap_or(self.part);
        Ok(has_ended)
    }

    /// The part after the line with a chunk's size.
    fn after_size(
        &mut self,
        searched: usize,
        received: &mut BytesMut,
    ) -> Result<Option<BodyPart>, HttpAnswerFault> {
        if received.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
            return Err(HttpAnswerFault::Chunk);
        }
        let Some(at) = memchr(b'\n', received.get(searched..).unwrap_or_default()) else {
            if received.len() > MOST_DIGITS + MOST_EXTRAS {
                return Err(HttpAnswerFault::Chunk);
            }
            self.part = BodyPart::ChunkSize(received.len());
            return Ok(None);
        };
        let end = searched + at;
        let line = received.get(..end).and_then(|line| line.strip_suffix(b"\r"));
        let (size, extension) = chunk_size(line.ok_or(HttpAnswerFault::LineEnd)?)?;
        self.extensions += extension;
        if self.extensions > MOST_EXTRAS {
            return Err(HttpAnswerFault::Chunk);
        }
        received.advance(end + 1);
        Ok(Some(if size == 0 { BodyPart::Trailers(SectionSearch::default()) } else { BodyPart::Chunk(size) }))
    }

    /// The part after the trailers, which are read and dropped.
    fn after_trailers(
        &mut self,
        mut search: SectionSearch,
        received: &mut BytesMut,
    ) -> Result<Option<BodyPart>, HttpAnswerFault> {
        let Some(end) = search.end(received, MOST_EXTRAS)? else {
            self.part = BodyPart::Trailers(search);
            return Ok(None);
        };
        check_trailers(received.get(..end).unwrap_or_default())?;
        received.advance(end);
        Ok(Some(BodyPart::Nothing))
    }
}

/// The bytes of a part that have arrived. `rest` is the number of those that have not.
fn take(rest: &mut u64, received: &mut BytesMut) -> Bytes {
    let most = usize::try_from(*rest).unwrap_or(usize::MAX);
    let data = received.split_to(most.min(received.len())).freeze();
    *rest -= data.len() as u64;
    data
}

/// The size of a chunk, and the number of bytes of its extension. Extensions are ignored.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), HttpAnswerFault> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let is_separate = matches!(extension.trim_ascii_start().first(), None | Some(b';'));
    let is_text = extension.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if digits > MOST_DIGITS || !is_separate || !is_text {
        return Err(HttpAnswerFault::Chunk);
    }
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    Ok((size.ok_or(HttpAnswerFault::Chunk)?, extension.len()))
}

/// The part after the line end that follows a chunk.
fn after_line_end(received: &mut BytesMut) -> Result<Option<BodyPart>, HttpAnswerFault> {
    match received.get(..2) {
        Some(b"\r\n") => {
            received.advance(2);
            Ok(Some(BodyPart::ChunkSize(0)))
        }
        None if matches!(received.first(), None | Some(b'\r')) => Ok(None),
        _ => Err(HttpAnswerFault::Chunk),
    }
}

/// Checks trailers, of which nobody has need.
fn check_trailers(section: &[u8]) -> Result<(), HttpAnswerFault> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((end, _))) if end == section.len() => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(HttpAnswerFault::Flood),
        _ => Err(HttpAnswerFault::Field),
    }
}
