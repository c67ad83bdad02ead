//! A connection with the time of its last progress: bytes that were sent or taken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

/// The number of times that a connection has made progress.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionProgress(Arc<AtomicU64>);

/// A stream that counts its progress.
#[derive(Debug)]
pub(super) struct ProgressStream<S> {
    stream: S,
    progress: ConnectionProgress,
}

impl ConnectionProgress {
    fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until there has been none for this time, at least, and less than twice as long.
    pub(super) async fn ceased(&self, time: Duration) {
        let count = || self.0.load(Ordering::Relaxed);
        let mut before = count();
        loop {
            sleep(time).await;
            if count() == before {
                return;
            }
            before = count();
        }
    }
}

impl<S> ProgressStream<S> {
    pub(super) fn new(stream: S) -> (Self, ConnectionProgress) {
        let progress = ConnectionProgress::default();
        (Self { stream, progress: progress.clone() }, progress)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ProgressStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.progress.note();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ProgressStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.progress.note();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
        self.progress.note();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test]
    async fn bytes_in_either_direction_are_progress() {
        let time = Duration::from_millis(200);
        let (mut process, gateway) = tokio::io::duplex(16);
        let (mut stream, progress) = ProgressStream::new(gateway);
        let begin = Instant::now();
        let talk = async {
            for _ in 0..5 {
                process.write_all(b"x").await.unwrap();
                stream.read_u8().await.unwrap();
                sleep(time / 2).await;
            }
        };
        assert!(timeout(time * 10, async { tokio::join!(talk, progress.ceased(time)) }).await.is_ok());
        assert!(begin.elapsed() >= time * 3, "{:?}", begin.elapsed());
        // Nobody takes what is sent.
        assert!(timeout(time * 5, stream.write_all(&[0; 64])).await.is_err());
    }
}
