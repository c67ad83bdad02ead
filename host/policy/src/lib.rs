//! A policy: a component or a built-in behind one interface.

#![forbid(unsafe_code)]

pub mod answer;
mod builtin;
mod counts;
pub mod denied_peers;
mod disagreements;
pub mod generation;
mod guarded_component;
pub mod hook_times;
pub mod key_expiries;
pub mod known_keys;
pub mod limits;
pub mod make;
mod recipe;
pub mod shipped_components;
pub mod tap;
pub mod upstream_lists;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::HeaderName;
use witgate_basic::{DEFAULT_REALM, is_realm};
use witgate_plugin::{
    Call, Credential, Decision, Description, Digest, EntryDecision, Identity, Principal, Scheme,
    Unavailability, Verdict, Wants,
};

use self::answer::{Failed, HookAnswer, Outcome};
use self::builtin::Builtin;
use self::counts::HookTally;
use self::guarded_component::GuardedComponent;
use self::hook_times::{Form, Hook, HookTimes};
use self::key_expiries::KeyExpiries;
use self::known_keys::KnownKeys;
use self::tap::{RecordedHook, RecordedSettings, Recorder, TapLine};
use witgate_base::printable::clean;
use witgate_component::failure::Failure;
use witgate_component::fault::Fault;
use witgate_component::pool::Pool;
use witgate_config::{self as config, Mode, PolicyKind};
use witgate_services::host_calls::HostCallReplay;
use witgate_services::jwks::KeySetState;
use witgate_services::lookups::Lookups;
use witgate_services::subject::AnsweredHook;
use witgate_services::verdicts::VerdictQuestion;
use witgate_services::witness::Observation;
use witgate_services::{PolicyHost, Scope, Services};

pub use counts::Counts;
pub use disagreements::{Disagreement, DisagreementOwner, Disagreements, Tally};
pub use make::{LivePolicies, MakeInputs, PolicyError, Stage, describe_component};
pub use recipe::Recipe;
pub use witgate_base::breaker::OutageScope;
pub use witgate_component::pool::MOST_ENTRIES;

/// The schemes of credentials, the usual ones first.
pub const SCHEMES: [Scheme; 6] =
    [Scheme::Bearer, Scheme::Header, Scheme::Basic, Scheme::Dpop, Scheme::Argument, Scheme::Certificate];

/// A policy of one generation, ready for its hooks.
#[derive(Debug)]
pub struct Policy {
    name: Arc<str>,
    kind: PolicyKind,
    mode: Mode,
    services: Arc<Services>,
    check: Check,
    /// The fallback, which decides if the component fails, if the configuration has one.
    stand_in: Option<Builtin>,
    source: Source,
    credential_headers: Vec<HeaderName>,
    credential_argument: Option<config::ArgumentSettings>,
    /// True if the log has told of a tool that requires this argument.
    has_told_of_argument: AtomicBool,
    realm: Option<Box<str>>,
    counts: Counts,
    times: HookTimes,
    disagreements: Disagreements,
    recorder: Recorder,
    written: Box<RecordedSettings>,
    files: BTreeMap<PathBuf, Option<Digest>>,
    key_expiries: KeyExpiries,
    known_keys: KnownKeys,
}

/// The realm in the settings of a `basic` policy.
fn realm(config: &config::Policy) -> Option<Box<str>> {
    let realm = config.config.get("realm").and_then(serde_json::Value::as_str);
    realm.filter(|realm| config.kind == PolicyKind::Basic && is_realm(realm)).map(Into::into)
}

#[derive(Debug)]
enum Check {
    Builtin(Box<Builtin>),
    Component(GuardedComponent),
    /// Nothing decides, so every hook fails with this reason.
    Broken(String),
}

/// The implementation of a policy.
#[derive(Clone, Debug)]
pub enum Source {
    /// The built-in, as configured.
    Builtin,
    /// A component.
    Component {
        /// SHA-256 of the component's file.
        digest: Digest,
        /// The component's description of itself.
        description: Description,
    },
    /// The built-in, because the component is not available.
    Fallback {
        /// The reason.
        reason: String,
    },
    /// Nothing: the policy is broken, so calls are denied.
    Broken {
        /// The reason.
        reason: String,
    },
}

