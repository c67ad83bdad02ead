//! Trace contexts of callers: in `_meta` (MCP 2026-07-28) and in HTTP headers (W3C Trace Context). A context that is
//! invalid in any way is none.

use std::str::FromStr as _;

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde::Deserialize;

/// The longest `tracestate` that is kept (W3C Trace Context, section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// The context in `_meta`, which is a JSON object.
pub(super) fn of_meta(meta: &str) -> Option<SpanContext> {
    #[derive(Deserialize)]
    struct TraceMeta {
        traceparent: Option<String>,
        tracestate: Option<String>,
    }
    // Most messages have none, and are not read a second time.
    if !meta.contains("traceparent") {
        return None;
    }
    let TraceMeta { traceparent, tracestate } = serde_json::from_str(meta).ok()?;
    context(&traceparent?, tracestate.as_deref())
}

/// The context in the headers.
pub(super) fn of_headers(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all("traceparent").iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    let state = headers.get("tracestate").and_then(|state: &HeaderValue| state.to_str().ok());
    context(parent.to_str().ok()?, state)
}

/// The context of `version-traceid-parentid-flags` (W3C Trace Context, section 3.2). Later versions may have more parts.
fn context(parent: &str, state: Option<&str>) -> Option<SpanContext> {
    let parts: Vec<&str> = parent.splitn(5, '-').collect();
    let (&[version, trace, span, flags], more) = parts.split_first_chunk::<4>()?;
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    if !is_formed || version == "ff" || (version == "00" && !more.is_empty()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let state = state.filter(|state| state.len() <= LONGEST_STATE);
    let state = state.and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, state)).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_whole_or_not_at_all() {
        let read = context(GOOD, Some("a=1,b=2")).unwrap();
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(read.span_id().to_string(), "b7ad6b7169203331");
        assert!(read.is_sampled() && read.is_remote() && read.trace_state().header() == "a=1,b=2");
        assert!(!context(&GOOD.replace("-01", "-02"), None).unwrap().is_sampled());
        assert!(context(&GOOD.replace("00-", "01-"), None).is_some());
        assert!(context(&format!("{}-more", GOOD.replace("00-", "01-")), None).is_some());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            &format!("{GOOD}-more"),
            &GOOD.replace("00-", "ff-"),
            &GOOD.to_uppercase(),
            &GOOD.replace("0af7", "+af7"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &format!(" {GOOD}"),
        ] {
            assert!(context(bad, None).is_none(), "{bad}");
        }
        let long = format!("a={}", "x".repeat(LONGEST_STATE));
        assert_eq!(context(GOOD, Some(&long)).unwrap().trace_state().header(), "");
    }

    #[test]
    fn the_context_of_meta_is_that_of_its_own_member() {
        let meta = format!(r#"{{"other":{{"traceparent":"x"}},"traceparent":"{GOOD}","tracestate":"a=1"}}"#);
        assert!(of_meta(&meta).is_some());
        for none in [r"{}", r#"{"a":"traceparent"}"#, r#"{"traceparent":7}"#, r#"{"traceparent":null}"#] {
            assert!(of_meta(none).is_none(), "{none}");
        }
    }

    #[test]
    fn two_contexts_in_the_headers_are_none() {
        let mut headers = HeaderMap::new();
        assert!(of_headers(&headers).is_none());
        headers.append("traceparent", GOOD.parse().unwrap());
        assert!(of_headers(&headers).is_some());
        headers.append("traceparent", GOOD.parse().unwrap());
        assert!(of_headers(&headers).is_none());
    }
}
