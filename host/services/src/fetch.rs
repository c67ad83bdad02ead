//! HTTP requests of policies, to granted origins only. Identical requests at the same time share one answer, and
//! requests to a failing server are paused.

mod assertion;
mod client;
mod exchange;
mod server;
mod token_endpoint;

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http_body_util::Full;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use witgate_plugin::{ClientAuth, HttpError, HttpRequest, HttpResponse, Method};

use crate::network::Ways;
pub use crate::network::reach::Reach;
use crate::network::reach::literal_address;
pub use assertion::{NoSigningKey, SigningKey};
use client::exchange;
use exchange::HttpAnswer;
pub use exchange::{FetchError, HttpExchange, Origin, WholeResponse};
use server::OriginServer;
pub use token_endpoint::{TOKEN_ANSWER, TokenClient, TokenClientAuth, ask_about_account, ask_token_endpoint};
use witgate_base::breaker::CallerDigest;
use witgate_runtime::log::throttle::LogThrottle;
use witgate_runtime::workers;

/// Largest request body.
const LARGEST_BODY: usize = 64 << 10;

/// A running request, and the source that sent it first.
type PendingFetch = (CallerDigest, Shared<BoxFuture<'static, HttpAnswer>>);

/// The HTTP requests of one policy.
#[derive(Clone)]
pub struct Fetcher {
    ways: Arc<Ways>,
    servers: Arc<HashMap<Origin, OriginServer>>,
    secrets: Arc<HashMap<String, SecretString>>,
    signing_keys: Arc<HashMap<String, SigningKey>>,
    under_way: Arc<Mutex<HashMap<HttpRequest, PendingFetch>>>,
    failing: Arc<LogThrottle>,
    replacement: Option<Arc<dyn HttpExchange>>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher for `origins`, which adds the client secrets in `secrets` by their names.
    pub fn new(
        ways: Arc<Ways>,
        origins: HashMap<Origin, Reach>,
        secrets: HashMap<String, SecretString>,
    ) -> Self {
        let server = |(origin, reach): (Origin, Reach)| (origin.clone(), OriginServer::new(origin, reach));
        Self {
            ways,
            servers: Arc::new(origins.into_iter().map(server).collect()),
            secrets: Arc::new(secrets),
            signing_keys: Arc::default(),
            under_way: Arc::default(),
            failing: Arc::default(),
            replacement: None,
        }
    }

    /// The same, with private keys for client authentication, by name.
    #[must_use]
    pub fn signing_with(self, keys: HashMap<String, SigningKey>) -> Self {
        Self { signing_keys: Arc::new(keys), ..self }
    }

    /// A fetcher that gets its answers from `replacement` and never uses the network.
    pub fn answered_by(replacement: Arc<dyn HttpExchange>) -> Self {
        Self { replacement: Some(replacement), ..Self::new(Ways::closed(), HashMap::new(), HashMap::new()) }
    }

    /// A fetcher for one URL of the configuration. Its user determines the intervals of requests, so failures never
    /// pause it.
    pub fn for_url(ways: Arc<Ways>, url: &Url) -> Self {
        let server = |origin: Origin| (origin.clone(), OriginServer::tireless(origin, Reach::Private));
        let servers = Origin::of(url).map(server).into_iter().collect();
        Self { servers: Arc::new(servers), ..Self::new(ways, HashMap::new(), HashMap::new()) }
    }

    /// Sends a request on behalf of `source` and waits for the complete answer.
    ///
    /// # Errors
    /// With the reason why there is none.
    pub async fn send(&self, request: HttpRequest, source: CallerDigest) -> HttpAnswer {
        if let Some(replacement) = &self.replacement {
            return replacement.answer(request);
        }
        if !request.share {
            return self.clone().fetch(request, source).await;
        }
        let (first, answer) = self.join(request.clone(), source);
        match answer.await {
            // The refusal was for the first caller, whose share may be full. This caller has another share.
            Err(HttpError::Resting(_)) if first != source => self.clone().fetch(request, source).await,
            answer => answer,
        }
    }

    /// Gets the document at `url`, with its headers and any status.
    ///
    /// # Errors
    /// With the reason why there is no answer.
    pub async fn document(&self, url: &Url, accept: &str) -> Result<WholeResponse, FetchError> {
        let request = HttpRequest {
            method: Method::Get,
            url: url.to_string(),
            headers: vec![("accept".to_owned(), accept.to_owned())],
            body: Vec::new(),
            client_auth: ClientAuth::None,
            share: false,
        };
        self.whole(request, CallerDigest::of_peer(None)).await
    }

    /// The answer to an identical running request, or to this one, and the source that sent it first. A separate task
    /// fetches it, so that the answer is not lost if one caller disconnects. The task removes itself from the running
    /// requests, so that nobody gets an answer that is older than the request.
    fn join(&self, request: HttpRequest, source: CallerDigest) -> PendingFetch {
        let mut under_way = self.under_way.lock();
        if let Some(asked) = under_way.get(&request) {
            return asked.clone();
        }
        let (fetcher, asked) = (self.clone(), request.clone());
        let task = workers::background().spawn(async move {
            let answer = fetcher.clone().fetch(asked.clone(), source).await;
            fetcher.under_way.lock().remove(&asked);
            answer
        });
        let answer = async move { task.await.unwrap_or(Err(HttpError::Unreachable)) }.boxed().shared();
        under_way.insert(request, (source, answer.clone()));
        (source, answer)
    }

    /// Prevents joining running requests, whose answers may be older than the next request.
    pub fn share_no_more(&self) {
        self.under_way.lock().clear();
    }

    async fn fetch(self, request: HttpRequest, source: CallerDigest) -> HttpAnswer {
        let origin = Url::parse(&request.url).ok().as_ref().and_then(Origin::of);
        let answer = self.whole(request, source).await;
        answer.map(visible_response).map_err(|unanswered| {
            self.log(origin, &unanswered);
            unanswered.error
        })
    }

    /// Unknown callers can cause requests, so repeated failures are not logged each time.
    fn log(&self, origin: Option<Origin>, unanswered: &FetchError) {
        let failed =
            matches!(unanswered.error, HttpError::Unreachable | HttpError::TimedOut | HttpError::TooLarge);
        let Some(others) = Some(&self.failing).filter(|_| failed).and_then(|failing| failing.turn()) else {
            return;
        };
        let server = origin.map_or_else(String::new, |origin| origin.0);
        tracing::warn!(server, others, why = %unanswered, "a server that a policy asks gave no answer");
    }

    async fn whole(&self, request: HttpRequest, source: CallerDigest) -> Result<WholeResponse, FetchError> {
        let url = Url::parse(&request.url).map_err(|_| HttpError::InvalidRequest)?;
        let origin = Origin::of(&url).ok_or(HttpError::InvalidRequest)?;
        let server = self.servers.get(&origin).ok_or(HttpError::NotGranted)?;
        if let Some(address) = literal_address(&url)
            && !server.reach().covers(address)
        {
            return Err(HttpError::NotGranted.into());
        }
        let outgoing = self.outgoing(&url, request)?;
        server.ask(source, exchange(&self.ways, server.reach(), outgoing)).await
    }

    fn outgoing(&self, url: &Url, request: HttpRequest) -> Result<http::Request<Full<Bytes>>, HttpError> {
        let HttpRequest { method, headers, mut body, client_auth, .. } = request;
        let mut builder = http::Request::builder().uri(url.as_str()).method(match method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
        });
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| HttpError::InvalidRequest)?;
            let mut value = HeaderValue::try_from(value).map_err(|_| HttpError::InvalidRequest)?;
            if name == AUTHORIZATION && client_auth == ClientAuth::None && is_bearer(&value) {
                let is_second = builder.headers_ref().is_some_and(|headers| headers.contains_key(&name));
                value.set_sensitive(true);
                builder = builder.header(name, value);
                if is_second {
                    return Err(HttpError::InvalidRequest);
                }
                continue;
            }
            if is_the_hosts_own(&name) {
                return Err(HttpError::InvalidRequest);
            }
            builder = builder.header(name, value);
        }
        match client_auth {
            ClientAuth::None => {}
            ClientAuth::Basic(client) => {
                builder = builder.header(AUTHORIZATION, basic(&client.id, self.secret(&client.secret)?)?);
            }
            ClientAuth::Post(client) => {
                let secret = self.secret(&client.secret)?.expose_secret();
                add_fields(&mut body, &[("client_id", &client.id), ("client_secret", secret)]);
            }
            ClientAuth::PrivateKeyJwt(assertion) => {
                let key = self.signing_keys.get(&assertion.key).ok_or(HttpError::NotGranted)?;
                let signed = key.sign(&assertion)?;
                let (id, typ) = (&*assertion.id, assertion::TYPE);
                add_fields(
                    &mut body,
                    &[("client_id", id), ("client_assertion_type", typ), ("client_assertion", &signed)],
                );
            }
        }
        if body.len() > LARGEST_BODY {
            return Err(HttpError::InvalidRequest);
        }
        builder.body(Full::new(body.into())).map_err(|_| HttpError::InvalidRequest)
    }

    fn secret(&self, name: &str) -> Result<&SecretString, HttpError> {
        self.secrets.get(name).ok_or(HttpError::NotGranted)
    }
}

