//! A test double of the host, for the unit tests of plugins. A test sets the data that a hook reads, and can look at
//! the effects of the hook afterwards.
//!
//! ```
//! # use witgate_plugin::{Authorize, Call, ConfigError, Decision, Host, Plugin, Principal, Wants};
//! # struct UntilFive;
//! # impl Plugin for UntilFive {
//! #     const NAME: &'static str = "until-five";
//! #     const VERSION: &'static str = "1.0.0";
//! #     const SUMMARY: &'static str = "Allows everything until five o'clock.";
//! #     type Config = serde_json::Map<String, serde_json::Value>;
//! #     fn configure(_: &str, _: Self::Config) -> Result<(Self, Wants), ConfigError> {
//! #         Ok((Self, Wants::default()))
//! #     }
//! # }
//! # impl Authorize for UntilFive {
//! #     async fn authorize<H: Host>(&self, host: &H, _: &Call<'_>, _: &Principal<'_>) -> Decision {
//! #         match host.now() % 86_400 < 17 * 3_600 {
//! #             true => Decision::Allow,
//! #             false => Decision::deny("after-hours", "it is past five"),
//! #         }
//! #     }
//! # }
//! use witgate_plugin::testing::{FakeHost, Person, tool};
//!
//! let (plugin, _) = UntilFive::configure_json("hours", "{}")?;
//! let ada = Person::named("ada").role("clerk");
//! let at = |time| FakeHost::new().at(time).authorize(&plugin, &tool("pay"), &ada.principal());
//!
//! assert_eq!(at(1_767_225_600), Decision::Allow);
//! assert_eq!(at(1_767_225_600 + 17 * 3_600), Decision::deny("after-hours", "it is past five"));
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! No runtime is needed: [`block_on`] drives a hook. Every native build has this module, and no component has it.

mod http;
mod lock;
mod person;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use sha2::{Digest as _, Sha256};

use self::lock::lock;
use crate::{
    Authenticate, Authorize, Call, Credential, Decision, Digest, Host, HttpError, HttpRequest, HttpResponse,
    Level, Method, PasswordError, Principal, SignedMessage, ToolAnnotations, Verdict, VerifyError, Wants,
};

pub use http::{json, status};
pub use person::{Person, method, prompt, resource, tool};

/// A test double of the host: a builder, whose getters return the effects of hooks.
///
/// By default, the time is 2026-01-01T00:00:00Z, the upstream is called `upstream`, its audience is
/// `https://mcp.example.com/mcp`, and all other data is absent.
#[derive(Debug)]
pub struct FakeHost {
    now: u64,
    upstream: String,
    audience: String,
    peer: Option<String>,
    headers: BTreeMap<String, String>,
    arguments: Option<String>,
    meta: Option<String>,
    certificate: Option<String>,
    proof: Option<String>,
    annotations: BTreeMap<String, ToolAnnotations>,
    issuer: Option<String>,
    claims: Option<String>,
    expires_at: Option<u64>,
    keys: BTreeMap<String, TestKey>,
    passwords: BTreeMap<String, String>,
    password_error: Option<PasswordError>,
    secrets: BTreeMap<String, String>,
    /// None: hooks get all data.
    wants: Option<Wants>,
    answers: http::Answers,
    cache: Mutex<BTreeMap<Vec<u8>, Cached>>,
    notes: Mutex<HookNotes>,
}

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600;

#[derive(Debug)]
struct Cached {
    value: Vec<u8>,
    end: u64,
}

/// The effects of hooks.
#[derive(Debug, Default)]
struct HookNotes {
    log: Vec<(Level, String)>,
    calls: BTreeMap<&'static str, usize>,
    requests: Vec<HttpRequest>,
    kept_until: Option<u64>,
}

/// The signature check of a key.
struct TestKey(Box<SignatureJudge>);

