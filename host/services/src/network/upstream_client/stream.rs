//! The bytes of a connection to an upstream.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::network::way::ProxyStream;

/// A connection with TLS to the upstream, to a proxy, or both.
type SecureStream = TokioIo<MaybeHttpsStream<ProxyStream>>;

/// A connection to an upstream.
pub(super) enum UpstreamStream {
    Plain(TcpStream),
    Secure(Box<SecureStream>),
}

impl From<MaybeHttpsStream<ProxyStream>> for UpstreamStream {
    fn from(stream: MaybeHttpsStream<ProxyStream>) -> Self {
        match stream {
            MaybeHttpsStream::Http(MaybeHttpsStream::Http(stream)) => Self::Plain(stream.into_inner()),
            stream => Self::Secure(Box::new(TokioIo::new(stream))),
        }
    }
}

impl UpstreamStream {
    /// Reads into the free capacity of `received`.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        received: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => pin!(stream.read_buf(received)).poll(context),
            Self::Secure(stream) => pin!(stream.read_buf(received)).poll(context),
        }
    }

    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    /// True if the server has neither sent anything nor closed the connection. It does not wait.
    pub(super) fn is_quiet(&mut self, context: &mut Context<'_>) -> bool {
        let mut byte = [0];
        match self {
            // Asks the system, because the runtime learns of new bytes only when it has nothing else to do.
            Self::Plain(stream) => {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                matches!(rustix::net::recv(&*stream, &mut byte, flags), Err(Errno::AGAIN))
            }
            // Only TLS knows whether bytes that have arrived are for it or for HTTP.
            Self::Secure(stream) => {
                Pin::new(stream).poll_read(context, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}
