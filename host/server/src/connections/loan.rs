//! A stream that is lent to hyper, and returns when hyper's connection is dropped.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A lent stream. Dropping the loan returns the stream.
pub(super) struct Loan<S> {
    /// Empty only after [`Drop`] has taken the stream.
    stream: Option<S>,
    home: Arc<Mutex<Option<S>>>,
}

/// The place to which a lent stream returns.
pub(super) struct ReturnSlot<S>(Arc<Mutex<Option<S>>>);

impl<S> Loan<S> {
    pub(super) fn new(stream: S) -> (Self, ReturnSlot<S>) {
        let home = Arc::new(Mutex::new(None));
        (Self { stream: Some(stream), home: Arc::clone(&home) }, ReturnSlot(home))
    }

    fn stream(&mut self) -> io::Result<&mut S> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> ReturnSlot<S> {
    /// The stream, if it has been returned.
    pub(super) fn take(self) -> Option<S> {
        self.0.lock().take()
    }
}

impl<S> Drop for Loan<S> {
    fn drop(&mut self) {
        *self.home.lock() = self.stream.take();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Loan<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.stream()?).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Loan<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.stream()?).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.stream()?).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream()?).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream()?).poll_shutdown(context)
    }
}
