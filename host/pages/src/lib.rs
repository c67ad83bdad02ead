//! The frame of pages for people, and the headers with which browsers show them. Pages load nothing, and nothing else shows
//! them in a frame. Texts from elsewhere become markup only through `maud`, which escapes them.

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use witgate_base::digest::sha256;

/// The id of a sentence about the last attempt, by which fields refer to it.
pub const NOTICE: &str = "notice";

const STYLE: &str = include_str!("style.css");

/// The policy of pages without a script.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(""));

/// The policy of a page if its own does not fit into a header. It shows no style then.
const CLOSED: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'");

/// A script in a page, which runs no other one.
#[derive(Debug)]
pub struct PageScript {
    text: &'static str,
    policy: HeaderValue,
}

impl PageScript {
    /// The script with this text.
    pub fn new(text: &'static str) -> Self {
        Self { text, policy: policy(&format!("; script-src '{}'", source(text))) }
    }
}

/// An answer that browsers take as what it is, store nowhere, and show in no frame.
pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}

/// A page with a title and its content.
pub fn page(status: StatusCode, title: &str, content: Markup) -> Response<Bytes> {
    rendered(status, title, content, &POLICY)
}

/// A page with a script.
pub fn page_with_script(
    status: StatusCode,
    title: &str,
    content: Markup,
    script: &PageScript,
) -> Response<Bytes> {
    let content = html! { (content) script { (PreEscaped(script.text)) } };
    rendered(status, title, content, &script.policy)
}

/// A field of a form that nobody sees.
pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// A sentence about the last attempt, which a screen reader reads at once.
pub fn alert(sentence: &str) -> Markup {
    html! { p.notice #(NOTICE) role="alert" { (sentence) } }
}

fn rendered(status: StatusCode, title: &str, content: Markup, policy: &HeaderValue) -> Response<Bytes> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { @if status.is_client_error() { "Error: " } (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { h1 { (title) } (content) } }
        }
    };
    let mut answer = answer(status, "text/html; charset=utf-8", page.into_string());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener, HeaderValue::from_static("same-origin"));
    answer
}

/// The policy of a page with the style, and `further` permissions. There is no `form-action`: browsers apply it to redirects
/// after a form, and some of them lead to a client or a provider.
fn policy(further: &str) -> HeaderValue {
    let style = source(STYLE);
    let text =
        format!("default-src 'none'; style-src '{style}'; base-uri 'none'; frame-ancestors 'none'{further}");
    HeaderValue::try_from(text).unwrap_or(CLOSED)
}

/// The name of an inline text in a policy.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(sha256(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_of(answer: &Response<Bytes>) -> &str {
        answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap()
    }

    #[test]
    fn a_page_runs_nothing_and_is_in_no_frame() {
        let page = page(StatusCode::OK, "No", html! { p { "no" } });
        let policy = policy_of(&page);
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("form-action"), "{policy}");
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.headers()[name], value);
        }
    }

    #[test]
    fn a_page_runs_its_script_alone() {
        let script = PageScript::new("'use strict';");
        let page = page_with_script(StatusCode::OK, "Yes", html! {}, &script);
        let expected = format!("; script-src '{}'", source("'use strict';"));
        assert!(policy_of(&page).ends_with(&expected), "{}", policy_of(&page));
    }

    #[test]
    fn nothing_from_elsewhere_becomes_markup() {
        let evil = "\"><script>alert(1)</script>&'";
        let content = html! { (hidden(evil, evil)) (alert(evil)) };
        let page = page(StatusCode::OK, evil, content);
        let text = String::from_utf8(page.body().to_vec()).unwrap();
        assert!(!text.contains("<script") && text.contains("&quot;&gt;&lt;script"), "{text}");
    }
}