type SignatureJudge = dyn Fn(&SignedMessage<'_>) -> Result<(), VerifyError> + Send + Sync;

impl fmt::Debug for TestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self {
            now: NEW_YEAR,
            upstream: "upstream".to_owned(),
            audience: "https://mcp.example.com/mcp".to_owned(),
            peer: None,
            headers: BTreeMap::new(),
            arguments: None,
            meta: None,
            certificate: None,
            proof: None,
            annotations: BTreeMap::new(),
            issuer: None,
            claims: None,
            expires_at: None,
            keys: BTreeMap::new(),
            passwords: BTreeMap::new(),
            password_error: None,
            secrets: BTreeMap::new(),
            wants: None,
            answers: http::Answers::default(),
            cache: Mutex::default(),
            notes: Mutex::default(),
        }
    }
}

/// Setters, for use before a hook runs.
impl FakeHost {
    /// A host with nothing but a clock and an upstream.
    pub fn new() -> Self {
        Self::default()
    }

    /// At this time, in seconds since the Unix epoch.
    #[must_use]
    pub fn at(self, now: u64) -> Self {
        Self { now, ..self }
    }

    /// In front of the upstream of this name.
    #[must_use]
    pub fn upstream(self, name: &str) -> Self {
        Self { upstream: name.to_owned(), ..self }
    }

