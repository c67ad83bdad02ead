//! A check of line ends in the heads of requests: only CR LF ends a line (RFC 9112, section 2.2). hyper also accepts a
//! lone LF. A proxy in front of Witgate that does not accept it would pass text on as the value of a header, and
//! Witgate would read the same text as another header or request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// hyper has got a head, but has not read it yet. So the length of its body is unknown.
const UNKNOWN: u64 = u64::MAX;
/// The body is chunked. Only hyper knows where it ends.
const CHUNKED: u64 = u64::MAX - 1;

/// The position within the requests of a connection. hyper's service and [`Heads`] share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Framing(Arc<FramingState>);

#[derive(Debug, Default)]
struct FramingState {
    /// The number of bytes of the body that hyper may read before the next head begins; or [`UNKNOWN`] or [`CHUNKED`].
    body: AtomicU64,
    /// True if a part of a head has arrived, or bytes after the last request.
    has_begun: AtomicBool,
}

impl Framing {
    /// True if all bytes so far belong to complete requests.
    pub(super) fn is_between_requests(&self) -> bool {
        self.body() == 0 && !self.0.has_begun.load(Ordering::Relaxed)
    }

    fn body(&self) -> u64 {
        self.0.body.load(Ordering::Relaxed)
    }

    fn set_body(&self, bytes: u64) {
        self.0.body.store(bytes, Ordering::Relaxed);
    }

    fn set_begun(&self, has_begun: bool) {
        self.0.has_begun.store(has_begun, Ordering::Relaxed);
    }

    /// Notes the first bytes of a head.
    #[cfg(test)]
    pub(super) fn begin(&self) {
        self.set_begun(true);
    }

    /// Notes the length of the body after a head that hyper has read. False: the end of the body is unknown, so no
    /// further request may follow on this connection.
    pub(super) fn note(&self, body: &Incoming) -> bool {
        let length = match body.is_end_stream() {
            true => Some(0),
            false => body.size_hint().exact(),
        };
        self.set_body(length.unwrap_or(CHUNKED));
        length.is_some()
    }
}

/// A stream that replaces each lone LF in a head by NUL. hyper answers such a head with 400.
#[derive(Debug)]
pub(super) struct Heads<S> {
    stream: S,
    /// Bytes after a head. They are held until the length of the body is known.
    held: BytesMut,
    framing: Framing,
    line: HeadPosition,
    /// True if the last byte of the head was a CR.
    is_after_cr: bool,
}

/// The position of the next byte in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadPosition {
    /// Before the first line. Empty lines are allowed here.
    Before,
    /// Within a line.
    Within,
    /// At the beginning of a line that is not the first.
    Start,
}

impl<S> Heads<S> {
    pub(super) fn new(stream: S) -> Self {
        let (held, framing) = (BytesMut::new(), Framing::default());
        Self { stream, held, framing, line: HeadPosition::Before, is_after_cr: false }
    }

    /// The framing. The service has to note each head that hyper has read.
    pub(super) fn framing(&self) -> Framing {
        self.framing.clone()
    }
}

/// Scans a further part of a head. Returns the end of the head.
fn scan(bytes: &mut [u8], line: &mut HeadPosition, is_after_cr: &mut bool) -> Option<usize> {
    let mut start = 0;
    while let Some(rest) = bytes.get_mut(start..).filter(|rest| !rest.is_empty()) {
        let feed = memchr(b'\n', rest);
        let (text, rest) = rest.split_at_mut(feed.unwrap_or(rest.len()));
        if text.iter().any(|byte| *byte != b'\r') {
            *line = HeadPosition::Within;
        }
        *is_after_cr = text.last().map_or(*is_after_cr, |last| *last == b'\r');
        start += feed? + 1;
        match (std::mem::take(is_after_cr), *line) {
            (true, HeadPosition::Start) => {
                *line = HeadPosition::Before;
                return Some(start);
            }
            (true, HeadPosition::Within) => *line = HeadPosition::Start,
            (true, HeadPosition::Before) => {}
            (false, _) => rest.iter_mut().take(1).for_each(|feed| *feed = 0),
        }
    }
    None
}

impl<S: AsyncRead + Unpin> Heads<S> {
    fn note_begun(&self) {
        // hyper has already read a lone CR, and refuses the bytes after it.
        let has_begun = self.line != HeadPosition::Before || self.is_after_cr || !self.held.is_empty();
        self.framing.set_begun(has_begun);
    }

