//! The PROXY protocol, version 2: the header that a proxy sends first on each connection, before TLS.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// The time limit. The proxy sends the header before any bytes of the client, so it comes soon.
const TIME: Duration = Duration::from_secs(5);

/// The size of the fixed part: signature, version, command, family and length.
const FIXED: usize = 16;

/// The position of the command byte.
const COMMAND: usize = 12;

/// The command for the proxy's own connections, such as health checks.
const LOCAL: u8 = 0x20;

/// The maximum size of the part after the fixed one. Two addresses have 36 bytes, and load balancers add some hundred.
const LARGEST: usize = 4 << 10;

/// Reads a header, and not a byte after it. Returns the client's address. None: the connection is the proxy's own.
///
/// # Errors
/// If there is no such header, it is too long or too late, or it does not name a TCP address.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    timeout(TIME, header(stream)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let [.., high, low] = fixed;
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if !fixed.starts_with(b"\r\n\r\n\0\r\nQUIT\n") || rest > LARGEST {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut header = fixed.to_vec();
    header.resize(FIXED + rest, 0);
    stream.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
    client(&header).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// The address in a header. The inner `None`: the connection is the proxy's own. The outer `None`: the header is
/// malformed, or does not describe a TCP connection.
fn client(header: &[u8]) -> Option<Option<SocketAddr>> {
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let (parsed, length) = ProxyHeader::parse(header, config).ok()?;
    if length != header.len() {
        return None;
    }
    match parsed.proxied_address() {
        Some(address) if address.protocol == proxy_header::Protocol::Stream => Some(Some(address.source)),
        None if header.get(COMMAND) == Some(&LOCAL) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with this command, family and rest, and a request after it.
    fn bytes(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes.extend(b"GET /");
        bytes
    }

    const TCP: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

    #[tokio::test]
    async fn a_proxy_header_names_the_client_and_consumes_no_byte_of_the_request() {
        let whole = bytes(0x21, 0x11, &TCP);
        let mut stream = &*whole;
        assert_eq!(read(&mut stream).await.unwrap(), Some("192.0.2.1:4711".parse().unwrap()));
        assert_eq!(stream, b"GET /");
        let mut with_more = TCP.to_vec();
        with_more.extend([0xea, 0, 3, 1, 2, 3]);
        let whole = bytes(0x21, 0x11, &with_more);
        let mut stream = &*whole;
        assert_eq!(read(&mut stream).await.unwrap(), Some("192.0.2.1:4711".parse().unwrap()));
        assert_eq!(stream, b"GET /");
        let whole = bytes(0x20, 0x00, &[]);
        assert_eq!(read(&mut &*whole).await.unwrap(), None);
    }

    #[tokio::test]
    async fn other_bytes_are_no_proxy_header() {
        let unix = [0; 216];
        for (what, bytes) in [
            ("nothing", Vec::new()),
            ("a request", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
            ("version 1", b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec()),
            ("another version", bytes(0x11, 0x11, &TCP)),
            ("another command", bytes(0x22, 0x11, &TCP)),
            ("no family", bytes(0x21, 0x00, &[])),
            ("UDP", bytes(0x21, 0x12, &TCP)),
            ("a Unix socket", bytes(0x21, 0x31, &unix)),
            ("half an address", bytes(0x21, 0x11, &TCP[..8])),
            ("an address of the other family", bytes(0x21, 0x21, &TCP)),
            ("too much", bytes(0x21, 0x11, &[0; LARGEST + 1])),
            ("the half of it", bytes(0x21, 0x11, &TCP)[..20].to_vec()),
        ] {
            assert!(read(&mut &*bytes).await.is_err(), "{what}");
        }
    }
}
