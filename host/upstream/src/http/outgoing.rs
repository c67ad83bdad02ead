//! The requests to an HTTP upstream. Headers are named one by one, and no others are passed on: no credential, no
//! cookie, no address of the caller.

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use bytes::Bytes;
use http_body_util::Full;

use crate::bridge::MODERN;
use crate::identity::{RequestSender, introduce};
use witgate_config::identity::IdentitySettings;
use witgate_flow::port::SessionRequest;
use witgate_flow::reject::Rejection;
use witgate_flow::request::Request;
use witgate_flow::traces::TraceHeaders;
use witgate_message::era::Era;
use witgate_message::headers::agree::{encode, routing_name};
use witgate_message::headers::{LAST_EVENT_ID, METHOD, NAME, PARAM_PREFIX, PROTOCOL_VERSION, SESSION_ID};

/// A request to an upstream.
pub type Outgoing = ::http::Request<Full<Bytes>>;

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that are passed on unchanged: W3C Trace Context and Baggage.
const PASSED_ON: [HeaderName; 3] = [TRACE_PARENT, TRACE_STATE, HeaderName::from_static("baggage")];

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// A request without its sender. Only a draft can become a request that is sent.
pub(super) struct Draft(Outgoing);

impl Draft {
    /// The same, with Witgate's own trace context in place of the caller's.
    pub(super) fn traced(mut self, trace: Option<&TraceHeaders>) -> Self {
        if let Some(TraceHeaders { parent, state }) = trace {
            let headers = self.0.headers_mut();
            headers.insert(TRACE_PARENT, parent.clone());
            headers.remove(TRACE_STATE);
            state.iter().for_each(|state| drop(headers.insert(TRACE_STATE, state.clone())));
        }
        self
    }

    /// The request, with the data about its sender that the upstream gets. This is the last step, so nothing replaces
    /// that data.
    ///
    /// # Errors
    /// `UnsendableIdentity`.
    pub(super) fn introduced(
        self,
        identity: &IdentitySettings,
        sender: RequestSender<'_>,
    ) -> Result<Outgoing, Rejection> {
        let Self(mut outgoing) = self;
        introduce(outgoing.headers_mut(), sender, identity)?;
        Ok(outgoing)
    }
}

/// The message, byte for byte.
pub(super) fn post(uri: &Uri, own: &HeaderMap, request: &Request, session: Option<&HeaderValue>) -> Draft {
    let mut headers = common(own, &request.headers, BOTH, session);
    headers.insert(CONTENT_TYPE, JSON);
    if request.era == Era::Stateless {
        route(&mut headers, request);
    }
    outgoing(Method::POST, uri, headers, request.call.body().clone())
}

/// A message of Witgate, in the stateful era.
pub(super) fn own_post(
    uri: &Uri,
    own: &HeaderMap,
    body: Bytes,
    version: Option<HeaderValue>,
    session: Option<&HeaderValue>,
) -> Draft {
    let mut headers = common(own, &HeaderMap::new(), BOTH, session);
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(version) = version {
        headers.insert(PROTOCOL_VERSION, version);
    }
    outgoing(Method::POST, uri, headers, body)
}

/// The `server/discover` of Witgate, in the stateless era.
pub(super) fn discover(uri: &Uri, own: &HeaderMap, body: Bytes) -> Draft {
    let mut outgoing = own_post(uri, own, body, Some(HeaderValue::from_static(MODERN)), None);
    outgoing.0.headers_mut().insert(METHOD, HeaderValue::from_static("server/discover"));
    outgoing
}

/// The stream of the server's own messages.
pub(super) fn get(uri: &Uri, own: &HeaderMap, listener: &SessionRequest, session: &HeaderValue) -> Draft {
    let mut headers = common(own, &listener.request.headers, EVENTS, Some(session));
    if let Some(id) = listener.last_event_id.as_deref().and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(LAST_EVENT_ID, id);
    }
    outgoing(Method::GET, uri, headers, Bytes::new())
}

/// The end of a session.
pub(super) fn delete(uri: &Uri, own: &HeaderMap, callers: &HeaderMap, session: &HeaderValue) -> Draft {
    outgoing(Method::DELETE, uri, common(own, callers, BOTH, Some(session)), Bytes::new())
}

fn common(
    own: &HeaderMap,
    callers: &HeaderMap,
    accept: HeaderValue,
    session: Option<&HeaderValue>,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(ACCEPT, accept);
    if let Some(version) = callers.get(PROTOCOL_VERSION) {
        headers.insert(PROTOCOL_VERSION, version.clone());
    }
    if let Some(session) = session {
        headers.insert(SESSION_ID, session.clone());
    }
    for (name, value) in callers {
        if PASSED_ON.contains(name) || name.as_str().starts_with(PARAM_PREFIX) {
            headers.append(name, value.clone());
        }
    }
    for (name, value) in own {
        headers.insert(name, value.clone());
    }
    headers
}

/// The headers that repeat the body, from the decided call.
fn route(headers: &mut HeaderMap, request: &Request) {
    let call = &request.call;
    if let Some(version) = call.meta_version().and_then(|version| HeaderValue::try_from(version).ok()) {
        headers.insert(PROTOCOL_VERSION, version);
    }
    if let Ok(method) = HeaderValue::try_from(call.method()) {
        headers.insert(METHOD, method);
    }
    if let Some(name) = routing_name(call)
        && let Ok(name) = HeaderValue::try_from(&*encode(name))
    {
        headers.insert(NAME, name);
    }
}

fn outgoing(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Draft {
    let mut outgoing = Outgoing::new(Full::new(body));
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri.clone();
    *outgoing.headers_mut() = headers;
    Draft(outgoing)
}
