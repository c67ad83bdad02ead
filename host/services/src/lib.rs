//! Host functions for policies. A built-in calls this implementation directly, and a component through its imports.

#![forbid(unsafe_code)]

mod bearer;
pub mod cache;
pub mod fetch;
pub mod host_calls;
pub mod jwks;
pub mod keys;
pub mod lookups;
pub mod network;
pub mod passwords;
mod process_key;
pub mod subject;
pub mod traces;
pub mod verdicts;
pub mod witness;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use secrecy::{ExposeSecret, SecretString};
use witgate_plugin::{
    Digest, Host, HttpError, HttpRequest, HttpResponse, Level, PasswordError, SignedMessage, ToolAnnotations,
    VerifyError, Wants,
};

use self::bearer::may_send_bearer;
use self::cache::Cache;
use self::fetch::Fetcher;
use self::host_calls::{HostCallLog, HostCallReplay};
use self::keys::Keyring;
use self::lookups::Lookups;
use self::passwords::{PasswordCheck, PasswordChecks};
use self::subject::Subject;
use self::traces::Traces;
use self::verdicts::{VerdictBasis, VerdictMemory};
use self::witness::{AnswerSummary, CachedSize, Witness};
use witgate_base::breaker::CallerDigest;
use witgate_base::clock::Clock;
use witgate_base::digest::sha256;
use witgate_base::printable::clean;
use witgate_basic::hash::{Argon2Hash, RECOMMENDED};

/// The host functions of one policy of one generation.
#[derive(Debug)]
pub struct Services {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The data that the policy wants. Set after `configure`.
    pub wants: OnceLock<Wants>,
    /// The keys that the policy may name.
    pub keys: Keyring,
    /// The secrets whose raw value the policy may read.
    pub secrets: HashMap<String, SecretString>,
    /// The policy's cache, if granted.
    pub cache: Option<Cache>,
    /// The verdicts that the policy, as an authenticator, has declared to stay the same.
    pub verdicts: VerdictMemory,
    /// HTTP requests, if granted.
    pub fetcher: Option<Fetcher>,
    /// The checks of passwords.
    pub passwords: Arc<PasswordChecks>,
    /// The store of the users whose passwords the policy has checked. A hash in it that is outdated is replaced at the
    /// next login.
    pub user_store: Option<PathBuf>,
    /// The cost of new hashes of passwords.
    pub password_cost: Argon2Hash,
    /// The clock.
    pub clock: Clock,
    /// The OAuth scopes that the policy may require of callers.
    pub scopes: BTreeSet<String>,
    /// The trace of host calls, in a sandbox.
    pub witness: Option<Arc<Witness>>,
    /// The recorded results for a credential that is a replacement, in a sandbox.
    pub replay: Option<Arc<HostCallReplay>>,
}

impl Services {
    /// Removes the entry of the policy's cache under a token's digest, where policies cache results for tokens, and
    /// prevents answers to earlier requests. The verdicts about the token are removed as well. True: there was an entry.
    pub fn forget(&self, token: &Digest) -> bool {
        self.verdicts.forget(token);
        if let Some(fetcher) = &self.fetcher {
            fetcher.share_no_more();
        }
        self.cache.as_ref().is_some_and(|cache| cache.block(token, self.clock.now()))
    }

    /// The hits and misses of the policy's caches, by the name of the cache.
    pub fn lookups(&self) -> impl Iterator<Item = (&'static str, &Lookups)> {
        let results = self.cache.as_ref().map(|cache| ("results", cache.lookups()));
        let signatures = (!self.keys.is_empty()).then(|| ("signatures", self.keys.lookups()));
        let verdicts = self.verdicts.lookups().map(|lookups| ("verdicts", lookups));
        signatures.into_iter().chain(results).chain(verdicts)
    }

    /// No services, for a policy that only describes itself.
    pub fn bare(policy: &str) -> Self {
        Self {
            policy: policy.into(),
            wants: OnceLock::new(),
            keys: Keyring::new(HashMap::new()),
            secrets: HashMap::new(),
            cache: None,
            verdicts: VerdictMemory::default(),
            fetcher: None,
            passwords: Arc::default(),
            user_store: None,
            password_cost: RECOMMENDED,
            clock: Clock::System,
            scopes: BTreeSet::new(),
            witness: None,
            replay: None,
        }
    }
}

