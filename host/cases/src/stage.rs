//! The sandbox for cases: the real policy with its real limits, and test doubles that the case defines.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::HeaderMap;
use serde_json::Value;
use witgate_plugin::{Credential, Identity, Scheme, TargetKind, ToolAnnotations, Transport, Verdict};

use super::case::{Case, CaseCall, HookQuestion, HostState, Question};
use super::checks;
use super::exchange::Servers;
use super::format::Principal;
use super::report::{Finding, Hooks, QuestionReport, Report, StepReport};
use witgate_base::breaker::CallerDigest;
use witgate_base::clock::Clock;
use witgate_base::fingerprints::Fingerprints;
use witgate_component::failure::Failure;
use witgate_component::load::Loader;
use witgate_component::settings::{RemoteKeys, Surroundings};
use witgate_config::environment::Environment;
use witgate_config::secrets::SecretSources;
use witgate_config::{self as config, Grants, PolicyKind};
use witgate_policy::answer::Outcome;
use witgate_policy::make::{MakeError, MakeInputs, Stage};
use witgate_policy::{Policy, SCHEMES};
use witgate_services::host_calls::HostCallReplay;
use witgate_services::witness::{Observation, Witness};
use witgate_services::{self as services, Scope};

/// The subject of cases: a component, or a built-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSubject {
    /// The kind of check.
    pub kind: PolicyKind,
    /// The component file. None: the built-in.
    pub component: Option<PathBuf>,
}

impl TestSubject {
    /// The built-in of a kind.
    pub fn builtin(kind: PolicyKind) -> Self {
        Self { kind, component: None }
    }

    /// A component of the given kind.
    pub fn component(kind: PolicyKind, path: &Path) -> Self {
        Self { kind, component: Some(path.to_owned()) }
    }

    /// Runs a case against the subject. Files in its settings are relative to `dir`.
    pub async fn put(&self, loader: &Loader, dir: &Path, case: &Case) -> Report {
        match self.on_stage(loader, dir, case).await {
            Ok(policy) => policy.play(case).await,
            Err(unmade) => case.refused(&unmade.0),
        }
    }

    /// The policy with the settings of a case, ready for questions.
    ///
    /// # Errors
    /// With the reason why it cannot be built.
    pub async fn on_stage(
        &self,
        loader: &Loader,
        dir: &Path,
        case: &Case,
    ) -> Result<SandboxPolicy, SandboxError> {
        self.made(loader, dir, case, Some(Arc::default())).await
    }

    /// The same without a trace, which takes time. It is for measurements.
    ///
    /// # Errors
    /// With the reason why it cannot be built.
    pub async fn unwatched(
        &self,
        loader: &Loader,
        dir: &Path,
        case: &Case,
    ) -> Result<SandboxPolicy, SandboxError> {
        self.made(loader, dir, case, None).await
    }

    async fn made(
        &self,
        loader: &Loader,
        dir: &Path,
        case: &Case,
        witness: Option<Arc<Witness>>,
    ) -> Result<SandboxPolicy, SandboxError> {
        let HostState { keys, secrets } = &*case.held;
        let config = config::Policy {
            component: self.component.clone(),
            limits: case.limits.unwrap_or_default(),
            grants: Grants {
                keys: keys.keys().filter(|name| !secrets.contains_key(*name)).cloned().collect(),
                secrets: secrets.keys().cloned().collect(),
                ..Grants::default()
            },
            ..config::Policy::builtin(
                &case.policy,
                self.kind,
                case.settings.over(&Value::Object(Default::default())),
            )
        };
        let secrets = SecretSources::of_environment(environment(&Environment::default(), secrets));
        let remote = RemoteKeys::unreachable();
        let around = Surroundings { dir, keys, remote: &remote, secrets: &secrets, on_stage: true };
        let making = MakeInputs {
            loader,
            queue: None,
            around,
            clock: &Clock::System,
            passwords: &Arc::default(),
            password_cost: witgate_basic::hash::RECOMMENDED,
            before: None,
            repeated: None,
            stage: None,
            is_observed: false,
        };
        let staging = SandboxSettings { now: case.now, grants_everything: true, witness };
        SandboxPolicy::make(&config, making, staging, &mut Fingerprints::default())
            .await
            .map_err(SandboxError)
    }
}

/// The error when there is no policy to test.
#[derive(Debug)]
pub struct SandboxError(MakeError);

impl std::fmt::Display for SandboxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for SandboxError {}