    /// With this as the upstream's resource identifier.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        Self { audience: audience.to_owned(), ..self }
    }

    /// Called from this address.
    #[must_use]
    pub fn peer(self, address: &str) -> Self {
        Self { peer: Some(address.to_owned()), ..self }
    }

    /// With a header of the request. Names are compared without regard to case.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.to_owned());
        self
    }

    /// With these arguments of the call, as JSON text.
    #[must_use]
    pub fn arguments(self, json: impl fmt::Display) -> Self {
        Self { arguments: Some(json.to_string()), ..self }
    }

    /// With this `_meta` of the call, as JSON text.
    #[must_use]
    pub fn meta(self, json: impl fmt::Display) -> Self {
        Self { meta: Some(json.to_string()), ..self }
    }

    /// Over a connection whose client certificate has this thumbprint.
    #[must_use]
    pub fn certificate(self, thumbprint: &str) -> Self {
        Self { certificate: Some(thumbprint.to_owned()), ..self }
    }

    /// With a good DPoP proof of the key that has this thumbprint.
    #[must_use]
    pub fn proof(self, thumbprint: &str) -> Self {
        Self { proof: Some(thumbprint.to_owned()), ..self }
    }

    /// In front of an upstream whose tool of this name has these approved annotations. Other tools have none.
    ///
    /// ```
    /// use witgate_plugin::testing::FakeHost;
    /// use witgate_plugin::{Host, ToolAnnotations};
    ///
    /// let reading = ToolAnnotations { read_only: true, ..ToolAnnotations::default() };
    /// let host = FakeHost::new().annotated("get_rows", reading);
    /// assert_eq!(host.annotations("get_rows"), Some(reading));
    /// assert_eq!(host.annotations("drop_rows"), None);
    /// ```
    #[must_use]
    pub fn annotated(mut self, tool: &str, annotations: ToolAnnotations) -> Self {
        self.annotations.insert(tool.to_owned(), annotations);
        self
    }

    /// About an identity that this issuer vouches for.
    #[must_use]
    pub fn issuer(self, issuer: &str) -> Self {
        Self { issuer: Some(issuer.to_owned()), ..self }
    }

    /// About an identity with these claims, as the text of one JSON object.
    #[must_use]
    pub fn claims(self, json: impl fmt::Display) -> Self {
        Self { claims: Some(json.to_string()), ..self }
    }

    /// About an identity that ends then, in seconds since the Unix epoch.
    #[must_use]
    pub fn expires_at(self, end: u64) -> Self {
        Self { expires_at: Some(end), ..self }
    }

    /// With a key that has this outcome for every signature. Other keys are unknown.
    #[must_use]
    pub fn key(self, name: &str, outcome: Result<(), VerifyError>) -> Self {
        self.key_that(name, move |_| outcome)
    }

    /// With a key that judges signatures by this function.
    ///
    /// ```
    /// use witgate_plugin::testing::{FakeHost, block_on};
    /// use witgate_plugin::{Algorithm, Host, SignedMessage, VerifyError};
    ///
    /// let host = FakeHost::new().key_that("session", |signed| match signed.algorithm {
    ///     Algorithm::Hs256 if signed.signature == b"good" => Ok(()),
    ///     Algorithm::Hs256 => Err(VerifyError::BadSignature),
    ///     _ => Err(VerifyError::AlgorithmMismatch),
    /// });
    /// let signed = SignedMessage { algorithm: Algorithm::Hs256, key_id: None, message: b"m", signature: b"good" };
    /// assert_eq!(block_on(host.verify("session", &signed)), Ok(()));
    /// assert_eq!(block_on(host.verify("other", &signed)), Err(VerifyError::UnknownKey));
    /// ```
    #[must_use]
    pub fn key_that(
        mut self,
        name: &str,
        judge: impl Fn(&SignedMessage<'_>) -> Result<(), VerifyError> + Send + Sync + 'static,
    ) -> Self {
        self.keys.insert(name.to_owned(), TestKey(Box::new(judge)));
        self
    }

    /// With a hash of this password. Other hashes have no password.
    ///
    /// ```
    /// use witgate_plugin::testing::{FakeHost, block_on};
    /// use witgate_plugin::Host;
    ///
    /// let host = FakeHost::new().password("$argon2id$…", "secret");
    /// assert_eq!(block_on(host.verify_password("$argon2id$…", "secret")), Ok(true));
    /// assert_eq!(block_on(host.verify_password("$argon2id$…", "other")), Ok(false));
    /// ```
    #[must_use]
    pub fn password(mut self, hash: &str, password: &str) -> Self {
        self.passwords.insert(hash.to_owned(), password.to_owned());
        self
    }

    /// Checking no passwords, for this reason.
    #[must_use]
    pub fn password_error(self, error: PasswordError) -> Self {
        Self { password_error: Some(error), ..self }
    }

    /// With a secret that is granted.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a value in the cache, which does not expire.
    #[must_use]
    pub fn cached(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let cached = Cached { value: value.as_ref().to_owned(), end: u64::MAX };
        lock(&self.cache).insert(key.as_ref().to_owned(), cached);
        self
    }

    /// With an answer to requests with this method and URL. Several answers for the same request are used
    /// in their order, and the last one again and again. A request without an answer is not granted.
    ///
    /// ```
    /// use witgate_plugin::testing::{FakeHost, json, status};
    /// use witgate_plugin::{HttpError, Method};
    ///
    /// let host = FakeHost::new()
    ///     .answer(Method::Get, "https://idp.example.com/keys", status(503))
    ///     .answer(Method::Get, "https://idp.example.com/keys", json(r#"{"keys":[]}"#))
    ///     .answer(Method::Post, "https://idp.example.com/introspect", Err(HttpError::TimedOut));
    /// ```
    #[must_use]
    pub fn answer(self, method: Method, url: &str, answer: Result<HttpResponse, HttpError>) -> Self {
        self.answers.add(method, url, answer);
        self
    }

    /// With only the data that a plugin wants, as the real host does it.
    ///
    /// ```
    /// use witgate_plugin::testing::FakeHost;
    /// use witgate_plugin::{Host, Wants};
    ///
    /// let host = FakeHost::new().header("X-Tenant", "acme");
    /// assert_eq!(Host::header(&host, "x-tenant").as_deref(), Some("acme"));
    /// let host = host.wanting(&Wants::default());
    /// assert_eq!(Host::header(&host, "x-tenant"), None);
    /// ```
    #[must_use]
    pub fn wanting(self, wants: &Wants) -> Self {
        Self { wants: Some(wants.clone()), ..self }
    }
}

