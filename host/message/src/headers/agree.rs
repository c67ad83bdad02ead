//! Compares the protocol's headers with the body (MCP 2026-07-28, "Streamable HTTP", "Headers").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;

use super::{METHOD, NAME, PROTOCOL_VERSION, SESSION_ID, SingleValue, single};
use crate::call::{Access, Call, MessageKind};
use crate::era::Era;
use crate::fault::MessageFault;

/// The supported versions of the stateless era.
pub const STATELESS: &[&str] = &["2026-07-28"];

/// Versions of the stateful era that a header may name. The oldest version had no such header, but a client that
/// negotiated it with its server may send one.
pub const STATEFUL: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Checks the headers of a POST against its body, in the order of the conformance suite and the SDKs: metadata, then
/// the equality of headers and body, then the version. Returns the era of the message.
///
/// # Errors
/// `InvalidParams` if metadata is missing, `HeaderMismatch` if headers and body differ or a header occurs twice,
/// `UnsupportedVersion`.
pub fn check(call: &Call, headers: &HeaderMap) -> Result<Era, MessageFault> {
    let version = unique(headers, &PROTOCOL_VERSION)?;
    let method = unique(headers, &METHOD)?;
    let name = unique(headers, &NAME)?;
    let era = era(call, version);
    match (era, call.kind()) {
        (Era::Stateless, MessageKind::Request { .. }) => {
            check_meta(call)?;
            present(&PROTOCOL_VERSION, version)?;
            present(&METHOD, method)?;
            if routing_name(call).is_some() {
                present(&NAME, name)?;
            }
        }
        (Era::Stateless, MessageKind::Response { .. }) => {
            return Err(MessageFault::InvalidRequest(
                "in this protocol version, there are no requests of the server to answer".to_owned(),
            ));
        }
        (Era::Stateless, MessageKind::Notification) | (Era::Stateful, _) => {}
    }
    same(&PROTOCOL_VERSION, version, call.meta_version())?;
    same(&METHOD, method, Some(call.method()).filter(|method| !method.is_empty()))?;
    if let (Some(header), Some(body)) = (name, routing_name(call)) {
        same(&NAME, Some(&decode(&NAME, header)?), Some(body))?;
    }
    supported(era, version)?;
    Ok(era)
}

/// Checks the metadata of a message over stdio, where there are no headers.
///
/// # Errors
/// `InvalidParams` if metadata is missing, `UnsupportedVersion`.
pub fn check_without_headers(call: &Call) -> Result<Era, MessageFault> {
    let era = era(call, None);
    if era == Era::Stateless {
        check_meta(call)?;
    }
    supported(era, call.meta_version())?;
    Ok(era)
}

/// Checks the headers of a GET or DELETE, which only the stateful era has.
///
/// # Errors
/// `MethodNotAllowed` in the stateless era, otherwise as [`check`].
pub fn check_bodiless(headers: &HeaderMap) -> Result<(), MessageFault> {
    let version = unique(headers, &PROTOCOL_VERSION)?;
    if version.is_some_and(is_stateless) {
        return Err(MessageFault::MethodNotAllowed);
    }
    supported(Era::Stateful, version)
}

/// The session that the caller names.
///
/// # Errors
/// `HeaderMismatch` if the header occurs twice or is not visible ASCII.
pub fn session(headers: &HeaderMap) -> Result<Option<&str>, MessageFault> {
    unique(headers, &SESSION_ID)
}

/// The value that `Mcp-Name` has to repeat.
pub fn routing_name(call: &Call) -> Option<&str> {
    match (call.method(), call.access(), call.tasks()) {
        ("tools/call" | "prompts/get" | "resources/read", Access::Target(target), _) => Some(&target.name),
        ("tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result", _, [task]) => Some(task),
        _ => None,
    }
}

/// The header value for `name`: the text itself if that is safe, otherwise base64 with markers.
pub fn encode(name: &str) -> Cow<'_, str> {
    let safe = name.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !name.starts_with(' ')
        && !name.ends_with(' ')
        && wrapped(name).is_none();
    if safe { Cow::Borrowed(name) } else { Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(name))) }
}

/// Decodes a header value of [`encode`]. A value without both markers is returned unchanged.
pub(super) fn decode<'a>(name: &HeaderName, value: &'a str) -> Result<Cow<'a, str>, MessageFault> {
    let Some(wrapped) = wrapped(value) else { return Ok(Cow::Borrowed(value)) };
    let bytes = STANDARD.decode(wrapped).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Cow::Owned).ok_or_else(|| mismatch(name, "is not valid base64 of UTF-8"))
}

fn wrapped(value: &str) -> Option<&str> {
    value.strip_prefix("=?base64?")?.strip_suffix("?=")
}

/// A message is of the stateless era if its body or its header names a version of that era. Versions are dates, so
/// they sort as texts.
fn era(call: &Call, version: Option<&str>) -> Era {
    if call.meta_version().is_some() || version.is_some_and(is_stateless) {
        Era::Stateless
    } else {
        Era::Stateful
    }
}

fn is_stateless(version: &str) -> bool {
    version >= "2026-07-28"
}

fn check_meta(call: &Call) -> Result<(), MessageFault> {
    if call.has_full_meta() {
        return Ok(());
    }
    let what = "_meta must hold the protocol version and the client capabilities";
    Err(MessageFault::InvalidParams(what.to_owned()))
}

fn supported(era: Era, version: Option<&str>) -> Result<(), MessageFault> {
    let served = match era {
        Era::Stateless => STATELESS,
        Era::Stateful => STATEFUL,
    };
    match version {
        Some(version) if !served.contains(&version) => Err(MessageFault::UnsupportedVersion {
            requested: version.to_owned(),
            supported: served.iter().map(|&version| version.to_owned()).collect(),
        }),
        _ => Ok(()),
    }
}

fn unique<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, MessageFault> {
    match single(headers, name) {
        SingleValue::Absent => Ok(None),
        SingleValue::One(value) => Ok(Some(value)),
        SingleValue::Bad => Err(mismatch(name, "must occur once, in visible ASCII")),
    }
}

fn present(name: &HeaderName, value: Option<&str>) -> Result<(), MessageFault> {
    value.map(|_| ()).ok_or_else(|| mismatch(name, "is missing"))
}

fn same(name: &HeaderName, header: Option<&str>, body: Option<&str>) -> Result<(), MessageFault> {
    match (header, body) {
        (Some(header), Some(body)) if header != body => Err(mismatch(name, "differs from the body")),
        _ => Ok(()),
    }
}

pub(super) fn mismatch(name: &HeaderName, what: &str) -> MessageFault {
    MessageFault::HeaderMismatch(format!("the header {name} {what}"))
}
