//! Event streams, read (WHATWG HTML §9.2, "Server-sent events"), with a bound on what is held.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use http_body::Body;
use http_body_util::BodyExt;

use super::LOOKED_AT_ANSWER;
use crate::upstream::Event;

/// The events of a body, until it ends, breaks or passes the bound.
pub(crate) fn read<B>(body: B) -> impl Stream<Item = Event> + Send
where
    B: Body<Data = Bytes> + Unpin + Send,
{
    unfold((body, Decoder::default()), |(mut body, mut decoder)| async move {
        loop {
            if let Some(event) = decoder.next() {
                return Some((event, (body, decoder)));
            }
            let frame = body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                decoder.push(&data).ok()?;
            }
        }
    })
}

/// Bytes → events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// What has no line end yet, and what follows it.
    pending: BytesMut,
    /// Up to where `pending` holds no line end.
    searched: usize,
    event: Building,
}

#[derive(Debug, Default)]
struct Building {
    id: Option<String>,
    retry: Option<u64>,
    data: Option<Vec<u8>>,
}

/// The stream holds more without an event's end than is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flooded;

impl Decoder {
    /// Takes more of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Flooded> {
        self.push_within(bytes, LOOKED_AT_ANSWER)
    }

    /// The same, where `most` bytes are held.
    pub(super) fn push_within(&mut self, bytes: &[u8], most: usize) -> Result<(), Flooded> {
        let held = self.pending.len() + self.event.data.as_ref().map_or(0, Vec::len);
        if held + bytes.len() > most {
            return Err(Flooded);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next event, if all of it is there.
    pub(super) fn next(&mut self) -> Option<Event> {
        while let Some(line) = self.line() {
            if !line.is_empty() {
                self.event.field(&line);
            } else if let Some(event) = std::mem::take(&mut self.event).finish() {
                return Some(event);
            }
        }
        None
    }

    /// The next line without its end: LF, CR LF or CR. A CR at the very end may have an LF to come.
    fn line(&mut self) -> Option<Bytes> {
        let rest = self.pending.get(self.searched..)?;
        let Some(found) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.pending.len();
            return None;
        };
        let end = self.searched + found;
        let length = match (self.pending.get(end), self.pending.get(end + 1)) {
            (Some(b'\r'), None) => {
                self.searched = end;
                return None;
            }
            (Some(b'\r'), Some(b'\n')) => 2,
            _ => 1,
        };
        let line = self.pending.split_to(end).freeze();
        self.pending.advance(length);
        self.searched = 0;
        Some(line)
    }
}

impl Building {
    fn field(&mut self, line: &[u8]) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at_checked(colon).unwrap_or((line, b""));
        let value = value.strip_prefix(b":").unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            b"id" => self.id = std::str::from_utf8(value).ok().map(str::to_owned),
            b"retry" => {
                self.retry = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            }
            // Comments, and event names, of which MCP has none.
            _ => {}
        }
    }

    fn finish(self) -> Option<Event> {
        let is_nothing = self.id.is_none() && self.retry.is_none() && self.data.is_none();
        let data = self.data.map(Bytes::from).unwrap_or_default();
        (!is_nothing).then_some(Event { id: self.id, retry: self.retry, data })
    }
}
