//! The HTTP responses of the listener.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::body::Body;
use witgate_flow::reject::wire::Wire;
use witgate_flow::reject::{RejectedMessage, Rejection};
use witgate_message::fault::MessageFault;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// A header that stops nginx from buffering events.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The response to a request that is refused at no endpoint.
pub(super) fn plain(rejection: Rejection) -> Response<Body> {
    let wire = rejection.wire();
    render(&wire, &rejection.into(), None, &[])
}

pub(super) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = with_status(status, Body::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

pub(super) fn event_stream(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = with_status(status, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_CACHE);
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

pub(super) fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = plain(MessageFault::MethodNotAllowed.into());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

pub(super) fn not_found() -> Response<Body> {
    json(StatusCode::NOT_FOUND, Bytes::from_static(br#"{"error":"there is nothing here"}"#))
}

pub(super) fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// The response to a refused request.
pub(super) fn render(
    wire: &Wire,
    rejected: &RejectedMessage,
    metadata: Option<&str>,
    scopes: &[String],
) -> Response<Body> {
    let id = rejected.id.as_deref();
    let mut response = json(wire.status(id.is_some()), wire.body(id));
    response.headers_mut().extend(wire.headers(metadata, scopes));
    response
}