/// Running hooks.
impl FakeHost {
    /// The verdict of `plugin` on a credential.
    pub fn authenticate<P: Authenticate>(
        &self,
        plugin: &P,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Verdict {
        block_on(plugin.authenticate(self, call, credential))
    }

    /// The decision of `plugin` on a call.
    pub fn authorize<P: Authorize>(
        &self,
        plugin: &P,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Decision {
        block_on(plugin.authorize(self, call, principal))
    }
}

/// Getters of the effects of hooks.
impl FakeHost {
    /// The lines that were logged.
    pub fn log_lines(&self) -> Vec<(Level, String)> {
        self.notes().log.clone()
    }

    /// The number of calls of a function of [`Host`], by its name: `sha256`, `cached`.
    ///
    /// ```
    /// use witgate_plugin::testing::FakeHost;
    /// use witgate_plugin::Host;
    ///
    /// let host = FakeHost::new();
    /// host.now();
    /// assert_eq!((host.calls("now"), host.calls("send")), (1, 0));
    /// ```
    pub fn calls(&self, function: &str) -> usize {
        self.notes().calls.get(function).copied().unwrap_or_default()
    }

    /// The requests that were sent, in order.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.notes().requests.clone()
    }

    /// The earliest time until which a verdict was declared to stay the same.
    pub fn kept_until(&self) -> Option<u64> {
        self.notes().kept_until
    }

    /// The value under a key of the cache.
    pub fn in_cache(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let cache = lock(&self.cache);
        cache.get(key.as_ref()).filter(|cached| self.now < cached.end).map(|cached| cached.value.clone())
    }

    fn notes(&self) -> MutexGuard<'_, HookNotes> {
        lock(&self.notes)
    }

    fn note(&self, function: &'static str) {
        *self.notes().calls.entry(function).or_default() += 1;
    }

    fn wants(&self, wanted: impl FnOnce(&Wants) -> bool) -> bool {
        self.wants.as_ref().is_none_or(wanted)
    }
}

impl Host for FakeHost {
    fn now(&self) -> u64 {
        self.note("now");
        self.now
    }

    fn log(&self, level: Level, message: &str) {
        self.note("log");
        self.notes().log.push((level, message.to_owned()));
    }

    fn keep_verdict(&self, until: u64) {
        self.note("keep_verdict");
        let mut notes = self.notes();
        notes.kept_until = Some(notes.kept_until.map_or(until, |earlier| earlier.min(until)));
    }

    fn upstream(&self) -> Cow<'_, str> {
        self.note("upstream");
        self.upstream.as_str().into()
    }

    fn audience(&self) -> Cow<'_, str> {
        self.note("audience");
        self.audience.as_str().into()
    }

    fn peer(&self) -> Option<Cow<'_, str>> {
        self.note("peer");
        visible(self.peer.as_ref(), self.wants(|wants| wants.data.peer))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.note("header");
        let named = |wants: &Wants| wants.headers.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        visible(self.headers.get(&name.to_ascii_lowercase()), self.wants(named))
    }

    fn arguments(&self) -> Option<Cow<'_, str>> {
        self.note("arguments");
        visible(self.arguments.as_ref(), self.wants(|wants| wants.data.arguments))
    }

    fn meta(&self) -> Option<Cow<'_, str>> {
        self.note("meta");
        visible(self.meta.as_ref(), self.wants(|wants| wants.data.meta))
    }

    fn certificate_thumbprint(&self) -> Option<Cow<'_, str>> {
        self.note("certificate_thumbprint");
        visible(self.certificate.as_ref(), true)
    }

    fn dpop_thumbprint(&self) -> Option<Cow<'_, str>> {
        self.note("dpop_thumbprint");
        visible(self.proof.as_ref(), true)
    }

    fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        self.note("annotations");
        self.annotations.get(tool).copied()
    }

    fn issuer(&self) -> Option<Cow<'_, str>> {
        self.note("issuer");
        visible(self.issuer.as_ref(), true)
    }

    fn claims(&self) -> Option<Cow<'_, str>> {
        self.note("claims");
        visible(self.claims.as_ref(), self.wants(|wants| wants.data.claims))
    }

    fn expires_at(&self) -> Option<u64> {
        self.note("expires_at");
        self.expires_at
    }

    fn sha256(&self, data: &[u8]) -> Digest {
        self.note("sha256");
        Sha256::digest(data).into()
    }

    async fn verify(&self, key: &str, signed: &SignedMessage<'_>) -> Result<(), VerifyError> {
        self.note("verify");
        self.keys.get(key).map_or(Err(VerifyError::UnknownKey), |TestKey(judge)| judge(signed))
    }

    async fn verify_password(&self, hash: &str, password: &str) -> Result<bool, PasswordError> {
        self.note("verify_password");
        let known = self.passwords.get(hash).is_some_and(|known| known == password);
        self.password_error.map_or(Ok(known), Err)
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.note("secret");
        self.secrets.get(name).cloned()
    }

    fn cached(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.note("cached");
        self.in_cache(key)
    }

    fn cache(&self, key: &[u8], value: &[u8], ttl_s: u32) {
        self.note("cache");
        let cached = Cached { value: value.to_owned(), end: self.now.saturating_add(ttl_s.into()) };
        lock(&self.cache).insert(key.to_owned(), cached);
    }

    fn uncache(&self, key: &[u8]) {
        self.note("uncache");
        lock(&self.cache).remove(key);
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.note("send");
        let answer = self.answers.next(request.method, &request.url);
        self.notes().requests.push(request);
        answer
    }
}

