//! A stream that reserves memory for the heads of its requests. hyper holds a whole head in memory, and keeps the
//! buffer for it until the connection ends.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::table::Connection;
use witgate_base::peer::Peer;
use witgate_runtime::memory::{FREE, Reservation};

/// The maximum size of one read into a buffer larger than the 8 KiB with which hyper begins. hyper doubles the buffer
/// after each read that fills it, and shrinks it after reads that fill less than half.
const AT_ONCE: usize = FREE - 1;

/// A stream that reserves memory for heads.
pub(crate) struct MeteredStream<S> {
    stream: S,
    connection: Arc<Connection>,
    held: Reservation<Peer>,
    /// The number of bytes of the current head so far.
    head: usize,
    /// The number of heads before the current one.
    heads: u32,
    /// True if the last write waits for the client.
    is_blocked: bool,
}

impl<S> MeteredStream<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>, held: Reservation<Peer>) -> Self {
        Self { stream, connection, held, head: 0, heads: 0, is_blocked: false }
    }

    fn count(&mut self, read: usize) -> io::Result<()> {
        let heads = self.connection.heads();
        if heads != self.heads {
            (self.heads, self.head) = (heads, 0);
        }
        if self.connection.is_under_way() {
            return Ok(());
        }
        self.head += read;
        let full = |_| io::Error::new(io::ErrorKind::OutOfMemory, "too many large heads at once");
        self.held.cover(self.head).map_err(full)
    }

    fn written<T>(&mut self, outcome: Poll<T>) -> Poll<T> {
        if outcome.is_pending() != self.is_blocked {
            self.is_blocked = outcome.is_pending();
            self.connection.set_blocked(self.is_blocked);
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
        let read = if buffer.remaining() <= FREE {
            let before = buffer.filled().len();
            ready!(stream.poll_read(context, buffer))?;
            buffer.filled().len() - before
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(AT_ONCE));
            ready!(stream.poll_read(context, &mut part))?;
            let read = part.filled().len();
            buffer.advance(read);
            read
        };
        Poll::Ready(self.count(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.written(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
