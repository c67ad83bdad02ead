//! The heads of requests and answers that pass between a process and an API. What concerns one connection alone stays
//! there (RFC 9110, section 7.6.1), and so do credentials of either side.

use ::http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERER,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use ::http::{HeaderMap, HeaderName};

/// Headers of one connection.
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers in which some servers read another path or method than that of the request.
const OF_ANOTHER_REQUEST: [HeaderName; 5] = [
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// The headers of a process for the API: without credentials of its own, also in the header of Witgate's credential, and
/// without `Referer`, which may contain the secret of the path.
///
/// A cookie would be a credential, too. Clients send cookies by host, and all APIs are at one, so those of one API would
/// reach the others.
pub(super) fn for_api(headers: &HeaderMap, credential: &HeaderName) -> HeaderMap {
    let is_for_api = |name: &HeaderName| {
        ![HOST, EXPECT, AUTHORIZATION, COOKIE, REFERER].contains(name)
            && !is_alike(name, credential)
            && !OF_ANOTHER_REQUEST.iter().any(|other| is_alike(name, other))
    };
    passed_on(headers, is_for_api)
}

/// The headers of an API for a process.
pub(super) fn for_process(headers: &HeaderMap) -> HeaderMap {
    passed_on(headers, |name| *name != SET_COOKIE)
}

fn passed_on(headers: &HeaderMap, is_kept: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let named: Vec<_> =
        headers.get_all(CONNECTION).iter().flat_map(|value| tokens(value.as_bytes())).collect();
    let mut passed = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        let is_of_connection = OF_CONNECTION.contains(name) || named.contains(name);
        if !is_of_connection && is_kept(name) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

/// The names in a header `Connection`.
fn tokens(value: &[u8]) -> impl Iterator<Item = HeaderName> {
    value.split(|byte| *byte == b',').filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

/// True if some server reads both names as one: CGI and its successors write `-` as `_`.
fn is_alike(name: &HeaderName, other: &HeaderName) -> bool {
    let plain = |name: &HeaderName| name.as_str().replace('_', "-");
    plain(name) == plain(other)
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        all.iter().map(header).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_request_loses_credentials_and_headers_of_the_connection() {
        let sent = headers(&[
            ("Host", "127.0.0.1:1"),
            ("Authorization", "Bearer own"),
            ("X-API-Key", "own"),
            ("X_API_KEY", "own"),
            ("Cookie", "a=b"),
            ("Proxy-Authorization", "Basic x"),
            ("Connection", "close, X-Hop"),
            ("X-Hop", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Transfer-Encoding", "chunked"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("Content-Length", "3"),
            ("Referer", "http://127.0.0.1:1/secret/x"),
            ("X-Original-URL", "/admin"),
            ("X_Rewrite_URL", "/admin"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-HTTP-Method", "DELETE"),
            ("X-Method-Override", "DELETE"),
            ("Accept", "text/plain"),
            ("X-Other", "1"),
        ]);
        let passed = for_api(&sent, &HeaderName::from_static("x-api-key"));
        assert_eq!(names(&passed), ["accept", "content-length", "x-other"]);
    }

    #[test]
    fn an_answer_loses_cookies_and_headers_of_the_connection() {
        let sent = headers(&[
            ("Set-Cookie", "a=b"),
            ("Connection", "X-Hop"),
            ("Connection", "keep-alive"),
            ("X-Hop", "1"),
            ("Location", "https://elsewhere.example.com/"),
            ("Content-Type", "text/plain"),
        ]);
        assert_eq!(names(&for_process(&sent)), ["content-type", "location"]);
    }
}