impl Policy {
    fn new(
        config: &config::Policy,
        services: Arc<Services>,
        check: Check,
        stand_in: Option<Builtin>,
        source: Source,
        wants: Wants,
        written: RecordedSettings,
    ) -> Self {
        let names = wants.credential_header.iter().flat_map(|names| names.split(','));
        let credential_headers = names.filter_map(|name| name.trim().parse().ok()).collect();
        let _ = services.wants.set(wants);
        Self {
            name: Arc::clone(&services.policy),
            kind: config.kind,
            mode: config.mode,
            services,
            check,
            stand_in,
            source,
            credential_headers,
            credential_argument: config.argument.clone(),
            has_told_of_argument: AtomicBool::new(false),
            realm: realm(config),
            counts: Counts::default(),
            times: HookTimes::default(),
            disagreements: Disagreements::default(),
            recorder: Recorder::default(),
            written: Box::new(written),
            files: BTreeMap::new(),
            key_expiries: KeyExpiries::default(),
            known_keys: KnownKeys::default(),
        }
    }

    /// Records the files that the policy was built from, and the keys in its settings.
    fn made_from(
        self,
        files: BTreeMap<PathBuf, Option<Digest>>,
        (key_expiries, known_keys): (KeyExpiries, KnownKeys),
    ) -> Self {
        Self { files, key_expiries, known_keys, ..self }
    }

    /// The keys of its store.
    pub fn known_keys(&self) -> &KnownKeys {
        &self.known_keys
    }

    /// The times at which keys of its store expire.
    pub fn key_expiries(&self) -> &KeyExpiries {
        &self.key_expiries
    }

    /// The files in its settings, with the SHA-256 digest of the content that was read; none for a secret.
    pub fn files(&self) -> &BTreeMap<PathBuf, Option<Digest>> {
        &self.files
    }

    /// A policy that cannot be built because of `reason`. Each of its hooks fails. As an authenticator, it claims the
    /// credentials that `before`, the last valid policy of its name, has judged; without that, all credentials.
    pub fn broken(name: &str, config: Option<&config::Policy>, reason: &str, before: Option<&Self>) -> Self {
        let unknown = || config::Policy::builtin(name, PolicyKind::Custom, serde_json::Value::Null);
        let config = config.cloned().unwrap_or_else(unknown);
        let wants = before
            .and_then(Self::wants)
            .cloned()
            .unwrap_or_else(|| Wants { schemes: SCHEMES.to_vec(), ..Wants::default() });
        let services = Arc::new(Services::bare(name));
        let check = Check::Broken(reason.to_owned());
        let source = Source::Broken { reason: reason.to_owned() };
        Self::new(&config, services, check, None, source, wants, RecordedSettings::nothing(&config))
    }

    /// True if no hook can be answered.
    pub fn is_broken(&self) -> bool {
        matches!(self.check, Check::Broken(_))
    }

    /// The policy's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The kind of check.
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// Enforced or shadow.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The implementation.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// True if it is a shipped policy, as the built-in or as the component of this program.
    pub fn is_shipped(&self) -> bool {
        match &self.source {
            Source::Builtin => true,
            Source::Component { digest, .. } => shipped_components::is_shipped(digest),
            Source::Fallback { .. } | Source::Broken { .. } => false,
        }
    }

    /// The component that decides. None: a built-in decides.
    pub fn digest(&self) -> Option<Digest> {
        match &self.source {
            Source::Component { digest, .. } => Some(*digest),
            Source::Builtin | Source::Fallback { .. } | Source::Broken { .. } => None,
        }
    }

    /// The headers with the credentials that the policy judges, in its order. A request has the credential in one of
    /// them.
    pub fn credential_headers(&self) -> &[HeaderName] {
        &self.credential_headers
    }

