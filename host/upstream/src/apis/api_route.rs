//! One API: its requests get its credential, and go to its origin alone.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use ::http::uri::{Authority, PathAndQuery, Scheme};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::api_path::joined;
use super::ending_body::EndingBody;
use super::head::{for_api, for_process};
use super::refusal::ApiRefusal;
use crate::http::SetUpError;
use witgate_base::cause::with_sources;
use witgate_config::credentials::ApiSettings;
use witgate_credentials::upstream_credential::UpstreamCredential;
use witgate_runtime::log::throttle::LogThrottle;
use witgate_services::network::reach::Reach;
use witgate_services::network::{StreamedBody, Ways, is_refused};

/// Maximum size of a body that is kept for another attempt with a new credential. Requests to APIs are seldom larger.
const KEPT_BODY: u64 = 256 << 10;

/// Maximum size of a body in either direction.
const LARGEST_BODY: usize = 1 << 30;

/// An API, for the processes of one upstream.
pub(crate) struct ApiRoute {
    variable: String,
    secret: SecretString,
    scheme: Scheme,
    authority: Authority,
    base: String,
    credential: Arc<UpstreamCredential>,
    ways: Arc<Ways>,
    /// Maximum time from a whole request to the head of its answer.
    timeout: Duration,
    failures: Arc<LogThrottle>,
}

/// The body of a request.
enum RequestBody {
    /// It is here, and can be sent again.
    Whole(Bytes),
    /// It is passed on while it arrives.
    Streamed(StreamedBody),
}