    /// Reads a head, and no bytes after it.
    fn read_head(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, held, line, is_after_cr, .. } = self;
        let ends = if held.is_empty() {
            let start = buffer.filled().len();
            ready!(Pin::new(stream).poll_read(context, buffer))?;
            let read = buffer.filled_mut().get_mut(start..).unwrap_or_default();
            let end = scan(read, line, is_after_cr);
            if let Some(end) = end {
                hold(held, buffer, start + end);
            }
            end.is_some()
        } else {
            let length = held.len().min(buffer.remaining());
            let end = scan(held.get_mut(..length).unwrap_or_default(), line, is_after_cr);
            take(held, buffer, end.unwrap_or(length));
            end.is_some()
        };
        if ends {
            self.framing.set_body(UNKNOWN);
        }
        self.note_begun();
        Poll::Ready(Ok(()))
    }

    /// Reads at most `most` bytes of a body. Returns their number.
    fn read_body(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        most: u64,
    ) -> Poll<io::Result<u64>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let start = buffer.filled().len();
        if self.held.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            let end = buffer.filled().len().min(start.saturating_add(most));
            hold(&mut self.held, buffer, end);
        } else {
            let length = self.held.len().min(buffer.remaining()).min(most);
            take(&mut self.held, buffer, length);
        }
        Poll::Ready(Ok((buffer.filled().len() - start) as u64))
    }
}

/// Moves the bytes after `end` from `buffer` to `held`.
fn hold(held: &mut BytesMut, buffer: &mut ReadBuf<'_>, end: usize) {
    held.extend_from_slice(buffer.filled().get(end..).unwrap_or_default());
    buffer.set_filled(end);
}

/// Moves `length` bytes from `held` to `buffer`.
fn take(held: &mut BytesMut, buffer: &mut ReadBuf<'_>, length: usize) {
    buffer.put_slice(held.get(..length).unwrap_or_default());
    held.advance(length);
}

impl<S: AsyncRead + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.framing.body() {
            0 => self.read_head(context, buffer),
            // hyper has got the head. It reads on after the service has noted the length of the body.
            UNKNOWN => Poll::Pending,
            CHUNKED => self.read_body(context, buffer, u64::MAX).map_ok(drop),
            left => {
                let read = ready!(self.read_body(context, buffer, left))?;
                self.framing.set_body(left - read);
                self.note_begun();
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
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
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::super::table::{ConnectionLimits, Connections};
    use super::super::{ConnectionEnds, Listener, serve};
    use super::*;
    use witgate_runtime::memory::RequestMemory;

    /// A server that answers each request with its headers and its body.
    async fn mirror() -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let respond = |request: Request<Incoming>, _: ConnectionEnds| async {
            let (head, body) = request.into_parts();
            let headers = head.headers.keys().map(|name| format!("{name}\n")).collect::<String>();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let said = format!("{} {}\n{headers}{}", head.method, head.uri, String::from_utf8_lossy(&body));
            Response::new(Full::new(bytes::Bytes::from(said)))
        };
        let connections =
            Connections::new(ConnectionLimits { all: 100, of_one: 100 }, RequestMemory::new(1 << 20));
        let listener = Listener {
            socket,
            tls: None,
            connections,
            workers: Arc::default(),
            cut: CancellationToken::new(),
        };
        tokio::spawn(serve(listener, CancellationToken::new(), Duration::ZERO, respond));
        address
    }

