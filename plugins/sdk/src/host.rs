//! The host functions of a policy. The built-in calls them directly, the component through the WIT imports;
//! the same host code serves both.

use std::borrow::Cow;
use std::future::Future;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Needs the operator's eye.
    Warn,
    /// Something is broken.
    Error,
}

/// A signature or MAC algorithm, by its JOSE name (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the JOSE names say it")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// A message and its signature.
#[derive(Clone, Copy, Debug)]
pub struct SignedMessage<'a> {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Picks a key of a set; none: every key of the set that is for the algorithm is tried.
    pub key_id: Option<&'a str>,
    /// The signed bytes.
    pub message: &'a [u8],
    /// The raw signature, not in base64.
    pub signature: &'a [u8],
}

/// The error when a signature was not found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// No key of that name is granted.
    UnknownKey,
    /// The key set has no key of that id.
    UnknownKeyId,
    /// The key is not for this algorithm.
    AlgorithmMismatch,
    /// The signature does not fit the message.
    BadSignature,
    /// The key set could not be had from where it lives.
    Unavailable,
}

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "HTTP says it")]
pub enum Method {
    Get,
    Post,
}

/// A client of an authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The client's id.
    pub id: String,
    /// Name of its secret, as the settings gave it.
    pub secret: String,
}

/// The host's statement about a client, signed anew for each request (RFC 7523, section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assertion {
    /// The client's id: `iss` and `sub`.
    pub id: String,
    /// Name of the private key, as the settings gave it.
    pub key: String,
    /// The key's id at the server.
    pub key_id: Option<String>,
    /// JOSE name of the signature algorithm; none: the usual one of the key.
    pub algorithm: Option<String>,
    /// The audience: the server's issuer identifier, or the endpoint's URL.
    pub audience: String,
}

/// The client's authentication to the server (RFC 6749, section 2.3; RFC 7523, section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// Not at all.
    None,
    /// `client_secret_basic`.
    Basic(Client),
    /// `client_secret_post`.
    Post(Client),
    /// `private_key_jwt`.
    PrivateKeyJwt(Assertion),
}

/// An outgoing request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// An absolute URL of a granted origin.
    pub url: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The client's authentication.
    pub client_auth: ClientAuth,
    /// Let identical requests under way share one answer.
    pub share: bool,
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The body.
    pub body: Vec<u8>,
}

/// The error in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The origin is not granted, or its address is one that the host does not connect to.
    NotGranted,
    /// The request is not well formed.
    InvalidRequest,
    /// No connection, or it broke.
    Unreachable,
    /// No complete answer in time.
    TimedOut,
    /// The answer's body passes the bound.
    TooLarge,
    /// The server keeps failing, or too many wait for it, and it was not asked: when trying again
    /// makes sense, in seconds from now.
    Resting(u32),
}

/// The host functions that a policy may call during a hook.
///
/// ```
/// use witgate_plugin::{ClientAuth, Host, HttpRequest, Level, Method, Unavailability};
///
/// /// Whether the operator's own service knows a caller. The answer is good for a minute.
/// async fn is_known<H: Host>(host: &H, name: &str) -> Result<bool, Unavailability> {
///     if let Some(known) = host.cached(name.as_bytes()) {
///         return Ok(known == b"yes");
///     }
///     let request = HttpRequest {
///         method: Method::Post,
///         url: "https://people.example.com/known".to_owned(),
///         headers: vec![("Content-Type".to_owned(), "text/plain".to_owned())],
///         body: name.as_bytes().to_owned(),
///         client_auth: ClientAuth::None,
///         share: true,
///     };
///     let answer = host.send(request).await.map_err(|error| {
///         host.log(Level::Warn, &format!("nobody to ask: {error:?}"));
///         Unavailability::new("the service does not answer", Some(5))
///     })?;
///     let known: &[u8] = if answer.status == 200 { b"yes" } else { b"no" };
///     host.cache(name.as_bytes(), known, 60);
///     Ok(answer.status == 200)
/// }
///
/// use witgate_plugin::testing::{FakeHost, block_on, status};
/// let host = FakeHost::new().answer(Method::Post, "https://people.example.com/known", status(200));
/// assert_eq!(block_on(is_known(&host, "ada")), Ok(true));
/// assert_eq!(block_on(is_known(&host, "ada")), Ok(true));
/// assert_eq!(host.requests().len(), 1);
/// ```
pub trait Host: Sync {
    /// The time now, in whole seconds since the Unix epoch.
    fn now(&self) -> u64;
    /// Writes one log line.
    fn log(&self, level: Level, message: &str);

    /// Name of the upstream that the call is for.
    fn upstream(&self) -> Cow<'_, str>;
    /// The upstream's resource identifier: what a token's audience has to be.
    fn audience(&self) -> Cow<'_, str>;
    /// The peer's IP address.
    fn peer(&self) -> Option<Cow<'_, str>>;
    /// The value of a wanted header.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The call's arguments, as JSON text.
    fn arguments(&self) -> Option<Cow<'_, str>>;
    /// The call's `_meta`, as JSON text.
    fn meta(&self) -> Option<Cow<'_, str>>;
    /// The thumbprint of the connection's client certificate (`x5t#S256` of RFC 8705, section 3.1).
    fn certificate_thumbprint(&self) -> Option<Cow<'_, str>>;
    /// The thumbprint of the key whose DPoP proof the host found good for this call (`jkt` of
    /// RFC 9449, section 6.1).
    fn dpop_thumbprint(&self) -> Option<Cow<'_, str>>;

    /// The issuer of the identity that is decided about.
    fn issuer(&self) -> Option<Cow<'_, str>>;
    /// That identity's further claims, as one JSON object.
    fn claims(&self) -> Option<Cow<'_, str>>;
    /// The expiry of that identity, in seconds since the Unix epoch.
    fn expires_at(&self) -> Option<u64>;

    /// SHA-256 of `data`.
    fn sha256(&self, data: &[u8]) -> Digest;
    /// Checks a signature with the key named `key`.
    ///
    /// # Errors
    /// With why it was not found good.
    fn verify(
        &self,
        key: &str,
        signed: &SignedMessage<'_>,
    ) -> impl Future<Output = Result<(), VerifyError>> + Send;

    /// The value of the secret named `name`, where it is granted.
    fn secret(&self, name: &str) -> Option<String>;

    /// The cached value of `key`.
    fn cached(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Keeps `value` under `key` for `ttl_s` seconds at most.
    fn cache(&self, key: &[u8], value: &[u8], ttl_s: u32);
    /// Forgets `key`.
    fn uncache(&self, key: &[u8]);

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// With why there is no answer.
    fn send(&self, request: HttpRequest) -> impl Future<Output = Result<HttpResponse, HttpError>> + Send;
}