/// An environment with additional secrets.
pub(super) fn environment(own: &Environment, secrets: &BTreeMap<String, String>) -> Environment {
    let own = own.names().filter_map(|name| Some((name.to_owned(), own.get(name)?.to_owned())));
    own.chain(secrets.iter().map(|(name, value)| (name.clone(), value.clone()))).collect()
}

/// The parameters of a new sandbox.
pub(super) struct SandboxSettings {
    /// The time, in seconds since the Unix epoch.
    pub(super) now: u64,
    pub(super) grants_everything: bool,
    /// The trace of host calls, if there is one.
    pub(super) witness: Option<Arc<Witness>>,
}

/// A question to a policy in a sandbox, prepared as in the pipeline.
#[derive(Debug)]
pub struct PreparedQuestion {
    scope: Scope,
    call: CaseCall,
    ask: HookQuestion,
}

/// A policy in a sandbox.
#[derive(Debug)]
pub struct SandboxPolicy {
    policy: Policy,
    stage: Stage,
    servers: Arc<Servers>,
}

impl SandboxPolicy {
    /// Builds the policy that `config` describes, with a separate clock, and without a network except the servers of a
    /// question.
    pub(super) async fn make(
        config: &config::Policy,
        making: MakeInputs<'_>,
        staging: SandboxSettings,
        files: &mut Fingerprints,
    ) -> Result<Self, MakeError> {
        let servers = Arc::<Servers>::default();
        let SandboxSettings { now, grants_everything, witness } = staging;
        let stage = Stage {
            clock: Arc::new(AtomicU64::new(now)),
            servers: Arc::<Servers>::clone(&servers),
            witness,
            replay: Arc::<HostCallReplay>::default(),
            grants_everything,
        };
        let clock = Clock::Set(Arc::clone(&stage.clock));
        let making = MakeInputs { clock: &clock, stage: Some(&stage), ..making };
        let policy = Policy::make_noting(config, making, files).await?;
        Ok(Self { policy, stage, servers })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The default scheme of the credential in a question. None: the policy judges none.
    pub fn first_scheme(&self) -> Option<Scheme> {
        SCHEMES.into_iter().find(|scheme| self.policy.judges(*scheme))
    }

    /// Runs a case against the policy, which has the case's settings.
    pub(super) async fn play(&self, case: &Case) -> Report {
        let mut findings = Vec::new();
        if case.config_error.is_some() {
            findings.push(Finding::new("settings", "an error", "they were accepted"));
        }
        if let (Some(wanted), Some(wants)) = (&case.wants, self.policy.wants()) {
            findings.extend(checks::wants(wanted, wants));
        }
        let mut steps = Vec::new();
        for step in &case.steps {
            let asked = self.ask(&step.question).await;
            let findings = checks::step(step, &asked);
            steps.push(StepReport { place: step.place.clone(), asked, findings });
        }
        let hooks =
            Hooks { authenticates: self.policy.authenticates(), authorizes: self.policy.authorizes() };
        Report { name: case.name.clone(), line: case.line, findings, hooks, steps }
    }

    /// The trace since the last call; the first one is that of `configure`.
    pub fn seen(&self) -> Observation {
        self.stage.witness.as_ref().map(|witness| witness.take()).unwrap_or_default()
    }

    /// Asks one question.
    pub async fn ask(&self, question: &Question) -> QuestionReport {
        let ready = self.ready(question);
        self.servers.expect(&question.http);
        // The trace of `configure` does not belong to the hook.
        drop(self.seen());
        let started = Instant::now();
        let outcome = self.put(&ready).await;
        let wall = started.elapsed();
        QuestionReport { outcome, observed: self.seen(), wall, http: self.servers.findings() }
    }

    /// Prepares the context of a question, which can then be asked any number of times. The servers give the same
    /// answers each time.
    pub fn ready(&self, question: &Question) -> PreparedQuestion {
        self.stage.clock.store(question.now, Ordering::Relaxed);
        for (key, value) in &question.cache {
            self.policy.remember(&question.place(key), value.as_bytes());
        }
        let digest = question.digest.map(|digest| (question.shown().to_vec(), digest));
        self.stage.replay.set(digest.into_iter().collect(), question.verify.clone());
        self.servers.answer_always(&question.http);
        let identity = match &question.ask {
            HookQuestion::Who { .. } => None,
            HookQuestion::May(principal) => Some(principal.identity()),
        };
        let questioned = QuestionSubject { question: question.clone(), identity };
        let scope = Scope::new(Arc::new(questioned), question.call.listing, None);
        PreparedQuestion { scope, call: question.call.clone(), ask: question.ask.clone() }
    }

    /// Asks a prepared question.
    pub async fn put(&self, ready: &PreparedQuestion) -> Outcome {
        let PreparedQuestion { scope, call, ask } = ready;
        let call = call.as_call();
        let policy = &self.policy;
        let asked = match (ask, scope.subject.principal()) {
            (HookQuestion::Who { .. }, _) if !policy.authenticates() => {
                return missing("authenticates nobody", "principal");
            }
            // As in the pipeline, the policy does not get a credential of a scheme that it does not judge.
            (HookQuestion::Who { scheme, .. }, _) if !policy.judges(*scheme) => {
                return Outcome::Verdict(Verdict::NotMine);
            }
            (HookQuestion::Who { scheme, value }, _) => {
                let credential = Credential { scheme: *scheme, value };
                let answered = policy.authenticate(scope, &call, &credential).await;
                answered.map(|answered| Outcome::Verdict(answered.answer))
            }
            (HookQuestion::May(_), Some(principal)) if policy.authorizes() => {
                let answered = policy.authorize(scope, &call, &principal).await;
                answered.map(|answered| Outcome::Decision(answered.answer))
            }
            (HookQuestion::May(_), _) => return missing("authorizes nothing", "credential"),
        };
        asked.unwrap_or_else(|failed| Outcome::Failed(failed.failure, failed.detail))
    }
}

/// The policy does not have the hook for the question.
fn missing(what: &str, instead: &str) -> Outcome {
    Outcome::Failed(Failure::Config, format!("the policy {what}; ask it with `{instead}`"))
}

/// The request in a question, and its caller if the question has one.
#[derive(Debug)]
struct QuestionSubject {
    question: Question,
    /// None: the caller is not known yet.
    identity: Option<Identity>,
}

impl QuestionSubject {
    fn named(&self) -> Option<&Principal> {
        match &self.question.ask {
            HookQuestion::Who { .. } => None,
            HookQuestion::May(principal) => Some(principal),
        }
    }
}

impl services::subject::Subject for QuestionSubject {
    fn upstream(&self) -> &str {
        &self.question.upstream
    }