/// The context of one hook call.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The request and its caller.
    pub subject: Arc<dyn Subject>,
    /// True if a list is being filtered.
    pub listing: bool,
    /// The captured host calls, while the policy is recorded.
    pub call_log: Option<Arc<HostCallLog>>,
    /// The basis of the verdict that the hook is giving. None: it is not to be kept.
    pub basis: Option<Arc<VerdictBasis>>,
    /// The traces of the caller's credentials, which a recording must not contain. They can be searched for, but not
    /// read.
    pub traces: Option<Arc<Traces>>,
    /// The credential that the hook judges, if the policy may send it to a server.
    pub judged: Option<Arc<SecretString>>,
}

impl Scope {
    /// The scope of a hook that is not recorded yet.
    pub fn new(subject: Arc<dyn Subject>, listing: bool, traces: Option<Arc<Traces>>) -> Self {
        Self { subject, listing, call_log: None, basis: None, traces, judged: None }
    }

    /// The same, for a hook that judges this credential.
    #[must_use]
    pub fn judging(&self, credential: &str) -> Self {
        Self { judged: Some(Arc::new(credential.into())), ..self.clone() }
    }

    /// The source to which a failure is attributed.
    pub fn source(&self) -> CallerDigest {
        self.subject.source()
    }
}

/// The host functions during one hook.
#[derive(Clone, Copy, Debug)]
pub struct PolicyHost<'a> {
    /// The host functions of the policy.
    pub services: &'a Services,
    /// The context of the hook. None: `describe` and `configure`.
    pub scope: Option<&'a Scope>,
}

impl<'a> PolicyHost<'a> {
    fn wants(&self) -> Option<&'a Wants> {
        self.services.wants.get()
    }

    fn subject(&self) -> Option<&'a dyn Subject> {
        self.scope.map(|scope| &*scope.subject)
    }

    fn identity(&self) -> Option<&'a witgate_plugin::Identity> {
        self.subject()?.identity()
    }
}

impl<'a> PolicyHost<'a> {
    /// Records a host call with its arguments and its result, and returns the result.
    fn note_call<T: AnswerSummary>(
        &self,
        name: &'static str,
        arguments: impl FnOnce() -> String,
        answer: T,
    ) -> T {
        if let Some(witness) = &self.services.witness {
            witness.called(name, arguments(), answer.summary());
        }
        if let Some(call_log) = self.call_log() {
            call_log.called(name);
        }
        if let Some(basis) = self.basis() {
            basis.uses(name);
        }
        answer
    }

    fn basis(&self) -> Option<&'a VerdictBasis> {
        self.scope?.basis.as_deref()
    }

    fn call_log(&self) -> Option<&'a HostCallLog> {
        self.scope?.call_log.as_deref()
    }

    fn judged(&self) -> Option<&'a SecretString> {
        self.scope?.judged.as_deref()
    }

    /// The party to which a server's failure is attributed.
    fn source(&self) -> CallerDigest {
        self.scope.map_or_else(|| CallerDigest::of_peer(None), Scope::source)
    }

    /// Records a comparison by a component. A built-in compares by itself.
    pub fn compared(&self, a: &[u8], b: &[u8]) {
        self.note_call("crypto.equal", || format!("{}, {}", bytes(a), bytes(b)), ());
    }

    /// The address of the caller, if the policy wants it.
    pub fn find_peer(&self) -> Option<Cow<'a, str>> {
        self.wants().filter(|wants| wants.data.peer)?;
        Some(self.subject()?.peer()?.to_string().into())
    }

    /// The value of a header, if the policy wants it.
    pub fn find_header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.wants()?.headers.iter().find(|wanted| wanted.eq_ignore_ascii_case(name))?;
        let mut values = self.subject()?.headers().get_all(name).iter().filter_map(|v| v.to_str().ok());
        let first = values.next()?;
        Some(values.fold(Cow::Borrowed(first), |joined, next| (joined + ", ") + next))
    }

    /// The arguments of the call, as JSON.
    pub fn find_arguments(&self) -> Option<Cow<'a, str>> {
        self.wants().filter(|wants| wants.data.arguments)?;
        self.scope.filter(|scope| !scope.listing)?;
        self.subject()?.arguments().map(Cow::Borrowed)
    }

    /// The `_meta` of the call, as JSON.
    pub fn find_meta(&self) -> Option<Cow<'a, str>> {
        self.wants().filter(|wants| wants.data.meta)?;
        self.subject()?.meta().map(Cow::Borrowed)
    }

    /// The thumbprint of the client certificate (RFC 8705, section 3.1).
    pub fn find_certificate_thumbprint(&self) -> Option<Cow<'a, str>> {
        self.subject()?.certificate_thumbprint(self.services.clock.now()).map(Cow::Borrowed)
    }

    fn find_claims(&self) -> Option<Cow<'a, str>> {
        self.wants().filter(|wants| wants.data.claims)?;
        self.identity()?.claims.as_deref().map(Cow::Borrowed)
    }
}

