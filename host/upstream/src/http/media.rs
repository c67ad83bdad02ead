//! The media types of answers.

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderValue};

pub(super) enum Media {
    Json,
    Events,
    Other,
}

pub(super) fn media(headers: &HeaderMap) -> Media {
    let value = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    match media {
        media if media.eq_ignore_ascii_case(b"application/json") => Media::Json,
        media if media.eq_ignore_ascii_case(b"text/event-stream") => Media::Events,
        _ => Media::Other,
    }
}