    fn audience(&self) -> &str {
        &self.question.audience
    }

    fn transport(&self) -> Transport {
        self.question.call.transport
    }

    fn peer(&self) -> Option<IpAddr> {
        self.question.peer
    }

    fn headers(&self) -> &HeaderMap {
        &self.question.headers
    }

    fn arguments(&self) -> Option<&str> {
        self.question.call.arguments.as_deref()
    }

    fn meta(&self) -> Option<&str> {
        self.question.call.meta.as_deref()
    }

    fn certificate_thumbprint(&self, _: u64) -> Option<&str> {
        self.question.proven.certificate.as_deref()
    }

    fn dpop_thumbprint(&self) -> Option<&str> {
        self.question.proven.dpop.as_deref()
    }

    fn annotations(&self, tool: &str) -> Option<ToolAnnotations> {
        let call = &self.question.call;
        let is_asked = self.named().is_some() && call.kind == TargetKind::Tool && call.target == tool;
        self.question.annotations.filter(|_| is_asked)
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    fn principal(&self) -> Option<witgate_plugin::Principal<'_>> {
        let (named, identity) = (self.named()?, self.identity.as_ref()?);
        Some(witgate_plugin::Principal {
            subject: &identity.subject,
            proven_by: &named.proven_by,
            roles: &identity.roles,
            scopes: &identity.scopes,
        })
    }

    fn source(&self) -> CallerDigest {
        match self.named() {
            Some(principal) => CallerDigest::of((&principal.proven_by, &principal.subject)),
            None => CallerDigest::of_peer(self.question.peer),
        }
    }
}

impl Case {
    /// The report of a case with refused settings.
    pub(super) fn refused(&self, unmade: &MakeError) -> Report {
        let findings = match (&self.config_error, &unmade.setting) {
            (Some(expected), Some(error)) => checks::refusal(expected, error),
            _ => vec![Finding::new("settings", "settings that are accepted", &unmade.message)],
        };
        let hooks = Hooks::default();
        Report { name: self.name.clone(), line: self.line, findings, hooks, steps: Vec::new() }
    }
}
