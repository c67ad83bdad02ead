//! Access of pages in browsers to answers (Fetch, "CORS protocol"). A browser sends an `OPTIONS` request without a
//! credential before the request itself, so Witgate answers it without authentication. The answer gives no access: each
//! call is authenticated and authorized by itself.

use std::collections::BTreeSet;

use ::http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::body::Body;
use super::responses::with_status;
use witgate_flow::decision::DECISION_HEADER;
use witgate_message::headers::origin::AllowedNames;
use witgate_message::headers::{
    DPOP, DPOP_NONCE, LAST_EVENT_ID, METHOD, NAME, PARAM_PREFIX, PROTOCOL_VERSION, SESSION_ID,
};

/// The headers that callers of an endpoint send, in addition to the headers that policies read.
const SENT: [HeaderName; 12] = [
    CONTENT_TYPE,
    ACCEPT,
    AUTHORIZATION,
    DPOP,
    SESSION_ID,
    PROTOCOL_VERSION,
    LAST_EVENT_ID,
    METHOD,
    NAME,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// The headers of an answer that clients read.
const READ: [HeaderName; 8] = [
    SESSION_ID,
    WWW_AUTHENTICATE,
    PROTOCOL_VERSION,
    DPOP_NONCE,
    RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    DECISION_HEADER,
];

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");

/// The time in seconds for which a browser may cache the answer. It is short, because a reload may change the headers
/// that carry credentials.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

const ANYBODY: HeaderValue = HeaderValue::from_static("*");

/// The pages that may read the answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// The pages of this origin, which the request names.
    Origin(HeaderValue),
    /// All pages, because the answer is public.
    Anybody,
    /// No page of another origin.
    Nobody,
}

impl Readers {
    /// The pages of the origin that the request names, if it is allowed.
    pub(super) fn of(headers: &HeaderMap, names: &AllowedNames) -> Self {
        match headers.get(ORIGIN) {
            Some(origin) if names.check_origin(headers).is_ok() => Self::Origin(origin.clone()),
            _ => Self::Nobody,
        }
    }

    /// Adds the headers for these readers to any answer.
    pub(super) fn mark(self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        let origin = match self {
            Self::Anybody => ANYBODY,
            Self::Origin(origin) => {
                headers.append(VARY, ORIGIN.into());
                origin
            }
            Self::Nobody => {
                headers.append(VARY, ORIGIN.into());
                return;
            }
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if let Some(names) = list(&READ, []) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
    }
}

/// True if a browser asks for permission to send a request.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The permission to send a request, for a page of an allowed origin. `read` are the headers that the live policies
/// read.
pub(super) fn preflight(asked: &HeaderMap, read: impl Iterator<Item = HeaderName>) -> Response<Body> {
    let mut response = with_status(StatusCode::NO_CONTENT, Body::empty());
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(names) = list(&SENT, read.chain(repeated_arguments(asked))) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    response
}

/// The requested headers that repeat arguments of a tool. The tools name them, so there is no fixed list.
fn repeated_arguments(asked: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let lines = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|line| line.to_str().ok());
    let names =
        lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    names.filter(|name| name.as_str().starts_with(PARAM_PREFIX))
}

fn list(names: &[HeaderName], further: impl IntoIterator<Item = HeaderName>) -> Option<HeaderValue> {
    // A set, not a nested loop: callers without a credential may ask for thousands of headers.
    let further: Vec<_> = further.into_iter().collect();
    let all: BTreeSet<&str> = names.iter().chain(&further).map(HeaderName::as_str).collect();
    HeaderValue::try_from(Vec::from_iter(all).join(", ")).ok()
}