/// Adds fields to a form.
fn add_fields(body: &mut Vec<u8>, fields: &[(&str, &str)]) {
    let fields = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    if !body.is_empty() {
        body.push(b'&');
    }
    body.extend_from_slice(fields.as_bytes());
}

/// `client_secret_basic` (RFC 6749, section 2.3.1): both parts are form-encoded first.
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, HttpError> {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| HttpError::InvalidRequest)?;
    value.set_sensitive(true);
    Ok(value)
}

/// True if the value has a bearer token (RFC 6750, section 2.1), such as one that an authenticator judges.
fn is_bearer(value: &HeaderValue) -> bool {
    let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    !token.is_empty() && token.chars().all(fits)
}

fn is_the_hosts_own(name: &HeaderName) -> bool {
    [
        "host",
        "content-length",
        "connection",
        "authorization",
        "transfer-encoding",
        "te",
        "upgrade",
        "proxy-authorization",
    ]
    .contains(&name.as_str())
}

/// The part of an answer that a policy may see.
fn visible_response(answer: WholeResponse) -> HttpResponse {
    let header = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    HttpResponse {
        status: answer.status().as_u16(),
        content_type: header(CONTENT_TYPE).map(str::to_owned),
        retry_after: header(RETRY_AFTER).and_then(|value| value.parse().ok()),
        body: answer.into_body().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::future::pending;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use url::Url;
    use witgate_plugin::{ClientAuth, HttpError, HttpRequest, Method};

    use super::server::SEATS;
    use super::{Fetcher, Origin, Reach};
    use crate::network::Ways;
    use witgate_base::breaker::CallerDigest;

    /// The first of two callers with the same request has no room left.
    #[tokio::test]
    async fn a_refusal_of_one_caller_is_not_shared_with_another() {
        let url = Url::parse("https://a.example/metadata").unwrap();
        let origin = Origin::of(&url).unwrap();
        let fetcher =
            Fetcher::new(Ways::closed(), HashMap::from([(origin.clone(), Reach::Public)]), HashMap::new());
        let [attacker, other] = [CallerDigest::of("attacker"), CallerDigest::of("other")];
        let server = &fetcher.servers[&origin];
        let mut flood = Box::pin(join_all((0..SEATS.most_of_one).map(|_| server.ask(attacker, pending()))));
        assert!((&mut flood).now_or_never().is_none(), "nobody answers them");
        let question = || HttpRequest {
            method: Method::Get,
            url: url.to_string(),
            headers: Vec::new(),
            body: Vec::new(),
            client_auth: ClientAuth::None,
            share: true,
        };
        let mut first = Box::pin(fetcher.send(question(), attacker));
        assert!((&mut first).now_or_never().is_none(), "it is under way");
        let second = fetcher.send(question(), other).await;
        assert!(matches!(first.await, Err(HttpError::Resting(_))));
        assert!(
            matches!(second, Err(HttpError::Unreachable | HttpError::NotGranted)),
            "it was asked: {second:?}"
        );
    }
}
