//! Answers of HTTP servers, set by a test.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::lock::lock;
use crate::{HttpError, HttpResponse, Method};

type HttpAnswer = Result<HttpResponse, HttpError>;

/// Answers by method and URL.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<(Method, String), VecDeque<HttpAnswer>>>);

impl Answers {
    pub(super) fn add(&self, method: Method, url: &str, answer: HttpAnswer) {
        lock(&self.0).entry((method, url.to_owned())).or_default().push_back(answer);
    }

    pub(super) fn next(&self, method: Method, url: &str) -> HttpAnswer {
        let mut answers = lock(&self.0);
        let queue = answers.get_mut(&(method, url.to_owned())).ok_or(HttpError::NotGranted)?;
        let next = match queue.len() {
            1 => queue.front().cloned(),
            _ => queue.pop_front(),
        };
        next.unwrap_or(Err(HttpError::NotGranted))
    }
}

/// An answer of 200 with this JSON text, for [`super::FakeHost::answer`].
///
/// # Errors
/// Never: it is of the type that an answer has.
pub fn json(text: &str) -> Result<HttpResponse, HttpError> {
    Ok(HttpResponse {
        status: 200,
        content_type: Some("application/json".to_owned()),
        retry_after: None,
        body: text.as_bytes().to_owned(),
    })
}

/// An answer of this status and nothing else, for [`super::FakeHost::answer`].
///
/// # Errors
/// Never: it is of the type that an answer has.
pub fn status(status: u16) -> Result<HttpResponse, HttpError> {
    Ok(HttpResponse { status, content_type: None, retry_after: None, body: Vec::new() })
}