impl ApiRoute {
    /// The API of these settings, with a secret of its own.
    ///
    /// # Errors
    /// If its URL is not one of HTTP, or there are no random numbers.
    pub(crate) fn new(
        variable: &str,
        settings: &ApiSettings,
        credential: Arc<UpstreamCredential>,
        ways: &Arc<Ways>,
        timeout: Duration,
    ) -> Result<Self, SetUpError> {
        let uri: Uri = settings.to.as_str().parse()?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(SetUpError::Broken);
        };
        if !Reach::Private.covers_url(&settings.to) {
            return Err(SetUpError::Broken);
        }
        Ok(Self {
            variable: variable.to_owned(),
            secret: random().map_err(SetUpError::Random)?,
            scheme,
            authority,
            base: parts.path_and_query.map_or_else(String::new, |path| path.path().to_owned()),
            credential,
            ways: Arc::clone(ways),
            timeout,
            failures: Arc::default(),
        })
    }

    /// The same API and address, with another credential.
    pub(crate) fn with_credential(&self, credential: Arc<UpstreamCredential>) -> Self {
        Self {
            variable: self.variable.clone(),
            secret: self.secret.clone(),
            scheme: self.scheme.clone(),
            authority: self.authority.clone(),
            base: self.base.clone(),
            credential,
            ways: Arc::clone(&self.ways),
            timeout: self.timeout,
            failures: Arc::clone(&self.failures),
        }
    }

    /// The environment variable with its address.
    pub(crate) fn variable(&self) -> &str {
        &self.variable
    }

    /// The name of its credential.
    pub(super) fn credential_name(&self) -> &str {
        &self.credential.settings().name
    }

    /// Its address for processes, behind a listener.
    pub(super) fn address(&self, listener: SocketAddr) -> SecretString {
        format!("http://{listener}/{}", self.secret.expose_secret()).into()
    }

    /// True if this is its secret.
    pub(super) fn has_secret(&self, secret: &str) -> bool {
        verify_slices_are_equal(secret.as_bytes(), self.secret.expose_secret().as_bytes()).is_ok()
    }

    /// The answer of the API to a request of a process. If the API refuses the credential, and there is a newer one, the
    /// request is sent once more.
    pub(super) async fn exchange(
        &self,
        path: &str,
        request: Request<StreamedBody>,
    ) -> Result<Response<StreamedBody>, ApiRefusal> {
        let (head, body) = request.into_parts();
        // The answer to TRACE repeats the request, with the credential.
        if [Method::CONNECT, Method::TRACE].contains(&head.method) {
            return Err(ApiRefusal::Method);
        }
        let path = joined(&self.base, path, head.uri.query()).ok_or(ApiRefusal::Path)?;
        let uri = self.uri(&path).ok_or(ApiRefusal::Path)?;
        let mut headers = for_api(&head.headers, &self.credential.settings().header);
        self.credential.add_to(&mut headers, None).await?;
        match self.received(body).await? {
            RequestBody::Whole(body) => self.send_whole(head.method, uri, headers, body).await,
            RequestBody::Streamed(body) => {
                if body.size_hint().exact().is_none() {
                    // Otherwise, requests with methods that seldom have a body would lose theirs.
                    headers.remove(CONTENT_LENGTH);
                    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
                let (body, ended) = EndingBody::new(body);
                let sent = outgoing(head.method, uri, headers.clone(), body.boxed_unsync());
                let response = self.send_streamed(sent, ended).await?;
                if self.refuses(&response) {
                    // The body is gone. The next request gets the new credential.
                    drop(self.credential.replace_in(&mut headers, None).await);
                }
                Ok(response)
            }
        }
    }

    async fn send_whole(
        &self,
        method: Method,
        uri: Uri,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<StreamedBody>, ApiRefusal> {
        let whole = |headers| {
            let body = Full::new(body.clone()).map_err(|never| match never {}).boxed_unsync();
            outgoing(method.clone(), uri.clone(), headers, body)
        };
        let response = self.send_in_time(whole(headers.clone())).await?;
        if !self.refuses(&response) {
            return Ok(response);
        }
        match self.credential.replace_in(&mut headers, None).await {
            Ok(()) => self.send_in_time(whole(headers)).await,
            Err(fault) => {
                tracing::debug!(api = self.variable, %fault, "the API refuses the credential");
                Ok(response)
            }
        }
    }

    /// True if the API refuses the credential, and there may be another one.
    fn refuses(&self, response: &Response<StreamedBody>) -> bool {
        response.status() == StatusCode::UNAUTHORIZED && self.credential.is_renewable()
    }

    async fn send_in_time(
        &self,
        outgoing: Request<StreamedBody>,
    ) -> Result<Response<StreamedBody>, ApiRefusal> {
        timeout(self.timeout, self.send(outgoing)).await.unwrap_or(Err(ApiRefusal::Time))
    }

    /// The time of a body that streams is bounded by the progress of its connection, and that of the answer begins at the
    /// end of the body.
    async fn send_streamed(
        &self,
        outgoing: Request<StreamedBody>,
        ended: CancellationToken,
    ) -> Result<Response<StreamedBody>, ApiRefusal> {
        let is_late = async {
            ended.cancelled().await;
            sleep(self.timeout).await;
        };
        tokio::select! {
            biased;
            response = self.send(outgoing) => response,
            () = is_late => Err(ApiRefusal::Time),
        }
    }

    /// The answer to one request. Redirects are answers as any other: the process may follow them, without the credential.
    async fn send(&self, outgoing: Request<StreamedBody>) -> Result<Response<StreamedBody>, ApiRefusal> {
        let client = self.ways.api_client(self.scheme == Scheme::HTTPS);
        let response = client.request(outgoing).await.map_err(|error| self.failed(&error))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ApiRefusal::Protocol);
        }
        let (mut head, body) = response.into_parts();
        head.headers = for_process(&head.headers);
        Ok(Response::from_parts(head, bounded(body)))
    }

    fn failed(&self, error: &hyper_util::client::legacy::Error) -> ApiRefusal {
        let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
        if sources.into_iter().any(|error| error.is::<LengthLimitError>()) {
            return ApiRefusal::BodySize;
        }
        if let Some(others) = self.failures.turn() {
            let why =
                if is_refused(error) { "its address is not allowed".to_owned() } else { with_sources(error) };
            tracing::warn!(api = self.variable, others, %why, "an API cannot be reached");
        }
        ApiRefusal::Connection
    }

    /// The body of a request. A small one is read first, since its credential may have to be replaced.
    async fn received(&self, body: StreamedBody) -> Result<RequestBody, ApiRefusal> {
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length > LARGEST_BODY as u64) {
            return Err(ApiRefusal::BodySize);
        }
        if length.is_some_and(|length| length <= KEPT_BODY) {
            let whole = body.collect().await.map_err(|_| ApiRefusal::Connection)?;
            return Ok(RequestBody::Whole(whole.to_bytes()));
        }
        Ok(RequestBody::Streamed(Limited::new(body, LARGEST_BODY).boxed_unsync()))
    }

    fn uri(&self, path: &str) -> Option<Uri> {
        let path: PathAndQuery = path.parse().ok()?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(path).build().ok()
    }
}

impl fmt::Debug for ApiRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiRoute").field("variable", &self.variable).finish_non_exhaustive()
    }
}

fn outgoing(method: Method, uri: Uri, headers: HeaderMap, body: StreamedBody) -> Request<StreamedBody> {
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    outgoing
}

fn bounded(body: Incoming) -> StreamedBody {
    Limited::new(body, LARGEST_BODY).boxed_unsync()
}

/// 256 random bits.
fn random() -> Result<SecretString, getrandom::Error> {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(*bytes).into())
}
