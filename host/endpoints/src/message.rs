//! A message of a client, from which messages for upstreams are made.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use witgate_flow::Arrival;
use witgate_flow::siblings::Siblings;
use witgate_message::fault::MessageFault;
use witgate_message::headers::agree::{self, encode};
use witgate_message::headers::{LAST_EVENT_ID, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID};
use witgate_plugin::Transport;

/// A message, and what its parts share.
pub(crate) struct ClientMessage {
    arrival: Arrival,
    pub(crate) siblings: Arc<Siblings>,
}

impl ClientMessage {
    /// A message with this HTTP method.
    pub(crate) fn new(method: &'static str, arrival: Arrival) -> Self {
        Self { arrival, siblings: Arc::new(Siblings::of(method)) }
    }

    pub(crate) fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// The session that the client names: in the header, or that of the process.
    ///
    /// # Errors
    /// If there are several.
    pub(crate) fn session(&self) -> Result<Option<&str>, MessageFault> {
        match self.arrival.transport {
            Transport::Stdio => Ok(self.arrival.session.as_deref()),
            Transport::Http => agree::session(&self.arrival.headers),
        }
    }

    /// The id of the event after which a broken stream resumes.
    pub(crate) fn last_event_id(&self) -> Option<&str> {
        self.arrival.headers.get(LAST_EVENT_ID)?.to_str().ok()
    }

    /// The message as the client has sent it.
    pub(crate) fn unchanged(&self) -> Arrival {
        self.with(self.arrival.headers.clone(), self.arrival.session.clone(), self.arrival.body.clone())
    }

    /// A message for an upstream: the client's own with another `body`, in a session of the upstream. `name` is the
    /// upstream's name of the target.
    pub(crate) fn part(&self, session: Option<&str>, body: Bytes, name: Option<&str>) -> Arrival {
        let mut headers = self.arrival.headers.clone();
        if let (true, Some(name)) = (headers.contains_key(NAME), name) {
            set(&mut headers, NAME, Some(&encode(name)));
        }
        set(&mut headers, SESSION_ID, session);
        self.with(headers, session.map(Box::from), body)
    }

    /// A message of Witgate's own, of the handshake with an upstream, as the caller who has sent this one.
    pub(crate) fn of_handshake(&self, session: Option<&str>, version: Option<&str>, body: Bytes) -> Arrival {
        let mut headers = self.arrival.headers.clone();
        for name in [METHOD, NAME, LAST_EVENT_ID] {
            headers.remove(name);
        }
        if self.arrival.transport == Transport::Http {
            let types = HeaderValue::from_static("application/json, text/event-stream");
            headers.insert(ACCEPT, types);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            set(&mut headers, PROTOCOL_VERSION, version);
            set(&mut headers, SESSION_ID, session);
        }
        self.with(headers, session.map(Box::from), body)
    }

    /// A request about a session of an upstream, which has no body.
    pub(crate) fn about(&self, session: Option<&str>, last_event_id: Option<&str>) -> Arrival {
        let mut headers = self.arrival.headers.clone();
        set(&mut headers, SESSION_ID, session);
        set(&mut headers, LAST_EVENT_ID, last_event_id);
        self.with(headers, session.map(Box::from), Bytes::new())
    }

    fn with(&self, headers: HeaderMap, session: Option<Box<str>>, body: Bytes) -> Arrival {
        let Arrival { transport, peer, known, under_way, certificate, shown, .. } = &self.arrival;
        Arrival {
            transport: *transport,
            peer: *peer,
            known: known.clone(),
            under_way: under_way.clone(),
            certificate: certificate.clone(),
            headers,
            body,
            shown: shown.as_ref().map(|shown| shown.copy()),
            session: session.filter(|_| *transport == Transport::Stdio),
        }
    }
}

/// Sets or removes a header. A text that cannot be a header is left out: it comes from an upstream or from a client, and
/// without it the message is refused.
fn set(headers: &mut HeaderMap, name: http::HeaderName, value: Option<&str>) {
    match value.and_then(|value| HeaderValue::try_from(value).ok()) {
        Some(value) => _ = headers.insert(name, value),
        None => _ = headers.remove(name),
    }
}