fn visible(value: Option<&String>, wanted: bool) -> Option<Cow<'_, str>> {
    value.filter(|_| wanted).map(|value| value.as_str().into())
}

/// Drives a future to its end, on this thread. The futures of hooks are ready at once before a
/// [`FakeHost`]; another host may let them wait.
///
/// ```
/// assert_eq!(witgate_plugin::testing::block_on(async { 1 + 1 }), 2);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::{FakeHost, block_on, json, status};
    use crate::{ClientAuth, Data, Host, HttpError, HttpRequest, Level, Method, Wants};

    fn get(url: &str) -> HttpRequest {
        HttpRequest {
            method: Method::Get,
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            client_auth: ClientAuth::None,
            share: false,
        }
    }

    #[test]
    fn answers_are_given_in_order_and_the_last_one_repeats() {
        let host = FakeHost::new().answer(Method::Get, "https://a.example/", status(503)).answer(
            Method::Get,
            "https://a.example/",
            json("{}"),
        );
        let ask = |url| block_on(host.send(get(url))).map(|answer| answer.status);
        assert_eq!(ask("https://a.example/"), Ok(503));
        assert_eq!(ask("https://a.example/"), Ok(200));
        assert_eq!(ask("https://a.example/"), Ok(200));
        assert_eq!(ask("https://b.example/"), Err(HttpError::NotGranted));
        assert_eq!((host.calls("send"), host.requests().len()), (4, 4));
    }

    #[test]
    fn the_cache_forgets_expired_entries() {
        let host = FakeHost::new().at(100).cached("ever", "x");
        host.cache(b"key", b"value", 10);
        assert_eq!(Host::cached(&host, b"key").as_deref(), Some(b"value".as_slice()));
        let host = host.at(110);
        assert_eq!(Host::cached(&host, b"key"), None);
        assert_eq!(host.in_cache("ever").as_deref(), Some(b"x".as_slice()));
        host.uncache(b"ever");
        assert_eq!(host.in_cache("ever"), None);
    }

    #[test]
    fn only_requested_parts_are_visible() {
        let full = || FakeHost::new().header("X-A", "1").arguments("{}").claims("{}").peer("192.0.2.1");
        let wants = Wants {
            headers: vec!["x-a".to_owned()],
            data: Data { claims: true, ..Data::default() },
            ..Wants::default()
        };
        let host = full().wanting(&wants);
        assert!(Host::header(&host, "X-a").is_some() && Host::claims(&host).is_some());
        assert!(Host::arguments(&host).is_none() && Host::peer(&host).is_none());
        assert!(Host::arguments(&full()).is_some() && Host::peer(&full()).is_some());
    }

    #[test]
    fn digests_are_sha_256() {
        let hex: String = FakeHost::new().sha256(b"abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn log_lines_are_recorded() {
        let host = FakeHost::new();
        host.log(Level::Warn, "hm");
        assert_eq!(host.log_lines(), [(Level::Warn, "hm".to_owned())]);
    }

    #[test]
    fn a_waiting_future_is_woken() {
        let mut is_first = true;
        let later = std::future::poll_fn(move |context| {
            if !std::mem::take(&mut is_first) {
                return std::task::Poll::Ready(7);
            }
            let waker = context.waker().clone();
            std::thread::spawn(move || waker.wake());
            std::task::Poll::Pending
        });
        assert_eq!(block_on(later), 7);
    }
}
