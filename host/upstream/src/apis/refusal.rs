//! The answers of Witgate itself to requests for an API.

use ::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use ::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use witgate_credentials::fault::OutboundFault;
use witgate_services::network::StreamedBody;

/// The reason why a request does not reach an API, or gets no answer of it.
#[derive(Debug)]
pub(super) enum ApiRefusal {
    /// The path does not begin with the secret of an API.
    UnknownPath,
    /// Too many connections of the processes wait already.
    Connections,
    /// The path could leave that of the API.
    Path,
    /// The method could show the credential to the process, or is for proxies.
    Method,
    /// The body is too large.
    BodySize,
    /// There is no credential.
    Credential(OutboundFault),
    /// There is no connection to the API, or it broke.
    Connection,
    /// The API gives no answer in time.
    Time,
    /// The API answers with another protocol.
    Protocol,
}

impl ApiRefusal {
    /// The reason code.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPath => "unknown-path",
            Self::Connections => "too-many-connections",
            Self::Path => "bad-path",
            Self::Method => "bad-method",
            Self::BodySize => "body-too-large",
            Self::Credential(fault) => fault.reason(),
            Self::Connection => "api-unreachable",
            Self::Time => "api-timeout",
            Self::Protocol => "api-bad-answer",
        }
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Connections => StatusCode::SERVICE_UNAVAILABLE,
            Self::Path => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodySize => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Credential(_) | Self::Connection | Self::Protocol => StatusCode::BAD_GATEWAY,
            Self::Time => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Credential(fault) => return fault.message(),
            Self::UnknownPath => "There is nothing here",
            Self::Connections => "Too many connections are open",
            Self::Path => "Some servers read this path in another way",
            Self::Method => "This method is not passed on",
            Self::BodySize => "The body is too large to be passed on",
            Self::Connection => "The API cannot be reached",
            Self::Time => "The API gives no answer in time",
            Self::Protocol => "The API gives no answer in HTTP",
        }
        .to_owned()
    }

    fn body(&self) -> Value {
        let (error, message) = (self.reason(), self.message());
        match self {
            Self::Credential(fault) => json!({
                "error": error,
                "message": message,
                "credential": &*fault.credential,
                "how": fault.advice(),
            }),
            _ => json!({ "error": error, "message": message }),
        }
    }

    /// The answer.
    pub(super) fn response(&self) -> Response<StreamedBody> {
        let body = Full::new(Bytes::from(self.body().to_string()));
        let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::UnknownPath | Self::Connections) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<OutboundFault> for ApiRefusal {
    fn from(fault: OutboundFault) -> Self {
        Self::Credential(fault)
    }
}
