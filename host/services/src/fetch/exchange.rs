//! A request to a server and its answer, with replacements for tests.

use bytes::Bytes;
use url::Url;
use witgate_plugin::{HttpError, HttpRequest, HttpResponse};

use witgate_base::cause;

/// The answer for a policy.
pub(super) type HttpAnswer = Result<HttpResponse, HttpError>;

/// A complete answer with its headers.
pub type WholeResponse = http::Response<Bytes>;

/// The reason why there is no answer, for a policy and for the log.
#[derive(Debug)]
pub struct FetchError {
    /// The error for the policy.
    pub error: HttpError,
    /// Details of a network error, in one line. None: `error` says everything.
    why: Option<String>,
}

impl FetchError {
    pub(super) fn because(error: HttpError, why: &(dyn std::error::Error + 'static)) -> Self {
        Self { error, why: Some(cause::with_sources(why)) }
    }
}

impl From<HttpError> for FetchError {
    fn from(error: HttpError) -> Self {
        Self { error, why: None }
    }
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.why, self.error) {
            (Some(why), _) => f.write_str(why),
            (None, HttpError::NotGranted) => f.write_str("its address is not allowed"),
            (None, HttpError::InvalidRequest) => f.write_str("the request is not well formed"),
            (None, HttpError::Unreachable) => f.write_str("no connection"),
            (None, HttpError::TimedOut) => f.write_str("no complete answer in time"),
            (None, HttpError::TooLarge) => f.write_str("the answer is too large"),
            (None, HttpError::Resting(_)) => {
                f.write_str("it keeps failing, or too many requests to it are open, so it is not asked")
            }
        }
    }
}

/// Answers requests in place of the network, for test cases.
pub trait HttpExchange: Send + Sync {
    /// The answer to `request`.
    fn answer(&self, request: HttpRequest) -> HttpAnswer;
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub(super) String);

impl Origin {
    /// The origin of a URL. None: not an `http` or `https` URL with a host.
    pub fn of(url: &Url) -> Option<Self> {
        matches!(url.scheme(), "http" | "https").then(|| url.host_str())??;
        Some(Self(url.origin().ascii_serialization()))
    }
}