    /// True for the first report of a tool that requires the argument with the credential.
    pub fn is_first_report_of_argument(&self) -> bool {
        !self.has_told_of_argument.swap(true, Ordering::Relaxed)
    }

    /// The argument of tools that contains the credential.
    pub fn credential_argument(&self) -> Option<&config::ArgumentSettings> {
        self.credential_argument.as_ref()
    }

    /// The realm in challenges for user names and passwords. None: the policy does not judge them.
    pub fn realm(&self) -> Option<&str> {
        self.judges(Scheme::Basic).then(|| self.realm.as_deref().unwrap_or(DEFAULT_REALM))
    }

    /// The counters.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The durations of the hooks.
    pub fn times(&self) -> &HookTimes {
        &self.times
    }

    /// The hits and misses of the policy's caches, by the name of the cache.
    pub fn lookups(&self) -> impl Iterator<Item = (&'static str, &Lookups)> {
        self.services.lookups()
    }

    /// The fetched key sets that the policy uses, as they are now.
    pub fn key_sets(&self) -> impl Iterator<Item = KeySetState> {
        self.services.keys.key_sets()
    }

    /// For a shadow: its disagreements with the live policies.
    pub fn disagreements(&self) -> &Disagreements {
        &self.disagreements
    }

    /// Records a disagreement. True: it is the first of its kind.
    pub fn disagrees(&self, disagreement: &Disagreement, with: DisagreementOwner) -> bool {
        self.counts.disagree();
        self.disagreements.note(disagreement, with)
    }

    /// True if the policy is being recorded.
    pub fn is_recorded(&self) -> bool {
        self.recorder.is_on()
    }

    /// The policy's tap.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Ends the recording, which then writes its result. False: there is no recording.
    pub fn stop_recording(&self) -> bool {
        self.recorder.stop()
    }

    /// The settings, for a recording.
    pub fn recorded_settings(&self) -> &RecordedSettings {
        &self.written
    }

    /// The host functions of the hooks, for the request in `scope`.
    pub fn host<'p>(&'p self, scope: &'p Scope) -> PolicyHost<'p> {
        PolicyHost { services: &self.services, scope: Some(scope) }
    }

    /// The instances of the component. None for a built-in.
    pub fn pool(&self) -> Option<&Pool> {
        match &self.check {
            Check::Builtin(_) | Check::Broken(_) => None,
            Check::Component(component) => Some(component.pool()),
        }
    }

    /// The callers for whom calls of the component are paused.
    pub fn out_for(&self) -> OutageScope {
        match &self.check {
            Check::Builtin(_) | Check::Broken(_) => OutageScope::Nobody,
            Check::Component(component) => component.out_for(),
        }
    }

