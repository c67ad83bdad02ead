//! The head of a request as bytes (RFC 9112, section 3).

use std::io::Write as _;

use ::http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use ::http::uri::Scheme;
use ::http::{HeaderMap, Method, Request, Uri};

use super::answer_head::closes;

/// Writes the head of a request whose body has `length` bytes. The body has exactly this length, whatever the headers
/// of the configuration say.
pub(super) fn write<B>(head: &mut Vec<u8>, request: &Request<B>, length: usize) {
    let (uri, headers) = (request.uri(), request.headers());
    head.extend_from_slice(request.method().as_str().as_bytes());
    head.push(b' ');
    write_target(head, uri);
    head.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    write_host(head, uri, headers);
    head.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    if length > 0 || request.method() == Method::POST {
        // Writing to memory does not fail.
        _ = write!(head, "content-length: {length}\r\n");
    }
    head.extend_from_slice(b"\r\n");
}

/// True if the request asks the server to close the connection.
pub(super) fn is_last(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(closes)
}

/// The target in origin form. Proxies are passed through tunnels, so they see no request.
fn write_target(head: &mut Vec<u8>, uri: &Uri) {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with('/') {
        head.push(b'/');
    }
    head.extend_from_slice(target.as_bytes());
}

/// The host of the configuration's headers, or that of the URL without the usual port.
fn write_host(head: &mut Vec<u8>, uri: &Uri, headers: &HeaderMap) {
    if let Some(host) = headers.get(HOST) {
        return head.extend_from_slice(host.as_bytes());
    }
    head.extend_from_slice(uri.host().unwrap_or_default().as_bytes());
    let usual = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    if let Some(port) = uri.port_u16().filter(|port| *port != usual) {
        _ = write!(head, ":{port}");
    }
}
