//! A connection to an upstream, with the request that it sends and the answer that it receives.

use std::io::{self, IoSlice};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use ::http::Request;
use ::http::uri::Authority;
use bytes::{Buf as _, Bytes, BytesMut};

use super::answer_body::BodyDecoder;
use super::answer_head::{AnswerHead, AnswerLength, HeadReader};
use super::fault::{HttpAnswerFault, WireFault};
use super::idle::IdleConnections;
use super::request_head;
use super::stream::UpstreamStream;

/// Minimum and maximum number of bytes that are read at once.
const LEAST_ROOM: usize = 8 << 10;
const MOST_ROOM: usize = 64 << 10;

/// The largest buffer that an idle connection keeps.
const KEPT_ROOM: usize = 16 << 10;

/// The idle connections to upstreams.
pub(super) type IdleUpstreams = IdleConnections<Box<UpstreamConnection>>;

/// A connection to an upstream. Dropping it closes it.
pub(super) struct UpstreamConnection {
    stream: UpstreamStream,
    server: Authority,
    /// The place for the connection while it is idle.
    idle: Weak<IdleUpstreams>,
    /// Bytes that were received and not decoded yet.
    received: BytesMut,
    /// The number of bytes to read at once.
    room: usize,
    /// The head of the request, of which so many bytes are sent.
    head: Vec<u8>,
    head_sent: usize,
    /// The rest of the body of the request.
    unsent: Bytes,
    progress: SendProgress,
    answer: BodyDecoder,
    /// True if no other request may follow.
    is_last: bool,
}

enum SendProgress {
    /// A part of the request is not sent.
    Unsent,
    /// The request is sent.
    Sent,
    /// The server reads no further. It may have answered before.
    Failed(io::Error),
}

impl UpstreamConnection {
    pub(super) fn new(stream: UpstreamStream, server: Authority, idle: &Arc<IdleUpstreams>) -> Self {
        Self {
            stream,
            server,
            idle: Arc::downgrade(idle),
            received: BytesMut::new(),
            room: LEAST_ROOM,
            head: Vec::new(),
            head_sent: 0,
            unsent: Bytes::new(),
            progress: SendProgress::Sent,
            answer: BodyDecoder::new(AnswerLength::Fixed(0)),
            is_last: false,
        }
    }

    /// True if the server has neither closed the connection nor sent bytes that nobody asked for.
    pub(super) fn is_quiet(&mut self, context: &mut Context<'_>) -> bool {
        self.stream.is_quiet(context)
    }

    /// Begins a request. [`Self::poll_head`] sends it.
    pub(super) fn begin<B>(&mut self, request: &Request<B>, body: Bytes) {
        self.head.clear();
        request_head::write(&mut self.head, request, body.len());
        self.head_sent = 0;
        self.unsent = body;
        self.progress = SendProgress::Unsent;
        self.is_last = request_head::is_last(request.headers());
    }

    /// Sends the request, and receives the head of the answer.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut HeadReader,
    ) -> Poll<Result<AnswerHead, WireFault>> {
        self.send(context);
        loop {
            if let Some(head) = reader.read(&mut self.received)? {
                self.answer = BodyDecoder::new(head.length);
                // After an early answer, the server may take the rest of the request for the next one.
                self.is_last |= head.is_last || !self.is_sent();
                return Poll::Ready(Ok(head));
            }
            match ready!(self.poll_receive(context)) {
                Ok(0) => return Poll::Ready(Err(self.end())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Receives the next bytes of the body. None: it has ended.
    pub(super) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireFault>>> {
        self.send(context);
        loop {
            match self.answer.next(&mut self.received) {
                Ok(None) if self.answer.is_ended() => return Poll::Ready(None),
                Ok(None) => {}
                decoded => return Poll::Ready(decoded.map_err(WireFault::from).transpose()),
            }
            match ready!(self.poll_receive(context)) {
                Ok(0) => self.answer.finish()?,
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// The whole body, if it has arrived with the head.
    pub(super) fn whole_body(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.answer.rest()?).ok()?;
        if length > self.received.len() {
            return None;
        }
        self.answer = BodyDecoder::new(AnswerLength::Fixed(0));
        Some(self.received.split_to(length).freeze())
    }

    /// True if the whole body has been received.
    pub(super) fn is_ended(&self) -> bool {
        self.answer.is_ended()
    }

    /// The number of missing bytes of the body, if the server has declared it.
    pub(super) fn rest(&self) -> Option<u64> {
        self.answer.rest()
    }

    /// Keeps the connection for the next request, if it has ended this one properly. Bytes after the answer could be
    /// taken for the next answer, so they close the connection.
    pub(super) fn release(mut self: Box<Self>) {
        let may_stay = self.is_sent() && self.is_ended() && !self.is_last && self.received.is_empty();
        let Some(idle) = self.idle.upgrade().filter(|_| may_stay) else { return };
        // A small rest of a large buffer keeps all of it.
        if self.room > LEAST_ROOM || self.received.capacity() > KEPT_ROOM {
            self.received = BytesMut::new();
        }
        self.head.clear();
        self.head.shrink_to(KEPT_ROOM);
        let server = self.server.clone();
        idle.put(&server, self);
    }

    fn is_sent(&self) -> bool {
        matches!(self.progress, SendProgress::Sent)
    }

    /// The fault of a connection that ended before the answer.
    fn end(&mut self) -> WireFault {
        match std::mem::replace(&mut self.progress, SendProgress::Unsent) {
            SendProgress::Failed(error) => error.into(),
            SendProgress::Unsent | SendProgress::Sent => HttpAnswerFault::Incomplete.into(),
        }
    }

    /// Sends as much of the request as the connection takes. An error is no end: the server may have answered.
    fn send(&mut self, context: &mut Context<'_>) {
        if matches!(self.progress, SendProgress::Unsent)
            && let Poll::Ready(sent) = self.poll_send(context)
        {
            self.progress = sent.map_or_else(SendProgress::Failed, |()| SendProgress::Sent);
            // What is sent, or never will be, would stay in memory for as long as the connection.
            self.unsent = Bytes::new();
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = self.head.get(self.head_sent..).unwrap_or_default();
            if head.is_empty() && self.unsent.is_empty() {
                return self.stream.poll_flush(context);
            }
            let parts = [IoSlice::new(head), IoSlice::new(&self.unsent)];
            let parts = if head.is_empty() { parts.get(1..).unwrap_or_default() } else { &parts };
            let sent = ready!(self.stream.poll_write(context, parts))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = sent.min(head.len());
            self.head_sent += of_head;
            self.unsent.advance(sent - of_head);
        }
    }

    /// Receives bytes. The more arrive at once, the more are read at once.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.reserve(self.room);
        let count = ready!(self.stream.poll_read(context, &mut self.received))?;
        if count >= self.room {
            self.room = (2 * self.room).min(MOST_ROOM);
        } else if count < self.room / 2 {
            self.room = (self.room / 2).max(LEAST_ROOM);
        }
        Poll::Ready(Ok(count))
    }
}