    /// True if the policy has the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        match &self.check {
            Check::Builtin(builtin) => builtin.authenticates(),
            Check::Component(component) => component.pool().authenticates(),
            Check::Broken(_) => true,
        }
    }

    /// True if the policy has the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        match &self.check {
            Check::Builtin(builtin) => builtin.authorizes(),
            Check::Component(component) => component.pool().authorizes(),
            Check::Broken(_) => true,
        }
    }

    /// The trace of host calls since the last time, if the policy is observed.
    pub fn observed(&self) -> Option<Observation> {
        self.services.witness.as_ref().map(|witness| witness.take())
    }

    /// Prepares a policy that only explains for another question: drops the trace of earlier ones, and what a custom policy
    /// has put into its cache because of them, such as a count of calls. The caches of shipped policies contain answers of
    /// servers only, which stay the same whoever asks.
    pub fn begin_question(&self) {
        if self.observed().is_none() || self.kind() != PolicyKind::Custom {
            return;
        }
        if let Some(cache) = &self.services.cache {
            cache.clear();
        }
    }

    /// The results that replace real ones, for a credential that is a replacement, if the policy is observed.
    pub fn replay(&self) -> Option<&HostCallReplay> {
        self.services.replay.as_deref()
    }

    /// The time now, by the policies' clock.
    pub fn now(&self) -> u64 {
        self.services.clock.now()
    }

    /// The OAuth scopes that the policy may require of callers.
    pub fn scopes(&self) -> &BTreeSet<String> {
        &self.services.scopes
    }

    /// True if the policy judges credentials of this scheme.
    pub fn judges(&self, scheme: Scheme) -> bool {
        self.services.wants.get().is_some_and(|wants| wants.schemes.contains(&scheme))
    }

    /// The parts of a request that the policy wants to see.
    pub fn wants(&self) -> Option<&Wants> {
        self.services.wants.get()
    }

    /// Adds an entry to the policy's cache, if it has one.
    pub fn remember(&self, key: &[u8], value: &[u8]) {
        if let Some(cache) = &self.services.cache {
            cache.put(key, value, self.now(), u32::MAX);
        }
    }

    /// Drops the cached results for the token with this digest. True: there were some.
    pub fn forget(&self, token: &Digest) -> bool {
        self.services.forget(token)
    }

    /// Establishes the identity of the caller that `credential` belongs to.
    ///
    /// # Errors
    /// `Failed`, if there is no answer.
    pub async fn authenticate(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<HookAnswer<Verdict>, Failed> {
        if let Some(line) = self.recorder.line() {
            let hook = RecordedHook::authenticate(self.now(), scope, call, credential);
            let verdict = self.ask_authenticator(hook.scope(), call, credential).await;
            self.offer(Some((line, hook)), &verdict, Outcome::Verdict);
            return verdict;
        }
        if !self.keeps_verdicts() {
            return self.ask_authenticator(scope, call, credential).await;
        }
        let verdicts = &self.services.verdicts;
        let question = VerdictQuestion { subject: &*scope.subject, call, credential };
        if let Some(identity) = verdicts.recall(&question, &self.services.keys, self.now()).await {
            return Ok(self.kept(scope, identity));
        }
        let basis = Arc::new(verdicts.basis());
        let scope = &Scope { basis: Some(Arc::clone(&basis)), ..scope.clone() };
        let verdict = self.ask_authenticator(scope, call, credential).await;
        match &verdict {
            Ok(HookAnswer { answer: Verdict::Identity(identity), by_fallback })
                if *by_fallback == self.is_fallback() =>
            {
                verdicts.keep(&question, &basis, identity);
                verdict
            }
            Ok(HookAnswer { answer: Verdict::Unavailable(said), .. }) if basis.is_crowded() => {
                self.counts.fail(Failure::Busy);
                Err(self.failed(Failure::Busy, said.detail.clone(), said.retry_after))
            }
            _ => verdict,
        }
    }

    /// True if verdicts may be used again. Those of a shadow are compared, and those of a sandbox are observed, so their
    /// hooks are always called. So are those that cost no more than a look into the memory.
    fn keeps_verdicts(&self) -> bool {
        let is_quick = matches!(&self.check, Check::Builtin(check) if check.is_quick());
        self.mode == Mode::Enforce && self.services.witness.is_none() && !is_quick
    }

    /// True if the fallback decides from the start, and not in place of a component that failed once.
    fn is_fallback(&self) -> bool {
        matches!(self.source, Source::Fallback { .. })
    }

    /// A verdict that is used again. It counts as a call.
    fn kept(&self, scope: &Scope, identity: Identity) -> HookAnswer<Verdict> {
        self.counts.used_again();
        let by_fallback = self.is_fallback();
        if by_fallback {
            self.counts.fallback();
        }
        let answer = Verdict::Identity(identity);
        self.log_hook(scope, Hook::Authenticate, "memory", HookTally::of_verdict(&answer), Instant::now());
        HookAnswer { answer, by_fallback }
    }

    async fn ask_authenticator(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<HookAnswer<Verdict>, Failed> {
        let judging = self.services.fetcher.as_ref().map(|_| scope.judging(credential.value));
        let scope = judging.as_ref().unwrap_or(scope);
        let host = &self.host(scope);
        self.ask(
            Hook::Authenticate,
            (scope, call),
            move |pool| pool.authenticate(scope, call, credential),
            move |builtin| builtin.authenticate(host, call, credential),
            HookTally::of_verdict,
        )
        .await
    }

    /// Decides whether `principal` may make `call`.
    ///
    /// # Errors
    /// `Failed`, if there is no answer.
    pub async fn authorize(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Result<HookAnswer<Decision>, Failed> {
        let tap = self.recorder.line().map(|line| (line, RecordedHook::authorize(self.now(), scope, call)));
        let scope = tap.as_ref().map_or(scope, |(_, hook)| hook.scope());
        let host = &self.host(scope);
        let decision = self
            .ask(
                Hook::Authorize,
                (scope, call),
                move |pool| pool.authorize(scope, call, principal),
                move |builtin| builtin.authorize(host, call, principal),
                HookTally::of_decision,
            )
            .await;
        self.offer(tap, &decision, Outcome::Decision);
        decision
    }

    /// Decides about entries of a list: `call` with each of `targets`, which are at most [`MOST_ENTRIES`]. The answer
    /// has a decision for each, in the same order.
    ///
    /// # Errors
    /// `Failed`, if there is no answer about one of them.
    pub async fn authorize_entries(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        targets: &[&str],
        principal: &Principal<'_>,
    ) -> Result<HookAnswer<Vec<EntryDecision>>, Failed> {
        if self.is_recorded() || !self.authorizes_entries() {
            return self.authorize_each(scope, call, targets, principal).await;
        }
        let host = &self.host(scope);
        let decisions = self
            .ask(
                Hook::AuthorizeEntries,
                (scope, call),
                move |pool| pool.authorize_entries(scope, call, targets, principal),
                move |builtin| builtin.authorize_entries(host, call, targets, principal),
                HookTally::of_entries,
            )
            .await?;
        let HookAnswer { answer, by_fallback } = decisions;
        Ok(HookAnswer { answer: answer.map_err(|said| self.unavailable(said))?, by_fallback })
    }

    /// The same, with a call of the hook for each entry.
    async fn authorize_each(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        targets: &[&str],
        principal: &Principal<'_>,
    ) -> Result<HookAnswer<Vec<EntryDecision>>, Failed> {
        let mut all = HookAnswer { answer: Vec::with_capacity(targets.len()), by_fallback: false };
        for target in targets {
            let HookAnswer { answer, by_fallback } =
                self.authorize(scope, &Call { target, ..*call }, principal).await?;
            all.answer.push(answer.try_into().map_err(|said| self.unavailable(said))?);
            all.by_fallback |= by_fallback;
        }
        Ok(all)
    }

    fn authorizes_entries(&self) -> bool {
        match &self.check {
            Check::Builtin(_) | Check::Broken(_) => true,
            Check::Component(component) => component.pool().authorizes_entries(),
        }
    }

    /// Gets the answer of a hook from the `component`, or from the `builtin` if that decides from the start or may
    /// replace the component.
    async fn ask<'p, A, C, B>(
        &'p self,
        hook: Hook,
        (scope, call): (&Scope, &Call<'_>),
        component: impl FnOnce(&'p Arc<Pool>) -> C,
        builtin: impl FnOnce(&'p Builtin) -> B,
        tally: fn(&A) -> HookTally,
    ) -> Result<HookAnswer<A>, Failed>
    where
        C: Future<Output = Result<A, Fault>>,
        B: Future<Output = A>,
    {
        let started = Instant::now();
        let answered = match &self.check {
            Check::Builtin(check) => Ok(self.by_builtin(builtin(check).await)),
            Check::Component(check) => match check.ask(scope, component).await {
                Ok(answer) => Ok(HookAnswer { answer, by_fallback: false }),
                Err(fault) => match self.stand_in_for(fault, call) {
                    Ok(stand_in) => Ok(self.by_builtin(builtin(stand_in).await)),
                    Err(failed) => Err(failed),
                },
            },
            Check::Broken(reason) => Err(self.cannot_decide(reason)),
        };
        let tally = answered.as_ref().map_or(HookTally::FAILED, |answered| tally(&answered.answer));
        let by_fallback = answered.as_ref().is_ok_and(|answered| answered.by_fallback);
        let form = self.form(by_fallback);
        self.count(hook, started.elapsed(), form, tally);
        let form = form.map_or("none", Form::name);
        self.log_hook(scope, hook, form, tally, started);
        answered
    }

    /// Adds a hook to the log of the request, if somebody reads it.
    fn log_hook(&self, scope: &Scope, hook: Hook, form: &'static str, tally: HookTally, from: Instant) {
        let Some(hooks) = scope.subject.hooks().filter(|_| self.mode() != Mode::Shadow) else { return };
        let (policy, verdict) = (Arc::clone(&self.name), tally.verdict);
        hooks.note(AnsweredHook { policy, hook: hook.name(), form, verdict, from, to: Instant::now() });
    }

    /// An answer of the built-in, as the fallback or as the configured implementation.
    fn by_builtin<A>(&self, answer: A) -> HookAnswer<A> {
        HookAnswer { answer, by_fallback: !matches!(self.source, Source::Builtin) }
    }

    /// The code that has answered. None: nothing was called.
    fn form(&self, by_fallback: bool) -> Option<Form> {
        match &self.check {
            _ if by_fallback => Some(Form::Fallback),
            Check::Builtin(_) => Some(Form::Builtin),
            Check::Component(_) => Some(Form::Component),
            Check::Broken(_) => None,
        }
    }

    fn count(&self, hook: Hook, took: Duration, form: Option<Form>, tally: HookTally) {
        self.counts.call(took, tally);
        if form == Some(Form::Fallback) {
            self.counts.fallback();
        }
        if let Some(form) = form {
            self.times.observe(hook, form, took);
        }
    }

    /// Passes a finished hook to the recording, if there is one.
    fn offer<A: Clone>(
        &self,
        tap: Option<(TapLine, RecordedHook)>,
        answered: &Result<HookAnswer<A>, Failed>,
        outcome: fn(A) -> Outcome,
    ) {
        let Some((line, hook)) = tap else { return };
        // If the built-in decides from the start, the recording is of the built-in.
        let had_component = matches!(self.check, Check::Component(_));
        let by_fallback = had_component && answered.as_ref().is_ok_and(|answered| answered.by_fallback);
        let answer = answered.as_ref().map(|answered| outcome(answered.answer.clone()));
        line.offer(hook.answered(answer, by_fallback));
    }

    /// The answer of the built-in if it may replace a component that failed; otherwise the failure.
    fn stand_in_for(&self, fault: Fault, call: &Call<'_>) -> Result<&Builtin, Failed> {
        let Fault { failure, detail } = fault;
        let reason = failure.reason();
        let asked = format!("{} {}", call.method, clean(call.target));
        self.counts.fail(failure);
        match &self.stand_in {
            Some(builtin) if failure.is_covered() => {
                tracing::warn!(policy = %self.name, reason, asked, "FALLBACK: the component failed ({detail}); the built-in decides in its place");
                Ok(builtin)
            }
            _ => {
                // In a sandbox, the failure may be the expected result.
                if self.services.witness.is_none() {
                    tracing::warn!(policy = %self.name, reason, asked, "the component failed, so the call is denied: {detail}");
                }
                Err(self.failed(failure, detail, None))
            }
        }
    }

    fn cannot_decide(&self, reason: &str) -> Failed {
        self.counts.fail(Failure::Config);
        self.failed(Failure::Config, reason.to_owned(), None)
    }

    fn failed(&self, failure: Failure, detail: String, retry_after: Option<u32>) -> Failed {
        Failed { policy: Arc::clone(&self.name), failure, detail, retry_after }
    }

    /// The failure of a policy that says itself that it could not decide.
    pub fn unavailable(&self, said: Unavailability) -> Failed {
        self.counts.fail(Failure::Unavailable);
        self.failed(Failure::Unavailable, said.detail, said.retry_after)
    }
}
