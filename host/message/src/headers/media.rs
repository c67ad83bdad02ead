//! Content-Type and Accept (RFC 9110 §8.3, §12.5.1; MCP "Streamable HTTP").

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};

use super::{SingleValue, single};
use crate::fault::MessageFault;

/// Refuses a body whose Content-Type is not plain JSON in UTF-8.
///
/// # Errors
/// `UnsupportedMediaType`.
pub fn is_json(headers: &HeaderMap) -> Result<(), MessageFault> {
    let SingleValue::One(value) = single(headers, &CONTENT_TYPE) else {
        return Err(MessageFault::UnsupportedMediaType);
    };
    let mut parts = value.split(';').map(str::trim);
    let json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| charset(parameter).is_none_or(is_utf8));
    if json && utf8 && !headers.contains_key(CONTENT_ENCODING) {
        Ok(())
    } else {
        Err(MessageFault::UnsupportedMediaType)
    }
}

/// Refuses a caller that does not accept JSON, because errors are JSON even if the upstream's answers are not. Without
/// an Accept header, a caller accepts everything.
///
/// # Errors
/// `NotAcceptable`.
pub fn accepts_json(headers: &HeaderMap) -> Result<(), MessageFault> {
    if accepts(headers, "application/json") { Ok(()) } else { Err(MessageFault::NotAcceptable) }
}

/// Refuses a caller that does not accept an event stream. A GET needs one; a POST gets JSON if possible.
///
/// # Errors
/// `NotAcceptable`.
pub fn accepts_events(headers: &HeaderMap) -> Result<(), MessageFault> {
    if accepts(headers, "text/event-stream") { Ok(()) } else { Err(MessageFault::NotAcceptable) }
}

fn accepts(headers: &HeaderMap, media: &str) -> bool {
    // The exact value that the SDKs send.
    let is_usual =
        matches!(single(headers, &ACCEPT), SingleValue::One("application/json, text/event-stream"));
    if is_usual || !headers.contains_key(ACCEPT) {
        return true;
    }
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(','));
    let fitting = ranges.filter_map(|range| Some((specificity(range, media)?, wanted(range))));
    fitting.max_by_key(|(specificity, _)| *specificity).is_some_and(|(_, wanted)| wanted)
}

/// The specificity of a media range for `media`; the most specific range counts (RFC 9110 §12.5.1).
fn specificity(range: &str, media: &str) -> Option<u8> {
    let range = range.split(';').next()?.trim();
    let family = media.split('/').next()?;
    if range.eq_ignore_ascii_case(media) {
        return Some(2);
    }
    match range.split_once('/')? {
        ("*", "*") => Some(0),
        (name, "*") if name.eq_ignore_ascii_case(family) => Some(1),
        _ => None,
    }
}

/// True if a range's weight is not zero.
fn wanted(range: &str) -> bool {
    let mut weights = range.split(';').skip(1).filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    weights.next().is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0))
}

fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

fn is_utf8(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}
