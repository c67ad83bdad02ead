//! Reads event streams (WHATWG HTML §9.2, "Server-sent events"), with a limit on the memory.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::ready;
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt};
use http_body_util::BodyExt;

use witgate_base::party::Party;
use witgate_flow::account::Account;
use witgate_flow::body::Inflow;
use witgate_flow::event::Event;
use witgate_runtime::memory::{FREE, Reservation};

/// The messages of a body, until it ends, breaks, or contains one with more than `most` bytes, or for which `account`
/// has no room.
pub(super) fn read(body: Inflow, most: usize, account: Account) -> impl Stream<Item = Event> + Send {
    read_named(body, most, account).filter_map(|event| ready(event.ok().and_then(NamedEvent::message)))
}

/// The events of a body, with any names. If the body did not end regularly, the last item is the reason.
pub(crate) fn read_named(
    body: Inflow,
    most: usize,
    account: Account,
) -> impl Stream<Item = Result<NamedEvent, StreamCut>> + Send {
    let reading = EventReader { body, decoder: Decoder::new(most), account, held: None };
    unfold(Some(reading), |state| async move {
        let mut reading = state?;
        match reading.next().await? {
            Ok(event) => Some((Ok(event), Some(reading))),
            Err(cut) => Some((Err(cut), None)),
        }
    })
}

struct EventReader {
    body: Inflow,
    decoder: Decoder,
    account: Account,
    /// The memory of the decoder.
    held: Option<Reservation<Party>>,
}

impl EventReader {
    async fn next(&mut self) -> Option<Result<NamedEvent, StreamCut>> {
        loop {
            if let Some(mut named) = self.decoder.next() {
                if named.event.data.len() > FREE {
                    named.event.hold = self.held.take().into();
                }
                return Some(Ok(named));
            }
            if self.decoder.held() <= FREE {
                self.held = None;
            }
            let Ok(frame) = self.body.frame().await? else { return Some(Err(StreamCut::Broken)) };
            let Ok(data) = frame.into_data() else { continue };
            if let Err(cut) = self.take(&data) {
                return Some(Err(cut));
            }
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), StreamCut> {
        self.account
            .cover(&mut self.held, self.decoder.held() + data.len())
            .map_err(|_| StreamCut::NoRoom)?;
        self.decoder.push(data).map_err(|_| StreamCut::Flooded)
    }
}

/// The reason why a stream ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamCut {
    /// The connection broke.
    Broken,
    /// An event is larger than permitted.
    Flooded,
    /// There is no memory for an event.
    NoRoom,
}

/// An event with its name.
#[derive(Debug)]
pub(crate) struct NamedEvent {
    /// The name. None: `message`, the default.
    pub name: Option<String>,
    /// The event.
    pub event: Event,
}

impl NamedEvent {
    /// The message in the event, as clients of MCP read it; an event with another name contains none. None: it also
    /// has no id or retry time to pass on.
    pub(crate) fn message(self) -> Option<Event> {
        let Self { name, event } = self;
        match name {
            None => Some(event),
            Some(_) if event.id.is_none() && event.retry.is_none() => None,
            Some(_) => Some(Event { data: Bytes::new(), ..event }),
        }
    }
}

/// Bytes → events.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Maximum number of bytes in memory.
    most: usize,
    /// The bytes that are not decoded yet.
    pending: BytesMut,
    /// The part of `pending` that is known to have no line end.
    searched: usize,
    event: EventBuilder,
}

#[derive(Debug, Default)]
struct EventBuilder {
    name: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    data: Option<Vec<u8>>,
}

/// The error for an event that exceeds the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventTooLarge;

impl Decoder {
    /// A decoder for events of at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, pending: BytesMut::new(), searched: 0, event: EventBuilder::default() }
    }

    fn held(&self) -> usize {
        self.pending.len() + self.event.data.as_ref().map_or(0, Vec::len)
    }

    /// Adds a part of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        if self.held() + bytes.len() > self.most {
            return Err(EventTooLarge);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next complete event.
    pub(super) fn next(&mut self) -> Option<NamedEvent> {
        while let Some(line) = self.line() {
            if !line.is_empty() {
                self.event.field(&line);
            } else if let Some(event) = std::mem::take(&mut self.event).finish() {
                return Some(event);
            }
        }
        None
    }

    /// The next line without its end: LF, CR LF or CR. After a CR at the very end, an LF may follow.
    fn line(&mut self) -> Option<Bytes> {
        let rest = self.pending.get(self.searched..)?;
        let Some(found) = memchr::memchr2(b'\n', b'\r', rest) else {
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

impl EventBuilder {
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
            b"event" => self.name = Some(String::from_utf8_lossy(value).into_owned()),
            // Comments.
            _ => {}
        }
    }

    fn finish(self) -> Option<NamedEvent> {
        let is_nothing = self.id.is_none() && self.retry.is_none() && self.data.is_none();
        let name = self.name.filter(|name| !name.is_empty() && name != "message");
        let data = self.data.map(Bytes::from).unwrap_or_default();
        let event = Event { id: self.id, retry: self.retry, data, ..Event::default() };
        (!is_nothing).then_some(NamedEvent { name, event })
    }
}
