//! Outgoing HTTP for policies: granted origins only, addresses checked when connecting, no
//! redirects, bounded in time and size.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use witgate_plugin::{ClientAuth, HttpError, HttpRequest, HttpResponse, Method};

/// Longest wait for a whole answer. Identity providers answer in well under a second; a caller
/// who waits longer than this has given up.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer: a JWK Set or an introspection answer has a few kilobytes.
const LARGEST_ANSWER: usize = 1 << 20;
/// Largest request body.
const LARGEST_BODY: usize = 64 << 10;

type Answer = Result<HttpResponse, HttpError>;

/// A whole answer with its headers.
pub type Document = http::Response<Bytes>;

/// Answers requests in place of the network: for test cases.
pub trait Exchange: Send + Sync {
    /// The answer to `request`.
    fn answer(&self, request: HttpRequest) -> Answer;
}

/// Outgoing HTTP for one policy.
#[derive(Clone)]
pub struct Fetcher {
    origins: Arc<HashMap<Origin, Reach>>,
    secrets: Arc<HashMap<String, SecretString>>,
    under_way: Arc<Mutex<HashMap<HttpRequest, Shared<BoxFuture<'static, Answer>>>>>,
    instead: Option<Arc<dyn Exchange>>,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

/// Which addresses an origin may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Public ones only: for origins that a plugin was granted.
    Public,
    /// Private and loopback ones too: for endpoints that the operator has named as such.
    /// Link-local ones, where clouds keep their metadata, never.
    Private,
}

impl Origin {
    /// The origin of a URL. None: not an `http` or `https` URL with a host.
    pub fn of(url: &Url) -> Option<Self> {
        matches!(url.scheme(), "http" | "https").then(|| url.host_str())??;
        Some(Self(url.origin().ascii_serialization()))
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("origins", &self.origins).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher for `origins`, that attaches the client secrets in `secrets` by name.
    pub fn new(origins: HashMap<Origin, Reach>, secrets: HashMap<String, SecretString>) -> Self {
        Self {
            origins: Arc::new(origins),
            secrets: Arc::new(secrets),
            under_way: Arc::default(),
            instead: None,
        }
    }

    /// A fetcher that asks `instead` and never the network.
    pub fn answered_by(instead: Arc<dyn Exchange>) -> Self {
        Self { instead: Some(instead), ..Self::new(HashMap::new(), HashMap::new()) }
    }

    /// A fetcher for one URL that the operator has named.
    pub fn for_url(url: &Url) -> Self {
        Self::new(
            Origin::of(url).map(|origin| (origin, Reach::Private)).into_iter().collect(),
            HashMap::new(),
        )
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// With why there is none.
    pub async fn send(&self, request: HttpRequest) -> Answer {
        if let Some(instead) = &self.instead {
            return instead.answer(request);
        }
        if !request.share {
            return self.clone().fetch(request).await;
        }
        let answer = self.join(&request);
        let result = answer.await;
        self.lock().remove(&request);
        result
    }

    /// Gets what is at `url`, with its headers, whatever the status.
    ///
    /// # Errors
    /// With why there is no answer.
    pub async fn document(&self, url: &Url, accept: &str) -> Result<Document, HttpError> {
        let request = HttpRequest {
            method: Method::Get,
            url: url.to_string(),
            headers: vec![("accept".to_owned(), accept.to_owned())],
            body: Vec::new(),
            client_auth: ClientAuth::None,
            share: false,
        };
        self.whole(request).await
    }

    /// The answer to an identical request under way, or to this one. A task of its own fetches
    /// it, so that a caller who goes away does not take the others' answer along.
    fn join(&self, request: &HttpRequest) -> Shared<BoxFuture<'static, Answer>> {
        let mut under_way = self.lock();
        if let Some(answer) = under_way.get(request) {
            return answer.clone();
        }
        let task = tokio::spawn(self.clone().fetch(request.clone()));
        let answer = async move { task.await.unwrap_or(Err(HttpError::Unreachable)) }.boxed().shared();
        under_way.insert(request.clone(), answer.clone());
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HttpRequest, Shared<BoxFuture<'static, Answer>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(self, request: HttpRequest) -> Answer {
        self.whole(request).await.map(told)
    }

    async fn whole(&self, request: HttpRequest) -> Result<Document, HttpError> {
        let url = Url::parse(&request.url).map_err(|_| HttpError::InvalidRequest)?;
        let origin = Origin::of(&url).ok_or(HttpError::InvalidRequest)?;
        let reach = *self.origins.get(&origin).ok_or(HttpError::NotGranted)?;
        if let Some(address) = literal_address(&url)
            && !reach.covers(address)
        {
            return Err(HttpError::NotGranted);
        }
        let outgoing = self.outgoing(&url, request)?;
        tokio::time::timeout(TIMEOUT, exchange(reach, outgoing)).await.map_err(|_| HttpError::TimedOut)?
    }

    fn outgoing(&self, url: &Url, request: HttpRequest) -> Result<http::Request<Full<Bytes>>, HttpError> {
        let HttpRequest { method, headers, mut body, client_auth, .. } = request;
        let mut builder = http::Request::builder().uri(url.as_str()).method(match method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
        });
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| HttpError::InvalidRequest)?;
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
                let fields = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("client_id", &client.id)
                    .append_pair("client_secret", secret)
                    .finish();
                if !body.is_empty() {
                    body.push(b'&');
                }
                body.extend_from_slice(fields.as_bytes());
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

/// `client_secret_basic` (RFC 6749, section 2.3.1): both parts form-encoded first.
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, HttpError> {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| HttpError::InvalidRequest)?;
    value.set_sensitive(true);
    Ok(value)
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

/// What a policy gets to know of an answer.
fn told(answer: Document) -> HttpResponse {
    let header = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    HttpResponse {
        status: answer.status().as_u16(),
        content_type: header(CONTENT_TYPE).map(str::to_owned),
        retry_after: header(RETRY_AFTER).and_then(|value| value.parse().ok()),
        body: answer.into_body().to_vec(),
    }
}

async fn exchange(reach: Reach, outgoing: http::Request<Full<Bytes>>) -> Result<Document, HttpError> {
    let client = match reach {
        Reach::Public => &PUBLIC,
        Reach::Private => &PRIVATE,
    };
    let response = client.request(outgoing).await.map_err(|error| {
        if refused_address(&error) { HttpError::NotGranted } else { HttpError::Unreachable }
    })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                HttpError::TooLarge
            } else {
                HttpError::Unreachable
            }
        })?
        .to_bytes();
    Ok(Document::from_parts(head, body))
}