    /// Sends the pieces one after the other. Reads until the server closes the connection, or for one second.
    async fn send(address: &str, pieces: &[&[u8]]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in pieces {
            // The server may close the connection of a refused request before all of it is sent.
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut said = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut said)).await;
        String::from_utf8(said).unwrap()
    }

    #[tokio::test]
    async fn a_lone_line_feed_in_a_head_is_refused() {
        let address = mirror().await;
        let good = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n\n\n";
        for head in [
            "GET /a HTTP/1.1\nHost: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n",
            "GET /a HTTP/1.1\r\nX: 1\nContent-Length: 5\r\nHost: h\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\r\n\nGET /b HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: h\n\r\n",
            "GET /a HTTP/1.1\nHost: h\n\n",
            "\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ] {
            for before in ["", good, &good.repeat(3)] {
                let said = send(&address, &[before.as_bytes(), head.as_bytes()]).await;
                assert_eq!(
                    said.matches("HTTP/1.1 200 OK").count(),
                    before.len() / good.len(),
                    "{head:?}: {said}"
                );
                assert_eq!(said.matches("HTTP/1.1 400 Bad Request").count(), 1, "{head:?}: {said}");
            }
            let bytes: Vec<&[u8]> = head.as_bytes().chunks(1).collect();
            let said = send(&address, &bytes).await;
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 Bad Request"), "{head:?}: {said}");
        }
    }

    #[tokio::test]
    async fn line_feeds_in_bodies_pass_however_requests_are_split() {
        let address = mirror().await;
        let body = "{\n\"a\":\n\n1}\n";
        let post = format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let get = "\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n";
        let all = [&post, get, &post, &post, get].concat();
        for size in [1, 7, 64, 10_000] {
            let said = send(&address, &all.as_bytes().chunks(size).collect::<Vec<_>>()).await;
            assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 5, "{size}: {said}");
            assert_eq!(said.matches(body).count(), 3, "{size}: {said}");
        }
    }

    /// During the pause, the connection gives its buffers back.
    #[tokio::test]
    async fn requests_after_a_pause_are_answered() {
        let address = mirror().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let post = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab\r\n";
        for pieces in [vec![&post[..]], vec![&post[..1], &post[1..]], vec![b"\r\n", &post[..20], &post[20..]]]
        {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let mut response = vec![0; 4096];
            let length = stream.read(&mut response).await.unwrap();
            let text = String::from_utf8_lossy(&response[..length]);
            assert!(
                text.starts_with("HTTP/1.1 200 OK") && text.ends_with("content-length\nab\r\n"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_part_of_a_head_is_no_pause_between_requests() {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for (sent, is_between) in [
            (&b""[..], true),
            (b"\r\n", true),
            (b"\r", false),
            (b"\r\n\r", false),
            (b"G", false),
            (&request[..20], false),
            (request, false),
        ] {
            let (mut client, server) = tokio::io::duplex(1000);
            let mut heads = Heads::new(server);
            let framing = heads.framing();
            client.write_all(sent).await.unwrap();
            drop(client);
            let mut read = Vec::new();
            let reading = heads.read_to_end(&mut read);
            let _ = tokio::time::timeout(Duration::from_millis(20), reading).await;
            assert_eq!(framing.is_between_requests(), is_between, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn no_request_follows_a_chunked_body() {
        let address = mirror().await;
        let chunked =
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n";
        let said = send(&address, &[chunked.as_bytes(), b"GET /b HTTP/1.1\nHost: h\n\n"]).await;
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
        assert!(said.contains("connection: close") && said.contains("a\nb"), "{said}");
    }

    /// The same, a byte at a time.
    fn scanned_by_bytes(bytes: &mut [u8]) -> Option<usize> {
        let (mut line, mut is_after_cr) = (HeadPosition::Before, false);
        for (at, byte) in bytes.iter_mut().enumerate() {
            let ends_line = *byte == b'\n' && is_after_cr;
            is_after_cr = *byte == b'\r';
            match (*byte, line) {
                (_, HeadPosition::Start) if ends_line => return Some(at + 1),
                (_, HeadPosition::Within) if ends_line => line = HeadPosition::Start,
                (_, HeadPosition::Before) if ends_line => {}
                (b'\n', _) => *byte = 0,
                (b'\r', _) => {}
                _ => line = HeadPosition::Within,
            }
        }
        None
    }

    proptest! {
        #[test]
        fn a_head_is_scanned_alike_in_whatever_parts(text in "[\r\na]{0,24}", part in 1_usize..8) {
            let (mut whole, mut in_parts) = (text.clone().into_bytes(), text.into_bytes());
            let expected = scanned_by_bytes(&mut whole);
            let (mut line, mut is_after_cr) = (HeadPosition::Before, false);
            let mut before = 0;
            let mut end = None;
            for bytes in in_parts.chunks_mut(part) {
                end = scan(bytes, &mut line, &mut is_after_cr).map(|end| before + end);
                before += bytes.len();
                if end.is_some() {
                    break;
                }
            }
            prop_assert_eq!(end, expected);
            prop_assert_eq!(in_parts, whole);
        }
    }

    #[tokio::test]
    async fn reading_heads_is_linear() {
        let read = |head: String| {
            let mut bytes = head.into_bytes();
            assert_eq!(scan(&mut bytes, &mut HeadPosition::Before, &mut false), None);
        };
        witgate_testing::growth::assert_linear("lines of a head", 40_000, |n| "a: b\r\n".repeat(n), read);
    }
}
