//! Messages that are valid only within a session.

use super::reject::Rejection;
use super::request::Request;
use witgate_message::call::MessageKind;
use witgate_message::era::Era;
use witgate_message::method;

/// The only notification that a client without a session may send: the end of the handshake with a server without
/// sessions.
const INITIALIZED: &str = "notifications/initialized";

/// Checks that an answer, or a notification about a running request, comes within a session. Outside of a session, the
/// request that it names is not this caller's, and the upstream would apply the message to another caller's request.
///
/// The stateless era has neither: see [`witgate_message::headers::agree`] and the upstreams.
///
/// # Errors
/// `SessionRequired`.
pub(super) fn check(request: &Request, session: Option<&str>) -> Result<(), Rejection> {
    let needs_session = match request.call.kind() {
        MessageKind::Response { .. } => true,
        MessageKind::Notification => {
            let method = request.call.method();
            method != INITIALIZED && method::find(method).is_some()
        }
        MessageKind::Request { .. } => false,
    };
    match (request.era, session) {
        (Era::Stateful, None) if needs_session => Err(Rejection::SessionRequired),
        _ => Ok(()),
    }
}
