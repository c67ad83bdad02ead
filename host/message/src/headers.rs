//! HTTP headers: their agreement with the body, the checks of the sender, and the credentials among them. A proxy in
//! front of Witgate may have acted on the headers, so they must not differ from the body.

pub mod agree;
pub mod credentials;
pub mod media;
pub mod origin;
pub mod params;

#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName};

/// The protocol version of the message, since 2025-06-18.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The session of the stateful era.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The body's method, since 2026-07-28.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The target of the body's method, since 2026-07-28.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The proof for a token (RFC 9449, section 4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The nonce for the client's next proof of possession (RFC 9449, section 8).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The event after which a broken stream resumes, in the stateful era.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The prefix of headers that repeat annotated arguments, since 2026-07-28.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// The value of a header that may occur once.
enum SingleValue<'a> {
    Absent,
    One(&'a str),
    /// The header occurs several times, or is not visible ASCII.
    Bad,
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> SingleValue<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => SingleValue::Absent,
        (Some(value), None) => match value.to_str() {
            Ok(text) => SingleValue::One(text.trim_matches([' ', '\t'])),
            Err(_) => SingleValue::Bad,
        },
        (Some(_), Some(_)) => SingleValue::Bad,
    }
}
