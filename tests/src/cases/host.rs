//! A host whose clock, keys, cache and servers are a case's own. Signatures are checked by the real host's code.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use witgate::config::KeyPlace;
use witgate::policy::cases::{Ask, Principal};
use witgate::services::jwks::{MAX_STALE, RemoteJwks};
use witgate::services::keys::{Key as HostKey, Keyring};
use witgate_plugin::{
    Assertion, ClientAuth, Digest, Host, HttpError, HttpRequest, HttpResponse, Level, Method, Signed,
    VerifyError, Wants,
};

use super::table::{Case, Exchange, Key, Step};
use crate::gateway::free_port;

/// The cache of one configured policy: values with the time at which they end.
pub type Cache = Arc<Mutex<HashMap<Vec<u8>, (Vec<u8>, u64)>>>;

/// The host during one step of a case.
#[derive(Debug)]
pub struct FakeHost {
    step: Step,
    audience: String,
    keys: Keyring,
    wants: Wants,
    cache: Cache,
    expected: Mutex<VecDeque<Exchange>>,
    problems: Mutex<Vec<String>>,
    written: Mutex<Vec<String>>,
}

impl FakeHost {
    /// The host for a step, under what the policy asked for.
    pub fn new(case: &Case, step: &Step, wants: &Wants, cache: &Cache) -> Self {
        Self {
            step: step.clone(),
            audience: case.audience.clone(),
            keys: Keyring::new(keys(case)),
            wants: wants.clone(),
            cache: Arc::clone(cache),
            expected: Mutex::new(step.http.iter().cloned().collect()),
            problems: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// What went otherwise than the case says: HTTP requests that were not expected, and expected
    /// ones that never came.
    pub fn problems(&self) -> Vec<String> {
        let missing =
            self.expected.lock().unwrap().iter().map(|e| format!("never sent: {}", e.request)).collect();
        [self.problems.lock().unwrap().clone(), missing].concat()
    }

    /// The lines that the policy logged.
    pub fn logged(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }

    /// Answers an HTTP request as the case says, and notes one that it does not expect.
    ///
    /// # Errors
    /// Where the case wants one.
    pub fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = format!("{} {}", verb(request.method), request.url);
        let Some(expected) = self.expected.lock().unwrap().pop_front() else {
            self.problem(format!("not expected: {sent}"));
            return Err(HttpError::Unreachable);
        };
        self.compare(&expected.request, &sent);
        self.compare(&expected.auth, &auth(&request.client_auth));
        if let Some(form) = &expected.form {
            self.compare(form, &decoded(&request.body));
            let typ = ("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned());
            self.compare(&true, &request.headers.contains(&typ));
        }
        self.compare(&true, &request.share);
        expected.answer
    }

    fn compare<T: PartialEq + std::fmt::Debug>(&self, expected: &T, sent: &T) {
        if expected != sent {
            self.problem(format!("sent {sent:?} instead of {expected:?}"));
        }
    }

    fn problem(&self, problem: String) {
        self.problems.lock().unwrap().push(problem);
    }

    fn principal<T>(&self, read: impl FnOnce(&Principal) -> Option<T>) -> Option<T> {
        match &self.step.ask {
            Ask::May(principal) => read(principal),
            Ask::Who { .. } => None,
        }
    }
}

fn verb(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
    }
}

fn auth(auth: &ClientAuth) -> String {
    match auth {
        ClientAuth::None => "none".to_owned(),
        ClientAuth::Basic(client) => format!("basic {} {}", client.id, client.secret),
        ClientAuth::Post(client) => format!("post {} {}", client.id, client.secret),
        ClientAuth::PrivateKeyJwt(assertion) => {
            let Assertion { id, key, key_id, algorithm, audience } = assertion;
            let [key_id, algorithm] = [key_id, algorithm].map(|text| text.as_deref().unwrap_or("-"));
            format!("private_key_jwt {id} {key} {key_id} {algorithm} {audience}")
        }
    }
}

/// Reads `application/x-www-form-urlencoded`.
fn decoded(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (unescaped(k), unescaped(v)))
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().replace('+', " ").into_bytes();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend(rest.replace('+', " ").into_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

/// SHA-256 in hexadecimal digits.
pub fn sha256_hex(data: &[u8]) -> String {
    digest(&SHA256, data).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Host for FakeHost {
    fn now(&self) -> u64 {
        self.step.now
    }

    fn log(&self, _level: Level, message: &str) {
        self.written.lock().unwrap().push(message.to_owned());
    }

    fn upstream(&self) -> Cow<'_, str> {
        "upstream".into()
    }

    fn audience(&self) -> Cow<'_, str> {
        self.audience.as_str().into()
    }

    fn peer(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn header(&self, _name: &str) -> Option<Cow<'_, str>> {
        None
    }

    fn arguments(&self) -> Option<Cow<'_, str>> {
        let wanted = self.wants.data.arguments;
        self.step.call.arguments.as_deref().filter(|_| wanted).map(Cow::Borrowed)
    }