/// No arguments.
fn nothing() -> String {
    String::new()
}

fn bytes(data: &[u8]) -> String {
    format!("{} bytes", data.len())
}

impl Host for PolicyHost<'_> {
    fn now(&self) -> u64 {
        let now = self.services.clock.now();
        if let Some(basis) = self.basis() {
            basis.sees(now);
        }
        self.note_call("clock.now", nothing, now)
    }

    fn log(&self, level: Level, message: &str) {
        if let Some(witness) = &self.services.witness {
            return witness.logged(level, message);
        }
        let policy = &*self.services.policy;
        let message = clean(message);
        match level {
            Level::Debug => tracing::debug!(target: "witgate::plugin", policy, "{message}"),
            Level::Info => tracing::info!(target: "witgate::plugin", policy, "{message}"),
            Level::Warn => tracing::warn!(target: "witgate::plugin", policy, "{message}"),
            Level::Error => tracing::error!(target: "witgate::plugin", policy, "{message}"),
        }
    }

    fn keep_verdict(&self, until: u64) {
        if let Some(basis) = self.basis() {
            basis.ends(until);
        }
        if let Some(witness) = &self.services.witness {
            witness.called("verdict-memory.keep-until", until.to_string(), ().summary());
        }
    }

    fn note_rule(&self, kind: &str, name: &str) {
        if let Some(subject) = self.subject() {
            subject.note_allowed(&self.services.policy, Some((kind, name)));
        }
    }

    fn upstream(&self) -> Cow<'_, str> {
        let upstream = self.subject().map_or("", Subject::upstream);
        self.note_call("request.upstream", nothing, upstream.into())
    }

    fn audience(&self) -> Cow<'_, str> {
        let audience = self.subject().map_or("", Subject::audience);
        self.note_call("request.audience", nothing, audience.into())
    }

    fn peer(&self) -> Option<Cow<'_, str>> {
        self.note_call("request.peer", nothing, self.find_peer())
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.note_call("request.header", || name.to_owned(), self.find_header(name))
    }

    fn arguments(&self) -> Option<Cow<'_, str>> {
        self.note_call("request.arguments", nothing, self.find_arguments())
    }

    fn meta(&self) -> Option<Cow<'_, str>> {
        self.note_call("request.meta", nothing, self.find_meta())
    }

    fn certificate_thumbprint(&self) -> Option<Cow<'_, str>> {
        self.note_call("request.certificate-thumbprint", nothing, self.find_certificate_thumbprint())
    }

    fn dpop_thumbprint(&self) -> Option<Cow<'_, str>> {
        let thumbprint = self.subject().and_then(Subject::dpop_thumbprint);
        self.note_call("request.dpop-thumbprint", nothing, thumbprint.map(Cow::Borrowed))
    }

    fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        let annotations = self.subject().and_then(|subject| subject.annotations(tool));
        if let Some(call_log) = self.call_log() {
            call_log.annotated(tool);
        }
        self.note_call("request.annotations", || format!("{tool:?}"), annotations)
    }

    fn issuer(&self) -> Option<Cow<'_, str>> {
        let issuer = self.identity().and_then(|identity| identity.issuer.as_deref());
        self.note_call("caller.issuer", nothing, issuer.map(Cow::Borrowed))
    }

    fn claims(&self) -> Option<Cow<'_, str>> {
        self.note_call("caller.claims", nothing, self.find_claims())
    }

    fn expires_at(&self) -> Option<u64> {
        self.note_call("caller.expires-at", nothing, self.identity().and_then(|identity| identity.expires_at))
    }

    fn sha256(&self, data: &[u8]) -> Digest {
        let replay = self.services.replay.as_ref().and_then(|replay| replay.digest(data));
        self.note_call("crypto.sha256", || bytes(data), replay.unwrap_or_else(|| sha256(data)))
    }

    async fn verify(&self, key: &str, signed: &SignedMessage<'_>) -> Result<(), VerifyError> {
        let replay = self.services.replay.as_ref().and_then(|replay| replay.outcome(key, signed));
        let outcome = match replay {
            Some(outcome) => outcome,
            None => self.services.keys.verify(key, signed, self.basis()).await,
        };
        if let Some(call_log) = self.call_log() {
            call_log.verified(key, signed, outcome);
        }
        let asked = || {
            let id = signed.key_id.map(|id| format!(", key id {id:?}")).unwrap_or_default();
            format!("{key:?}, {:?}{id}", signed.algorithm)
        };
        self.note_call("crypto.verify", asked, outcome)
    }

    async fn verify_password(&self, hash: &str, password: &str) -> Result<bool, PasswordError> {
        let Services { passwords, user_store, password_cost, .. } = self.services;
        let renews = user_store.as_ref().map(|_| *password_cost);
        let checked = passwords.check(hash, password, self.source(), renews).await;
        if let (Ok(PasswordCheck { renewed: Some(renewed), .. }), Some(store)) = (&checked, user_store) {
            passwords::renew(store, hash, renewed);
        }
        if let (Err(PasswordError::Busy(_)), Some(basis)) = (&checked, self.basis()) {
            basis.met_full_queue();
        }
        self.note_call("crypto.verify-password", nothing, checked.map(|checked| checked.is_right))
    }

    fn secret(&self, name: &str) -> Option<String> {
        let secret = self.services.secrets.get(name);
        self.note_call("secrets.reveal", || format!("{name:?}"), secret.map(|_| Cow::Borrowed("****")));
        Some(secret?.expose_secret().to_owned())
    }

    fn cached(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now = self.services.clock.now();
        let value = self.services.cache.as_ref().and_then(|cache| cache.get(key, now));
        if let (Some(call_log), Some(value)) = (self.call_log(), &value) {
            call_log.cached(key, value);
        }
        let size = value.as_ref().map(|value| CachedSize(value.len()));
        self.note_call("cache.get", || key.to_vec().summary(), size);
        value
    }

    fn cache(&self, key: &[u8], value: &[u8], ttl_s: u32) {
        if let Some(cache) = &self.services.cache {
            cache.put(key, value, self.services.clock.now(), ttl_s);
        }
        self.note_call(
            "cache.put",
            || format!("{}, {} for {ttl_s} s", key.to_vec().summary(), bytes(value)),
            (),
        );
    }

    fn uncache(&self, key: &[u8]) {
        if let Some(cache) = &self.services.cache {
            cache.remove(key);
        }
        self.note_call("cache.remove", || key.to_vec().summary(), ());
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = self.services.witness.as_ref().map(|_| format!("{:?} {}", request.method, request.url));
        let noted = self.call_log().map(|call_log| (call_log, request.clone()));
        let answer = match &self.services.fetcher {
            Some(_) if !may_send_bearer(&request, self.judged()) => Err(HttpError::InvalidRequest),
            Some(fetcher) => fetcher.send(request, self.source()).await,
            None => Err(HttpError::NotGranted),
        };
        if let Some((call_log, request)) = noted {
            call_log.sent(request, &answer);
        }
        self.note_call("http.send", || asked.unwrap_or_default(), answer)
    }
}