type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

static PUBLIC: LazyLock<HttpClient> = LazyLock::new(|| client(Reach::Public));
static PRIVATE: LazyLock<HttpClient> = LazyLock::new(|| client(Reach::Private));

fn client(reach: Reach) -> HttpClient {
    let mut http = HttpConnector::new_with_resolver(Resolver { reach });
    http.enforce_http(false);
    http.set_connect_timeout(Some(TIMEOUT));
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .unwrap_or_else(|error| {
            tracing::warn!(
                "no certificate authorities on this machine, so no https server can be trusted: {error}"
            );
            hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(without_roots())
        })
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Client::builder(TokioExecutor::new()).build(https)
}

fn without_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Resolves names, and lets only those addresses through that the reach covers: what is checked
/// is what is connected to, so a name that resolves differently the second time gains nothing.
#[derive(Clone, Copy, Debug)]
struct Resolver {
    reach: Reach,
}

#[derive(Debug, thiserror::Error)]
#[error("the name resolves to addresses that are not connected to")]
struct RefusedAddress;

fn refused_address(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        error.is::<RefusedAddress>()
            || error
                .downcast_ref::<std::io::Error>()
                .and_then(|io| io.get_ref())
                .is_some_and(|inner| inner.is::<RefusedAddress>())
    })
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let covered: HashSet<_> = found.into_iter().filter(|a| reach.covers(a.ip())).collect();
            if covered.is_empty() {
                return Err(std::io::Error::other(RefusedAddress));
            }
            Ok(covered.into_iter().collect::<Vec<_>>().into_iter())
        })
    }
}

fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

impl Reach {
    fn covers(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Public => is_public(address),
            Self::Private => !is_link_local(address) && !address.is_unspecified() && !address.is_multicast(),
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        // The second is where one cloud keeps its metadata.
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// Special-purpose addresses by the IANA registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (b & 0xc0) == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b & 0xfe) == 18))
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                // NAT64 and 6to4 carry an IPv4 address inside; documentation is nobody's.
                || (first == 0x64 && second == 0xff9b)
                || first == 0x2002
                || (first == 0x2001 && (second == 0xdb8 || second < 0x200)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Reach;

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert!(!Reach::Public.covers(address), "{address}");
        }
        assert!(Reach::Public.covers("93.184.216.34".parse().expect("an address")));
        assert!(Reach::Public.covers("2606:2800:220:1::1".parse().expect("an address")));
    }

    #[test]
    fn metadata_addresses_are_nobodys_reach() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"] {
            assert!(!Reach::Private.covers(address.parse().expect("an address")), "{address}");
        }
        assert!(Reach::Private.covers("127.0.0.1".parse().expect("an address")));
    }
}
