//! The forms of answers.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
pub(super) use witgate_pages::answer;

use super::rare_lines::RareLines;
use crate::error::AccountsError;

/// An answer of the site.
pub(super) type SiteAnswer = Response<Bytes>;

/// Seconds until another attempt makes sense while the accounts are busy or not available.
const RETRY_S: HeaderValue = HeaderValue::from_static("2");

pub(super) fn json_answer(status: StatusCode, body: &Value) -> SiteAnswer {
    answer(status, "application/json", body.to_string())
}

/// A public document, which caches may store.
pub(super) fn document(body: impl Into<Bytes>) -> SiteAnswer {
    let mut answer = answer(StatusCode::OK, "application/json", body);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    answer
}

/// A redirect after which the browser uses GET.
pub(super) fn see_other(place: &str) -> SiteAnswer {
    let mut answer = answer(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Bytes::new());
    match HeaderValue::try_from(place) {
        Ok(place) => {
            answer.headers_mut().insert(LOCATION, place);
        }
        Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer
}

/// An error of OAuth for a program (RFC 6749, section 5.2).
pub(super) fn oauth_error(status: StatusCode, error: &str, description: &str) -> SiteAnswer {
    json_answer(status, &json!({ "error": error, "error_description": description }))
}

/// The answer for a program if the accounts cannot be used.
pub(super) fn unavailable_to_program(error: &AccountsError) -> SiteAnswer {
    note(error);
    let description = "the accounts cannot be used now; try again";
    let mut answer = oauth_error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
    answer.headers_mut().insert(RETRY_AFTER, RETRY_S);
    answer
}

/// Logs that the accounts cannot be used. Anybody can cause a request that needs them, so it is logged rarely.
pub(super) fn note(error: &AccountsError) {
    static LINES: LazyLock<RareLines> = LazyLock::new(RareLines::default);
    let code = error.code();
    if let Some(others) = LINES.turn(code) {
        tracing::error!(code, others, "the accounts cannot be used: {error}");
    }
}

pub(super) fn retry_after(answer: &mut SiteAnswer, seconds: u32) {
    answer.headers_mut().insert(RETRY_AFTER, seconds.into());
}

pub(super) fn not_allowed(methods: &'static str) -> SiteAnswer {
    let mut answer = oauth_error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "use another method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

pub(super) fn nothing_here() -> SiteAnswer {
    oauth_error(StatusCode::NOT_FOUND, "invalid_request", "there is nothing here")
}
