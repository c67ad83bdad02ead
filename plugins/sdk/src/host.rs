//! The host functions of a policy. The built-in calls them directly, the component through the WIT imports;
//! the same host code serves both.

use std::borrow::Cow;
use std::future::Future;

use crate::ToolAnnotations;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Details for the plugin's author.
    Debug,
    /// An event of normal operation.
    Info,
    /// A condition that the operator should look at.
    Warn,
    /// A failure.
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
    /// Selects a key of a key set. None: the host tries every key of the set that fits the algorithm.
    pub key_id: Option<&'a str>,
    /// The signed bytes.
    pub message: &'a [u8],
    /// The raw signature, not in base64.
    pub signature: &'a [u8],
}

/// The reason why the host did not accept a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// The policy has no grant for a key of this name.
    UnknownKey,
    /// The key set has no key with this id.
    UnknownKeyId,
    /// The key does not fit the algorithm.
    AlgorithmMismatch,
    /// The signature does not match the message.
    BadSignature,
    /// The host could not fetch the key set.
    Unavailable,
}

/// The reason why the host did not check a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// The hash has another form, or a check of it would cost more than the host permits.
    UnusableHash,
    /// Too many checks wait. The value is the number of seconds until a retry makes sense.
    Busy(u32),
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
    /// Name of its secret, from the settings.
    pub secret: String,
}

/// An assertion about a client, which the host signs for each request (RFC 7523, section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assertion {
    /// The client's id: `iss` and `sub`.
    pub id: String,
    /// Name of the private key, from the settings.
    pub key: String,
    /// The key's id at the server.
    pub key_id: Option<String>,
    /// JOSE name of the signature algorithm. None: the usual algorithm for the key.
    pub algorithm: Option<String>,
    /// The audience: the server's issuer identifier, or the endpoint's URL.
    pub audience: String,
}

/// The client's authentication to the server (RFC 6749, section 2.3; RFC 7523, section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// No authentication.
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
    /// Other headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The client's authentication.
    pub client_auth: ClientAuth,
    /// True if identical requests at the same time may share one answer.
    pub share: bool,
}

/// The answer to an outgoing request.
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

/// The reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The origin is not granted, or the host does not connect to addresses of this kind.
    NotGranted,
    /// The request is invalid.
    InvalidRequest,
    /// The host could not connect, or the connection broke.
    Unreachable,
    /// The complete answer did not arrive in time.
    TimedOut,
    /// The answer's body exceeds the limit.
    TooLarge,
    /// The host did not send the request: the server has failed several times in a row, or too many
    /// requests wait for it. The value is the number of seconds until a retry makes sense.
    Resting(u32),
}

/// The host functions that a policy may call during a hook.
///
/// ```
/// use witgate_plugin::{ClientAuth, Host, HttpRequest, Level, Method, Unavailability};
///
/// /// Asks the operator's service whether it knows a caller. The answer is cached for a minute.
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
///         host.log(Level::Warn, &format!("no answer of the service: {error:?}"));
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

    /// Declares that [`crate::Authenticate::authenticate`] gives the same verdict until `until`, in seconds since the
    /// Unix epoch, whenever it is asked about the same call and credential. The host may then use the verdict again
    /// without a call of the hook. It does so only for an identity, and only if the hook has used no other host
    /// functions than the clock, the log, the upstream, its audience, digests and signatures.
    ///
    /// Do not declare it if the verdict depends on anything else, such as a value that the plugin has kept. In another
    /// hook, it has no effect.
    fn keep_verdict(&self, until: u64) {
        let _ = until;
    }

    /// Names the rule because of which [`crate::Authorize::authorize`] allows the call, for the operator's audit: its kind
    /// and its name, such as `role` and the name of a role. The first rule of a call counts. Components cannot tell their
    /// host: there it has no effect.
    fn note_rule(&self, kind: &str, name: &str) {
        let _ = (kind, name);
    }

    /// Name of the upstream that the call is for.
    fn upstream(&self) -> Cow<'_, str>;
    /// The upstream's resource identifier: the audience that a token has to have.
    fn audience(&self) -> Cow<'_, str>;
    /// The peer's IP address.
    fn peer(&self) -> Option<Cow<'_, str>>;
    /// The value of a header that [`crate::Wants`] names.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The call's arguments, as JSON text.
    fn arguments(&self) -> Option<Cow<'_, str>>;
    /// The call's `_meta`, as JSON text.
    fn meta(&self) -> Option<Cow<'_, str>>;
    /// The thumbprint of the connection's client certificate (`x5t#S256` of RFC 8705, section 3.1).
    fn certificate_thumbprint(&self) -> Option<Cow<'_, str>>;
    /// The thumbprint of the key that signed the DPoP proof of this call, which the host has verified
    /// (`jkt` of RFC 9449, section 6.1).
    fn dpop_thumbprint(&self) -> Option<Cow<'_, str>>;
    /// The approved annotations of a tool that the hook decides about, for authorizers. None: the upstream does not hold
    /// back definitions that are not approved, the tool has no approved definition, or a hint in it is neither true nor
    /// false. They are the same for a call and for an entry of a list.
    fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        let _ = tool;
        None
    }

    /// The issuer of the caller's identity, for authorizers.
    fn issuer(&self) -> Option<Cow<'_, str>>;
    /// Other claims of the caller's identity, as one JSON object, for authorizers.
    fn claims(&self) -> Option<Cow<'_, str>>;
    /// The expiry of the caller's identity, in seconds since the Unix epoch, for authorizers.
    fn expires_at(&self) -> Option<u64>;

    /// SHA-256 of `data`.
    fn sha256(&self, data: &[u8]) -> Digest;
    /// Checks a signature with the key named `key`.
    ///
    /// # Errors
    /// With the reason why the host did not accept it.
    fn verify(
        &self,
        key: &str,
        signed: &SignedMessage<'_>,
    ) -> impl Future<Output = Result<(), VerifyError>> + Send;

    /// Checks that `hash` is a hash of `password`: Argon2, scrypt or PBKDF2 in the PHC string format, or bcrypt. For an
    /// unknown user, have the password checked as well, with a hash of the same cost.
    ///
    /// # Errors
    /// With the reason why the host did not check it.
    fn verify_password(
        &self,
        hash: &str,
        password: &str,
    ) -> impl Future<Output = Result<bool, PasswordError>> + Send;

    /// The value of the secret named `name`, if it is granted.
    fn secret(&self, name: &str) -> Option<String>;

    /// The cached value of `key`.
    fn cached(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Stores `value` under `key` for at most `ttl_s` seconds.
    fn cache(&self, key: &[u8], value: &[u8], ttl_s: u32);
    /// Removes the entry of `key`.
    fn uncache(&self, key: &[u8]);

    /// Sends a request and waits for the complete answer.
    ///
    /// # Errors
    /// With the reason why there is no answer.
    fn send(&self, request: HttpRequest) -> impl Future<Output = Result<HttpResponse, HttpError>> + Send;
}
