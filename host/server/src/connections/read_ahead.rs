//! A stream that reads its first bytes itself before hyper reads. So a connection without a request needs no buffers.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The maximum number of bytes that are read ahead.
const ROOM: usize = 64;

/// A stream with the bytes that were read ahead.
pub(super) struct ReadAhead<S> {
    stream: S,
    bytes: [u8; ROOM],
    /// The range of `bytes` that hyper has not read yet: `from..to`.
    from: usize,
    to: usize,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, bytes: [0; ROOM], from: 0, to: 0 }
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    /// Waits for the first bytes. False: the stream has ended or is broken.
    pub(super) async fn wait(&mut self) -> bool {
        poll_fn(|context| {
            if self.from == self.to {
                let mut buffer = ReadBuf::new(&mut self.bytes);
                let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
                (self.from, self.to) = (0, buffer.filled().len());
                return Poll::Ready(read.is_ok() && self.to > 0);
            }
            Poll::Ready(true)
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unread = self.bytes.get(self.from..self.to).unwrap_or_default();
        if unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = unread.len().min(buffer.remaining());
        buffer.put_slice(unread.get(..count).unwrap_or_default());
        self.from += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn all_bytes_are_read_in_order_and_the_end_is_reported() {
        let (mut client, server) = duplex(1000);
        let mut stream = ReadAhead::new(server);
        let sent: Vec<u8> = (0..200).collect();
        client.write_all(&sent).await.unwrap();
        assert!(stream.wait().await && stream.wait().await);
        let mut read = vec![0; 10];
        stream.read_exact(&mut read).await.unwrap();
        let mut rest = vec![0; 190];
        stream.read_exact(&mut rest).await.unwrap();
        assert_eq!([read, rest].concat(), sent);
        drop(client);
        assert!(!stream.wait().await);
    }
}