    fn meta(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn certificate_thumbprint(&self) -> Option<Cow<'_, str>> {
        self.step.proven.certificate.as_deref().map(Cow::Borrowed)
    }

    fn dpop_thumbprint(&self) -> Option<Cow<'_, str>> {
        self.step.proven.dpop.as_deref().map(Cow::Borrowed)
    }

    fn issuer(&self) -> Option<Cow<'_, str>> {
        self.principal(|principal| principal.issuer.clone()).map(Cow::Owned)
    }

    fn claims(&self) -> Option<Cow<'_, str>> {
        let claims = self.principal(|principal| Some(principal.claims.as_ref()?.to_string()));
        claims.filter(|_| self.wants.data.claims).map(Cow::Owned)
    }

    fn expires_at(&self) -> Option<u64> {
        None
    }

    fn sha256(&self, data: &[u8]) -> Digest {
        digest(&SHA256, data).as_ref().try_into().unwrap()
    }

    async fn verify(&self, key: &str, signed: &Signed<'_>) -> Result<(), VerifyError> {
        self.keys.verify(key, signed).await
    }

    fn secret(&self, _name: &str) -> Option<String> {
        None
    }

    fn cached(&self, key: &[u8]) -> Option<Vec<u8>> {
        let cache = self.cache.lock().unwrap();
        cache.get(key).filter(|(_, end)| self.step.now < *end).map(|(value, _)| value.clone())
    }

    fn cache(&self, key: &[u8], value: &[u8], ttl_s: u32) {
        let end = self.step.now + u64::from(ttl_s);
        self.cache.lock().unwrap().insert(key.to_owned(), (value.to_owned(), end));
    }

    fn uncache(&self, key: &[u8]) {
        self.cache.lock().unwrap().remove(key);
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.answer(&request)
    }
}

/// The keys of a case as the host holds them. One that cannot be had lives where nobody listens.
pub(super) fn keys(case: &Case) -> HashMap<String, Arc<HostKey>> {
    case.keys.iter().map(|(name, key)| (name.clone(), Arc::new(held(key)))).collect()
}

fn held(key: &Key) -> HostKey {
    match key {
        Key::Secret(secret) => HostKey::from_secret(&secret.as_str().into()).unwrap(),
        Key::Pem(pem) => HostKey::from_pem(&pem.as_str().into()).unwrap(),
        Key::Jwks(set) => HostKey::from_jwks(&set.to_string()).unwrap(),
        Key::Unavailable(_) => {
            let nowhere = format!("http://127.0.0.1:{}/jwks", free_port());
            let place = KeyPlace::Url(nowhere.parse().unwrap());
            HostKey::Remote { set: RemoteJwks::new(&place), max_stale: MAX_STALE }
        }
    }
}
