//! What an authenticator and an authorizer are: component and built-in behind one face.

mod breaker;
mod builtin;
mod counts;
mod disagreements;
mod guarded;
mod shipped;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderName;
use serde_json::Value;
use witgate_plugin::{
    Call, Credential, Decision, Description, Digest, Principal, Unavailability, Verdict, Wants,
};

use self::builtin::Builtin;
use self::guarded::Guarded;
use crate::config::{self, Fallback, Limits, Mode, PolicyKind};
use crate::fingerprints::Fingerprints;
use crate::flow::credential::Shown;
use crate::flow::reject::{Failure, Rejection};
use crate::generation::{Generation, Recipe};
use crate::plugin::engine::Engine;
use crate::plugin::fault::Fault;
use crate::plugin::grants::Granted;
use crate::plugin::instance::{PrepareError, Prepared};
use crate::plugin::load::{LoadError, Loaded, Loader};
use crate::plugin::pool::Pool;
use crate::plugin::settings::{self, Settings, SettingsError, Surroundings};
use crate::services::cache::Cache;
use crate::services::fetch::Fetcher;
use crate::services::keys::Keyring;
use crate::services::{Clock, PolicyHost, Scope, Services, digest_text};

pub use counts::Counts;
pub use disagreements::{Disagreement, Disagreements, Tally};

/// A policy of one generation, ready for its hooks.
#[derive(Debug)]
pub struct Policy {
    name: Arc<str>,
    kind: PolicyKind,
    mode: Mode,
    services: Arc<Services>,
    check: Check,
    /// Takes over when the component traps or overruns, where the config says so.
    stand_in: Option<Builtin>,
    source: Source,
    credential_header: Option<HeaderName>,
    counts: Counts,
    disagreements: Disagreements,
}

#[derive(Debug)]
enum Check {
    Builtin(Builtin),
    Component(Guarded),
}

/// What decides for a policy.
#[derive(Clone, Debug)]
pub enum Source {
    /// The built-in, as configured.
    Builtin,
    /// A component.
    Component {
        /// SHA-256 of its file.
        digest: Digest,
        /// What it says of itself.
        description: Description,
    },
    /// The built-in, because the component cannot be had.
    Fallback {
        /// Why not.
        reason: String,
    },
}

/// Why a policy cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("policy `{policy}`: {message}")]
pub struct PolicyError {
    /// Its name.
    pub policy: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// The files that were looked at: mending one of them is worth another try.
    pub files: Fingerprints,
}

/// What policies are made with.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// Compiles components.
    pub loader: &'a Loader,
    /// What settings are resolved against.
    pub around: Surroundings<'a>,
    /// The clock that they see.
    pub clock: &'a Clock,
    /// The generation that is live. None: at the start, when a built-in may stand in for a missing
    /// component.
    pub live: Option<&'a Generation>,
    /// The recipe that says which components are taken. None: their files say.
    pub again: Option<&'a Recipe>,
}

/// A policy, and the files that it came from.
pub type Made = (Policy, Fingerprints);

impl Policy {
    /// Makes the policy that `config` describes: the component's digest, compilation, imports and
    /// settings are all checked here.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub async fn make(config: &config::Policy, making: Making<'_>) -> Result<Made, PolicyError> {
        let mut files = Fingerprints::default();
        Self::make_noting(config, making, &mut files)
            .await
            .map(|policy| (policy, files.clone()))
            .map_err(|message| PolicyError { policy: config.name.clone(), message, files })
    }

    async fn make_noting(
        config: &config::Policy,
        making: Making<'_>,
        files: &mut Fingerprints,
    ) -> Result<Self, String> {
        let Some(path) = &config.component else {
            return Self::make_builtin(config, making, Source::Builtin, files);
        };
        files.note(path);
        let loaded = match making.again.and_then(|recipe| recipe.digest_at(path)) {
            Some(digest) => making.loader.kept(&digest).await.ok_or_else(|| gone(&digest))?,
            None => match load(config, path, making).await.map_err(|error| error.to_string())? {
                Found::Component(loaded) => loaded,
                Found::Missing(reason) => {
                    return Self::make_builtin(config, making, Source::Fallback { reason }, files);
                }
            },
        };
        Self::make_component(config, making, &loaded, files).await
    }

    fn make_builtin(
        config: &config::Policy,
        making: Making<'_>,
        source: Source,
        files: &mut Fingerprints,
    ) -> Result<Self, String> {
        let description = Builtin::describe(config.kind)
            .ok_or("a custom policy needs a `component`; write its path, relative to the config file")?;
        let settings = resolve(config, &description, making, files)?;
        let (builtin, wants) =
            Builtin::configure(config.kind, &config.name, &settings.json).map_err(|message| {
                let setting = message.split_once(": ").and_then(|(at, _)| at.strip_prefix("config"));
                let pointer = setting.unwrap_or_default().replace('.', "/");
                format!("{message}{}", in_file(config, files, making, &pointer))
            })?;
        let services = services(config, making, settings);
        Ok(Self::new(config, services, Check::Builtin(builtin), None, source, wants))
    }

    async fn make_component(
        config: &config::Policy,
        making: Making<'_>,
        loaded: &Loaded,
        files: &mut Fingerprints,
    ) -> Result<Self, String> {
        let engine = making.loader.engine();
        let described = describe(engine, loaded, &config.name, config.limits).await;
        let description = described.map_err(|error| error.to_string())?;
        let settings = resolve(config, &description, making, files)?;
        let stand_in = stand_in(config, loaded, &settings)?;
        let granted = settings.granted;
        let waits = granted.http || !settings.keys.is_empty();
        let json = settings.json.to_string();
        let services = services(config, making, settings);
        let prepared =
            Prepared::new(making.loader.engine(), loaded, granted, Arc::clone(&services), config.limits)
                .map_err(|error| error.to_string())?;
        let pool = Pool::configure(prepared, json, waits, config.isolation).await;
        let (pool, wants) = pool.map_err(|error| match &error {
            PrepareError::Config(fault) => {
                format!("{error}{}", in_file(config, files, making, &fault.pointer))
            }
            _ => error.to_string(),
        })?;
        let source = Source::Component { digest: loaded.digest, description };
        let component = Guarded::new(Arc::clone(&services.policy), pool, config.breaker);
        Ok(Self::new(config, services, Check::Component(component), stand_in, source, wants))
    }

    fn new(
        config: &config::Policy,
        services: Arc<Services>,
        check: Check,
        stand_in: Option<Builtin>,
        source: Source,
        wants: Wants,
    ) -> Self {
        let credential_header = wants.credential_header.as_ref().and_then(|name| name.parse().ok());
        let _ = services.wants.set(wants);
        Self {
            name: Arc::clone(&services.policy),
            kind: config.kind,
            mode: config.mode,
            services,
            check,
            stand_in,
            source,
            credential_header,
            counts: Counts::default(),
            disagreements: Disagreements::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Which check it is.
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// Whether its verdict counts.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What decides for it.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The component that decides. None: a built-in does.
    pub fn digest(&self) -> Option<Digest> {
        match &self.source {
            Source::Component { digest, .. } => Some(*digest),
            Source::Builtin | Source::Fallback { .. } => None,
        }
    }

    /// The header that carries its credential, beside `Authorization`.
    pub fn credential_header(&self) -> Option<&HeaderName> {
        self.credential_header.as_ref()
    }

    /// What it has done.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// As a shadow: where it would have decided otherwise.
    pub fn disagreements(&self) -> &Disagreements {
        &self.disagreements
    }

    /// Notes where it would have decided otherwise. True: it is the first time.
    pub(crate) fn disagrees(&self, disagreement: &Disagreement) -> bool {
        self.counts.disagree();
        self.disagreements.note(disagreement)
    }

    /// The instances of its component. None for a built-in.
    pub fn pool(&self) -> Option<&Pool> {
        match &self.check {
            Check::Builtin(_) => None,
            Check::Component(component) => Some(component.pool()),
        }
    }

    /// Whether its component keeps failing and is taken out just now.
    pub fn is_out(&self) -> bool {
        matches!(&self.check, Check::Component(component) if component.is_out())
    }

    /// Whether it has the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        match &self.check {
            Check::Builtin(builtin) => builtin.authenticates(),
            Check::Component(component) => component.pool().authenticates(),
        }
    }

    /// Whether it has the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        match &self.check {
            Check::Builtin(builtin) => builtin.authorizes(),
            Check::Component(component) => component.pool().authorizes(),
        }
    }

    /// The time now, by the policies' clock.
    pub fn now(&self) -> u64 {
        self.services.clock.now()
    }

    /// The credential that it judges, if one was shown.
    pub fn pick<'a>(&self, shown: &'a Shown) -> Option<Credential<'a>> {
        shown.first_of(&self.services.wants.get()?.schemes, self.credential_header.as_ref())
    }

    /// Establishes who shows `credential`.
    ///
    /// # Errors
    /// `Failed`, when it cannot say.
    pub async fn authenticate(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        credential: &Credential<'_>,
    ) -> Result<Verdict, Rejection> {
        let began = Instant::now();
        let host = PolicyHost { services: &self.services, scope: Some(scope) };
        let verdict = match &self.check {
            Check::Builtin(builtin) => Ok(builtin.authenticate(&host, call, credential).await),
            Check::Component(component) => match component.authenticate(scope, call, credential).await {
                Ok(verdict) => Ok(verdict),
                Err(fault) => match self.stand_in_for(fault, scope) {
                    Ok(builtin) => Ok(builtin.authenticate(&host, call, credential).await),
                    Err(rejection) => Err(rejection),
                },
            },
        };
        self.count(scope, began, matches!(verdict, Ok(Verdict::Refused(_))));
        verdict
    }

    /// Decides whether `principal` may make `call`.
    ///
    /// # Errors
    /// `Failed`, when it cannot say.
    pub async fn authorize(
        &self,
        scope: &Scope,
        call: &Call<'_>,
        principal: &Principal<'_>,
    ) -> Result<Decision, Rejection> {
        let began = Instant::now();
        let host = PolicyHost { services: &self.services, scope: Some(scope) };
        let decision = match &self.check {
            Check::Builtin(builtin) => Ok(builtin.authorize(&host, call, principal).await),
            Check::Component(component) => match component.authorize(scope, call, principal).await {
                Ok(decision) => Ok(decision),
                Err(fault) => match self.stand_in_for(fault, scope) {
                    Ok(builtin) => Ok(builtin.authorize(&host, call, principal).await),
                    Err(rejection) => Err(rejection),
                },
            },
        };
        self.count(scope, began, matches!(decision, Ok(Decision::Deny(_))));
        decision
    }

    /// Counts a hook. Where the built-in stands in from the start, each is a fallback.
    fn count(&self, scope: &Scope, began: Instant, denied: bool) {
        self.counts.call(began.elapsed(), denied);
        if matches!(self.source, Source::Fallback { .. }) {
            self.stood_in(scope);
        }
    }

    fn stood_in(&self, scope: &Scope) {
        self.counts.fallback();
        // The record has room for one; the others are on the log.
        let _ = scope.request.stood_in.set(Arc::clone(&self.name));
    }

    /// The built-in, where it may stand in for a component that failed; else the rejection.
    fn stand_in_for(&self, fault: Fault, scope: &Scope) -> Result<&Builtin, Rejection> {
        let Fault { failure, detail } = fault;
        let reason = failure.reason();
        self.counts.fail(failure);
        match &self.stand_in {
            Some(builtin) if failure.is_covered() => {
                self.stood_in(scope);
                tracing::warn!(policy = %self.name, reason, "FALLBACK: the component failed ({detail}); the built-in decides in its place");
                Ok(builtin)
            }
            _ => {
                tracing::warn!(policy = %self.name, reason, "the component failed, so the call is denied: {detail}");
                Err(self.failed(failure, detail, None))
            }
        }
    }

    fn failed(&self, failure: Failure, detail: String, retry_after: Option<u32>) -> Rejection {
        Rejection::Failed { policy: Arc::clone(&self.name), failure, detail, retry_after }
    }

    /// The rejection for a policy that says itself that it cannot decide.
    pub fn unavailable(&self, said: Unavailability) -> Rejection {
        self.counts.fail(Failure::Unavailable);
        self.failed(Failure::Unavailable, said.detail, said.retry_after)
    }
}

/// What there is at a component's path.
enum Found {
    /// A component.
    Component(Loaded),
    /// Nothing, and the built-in may serve instead; why.
    Missing(String),
}

/// A file that goes missing later changes nothing about which code decides: the component that is
/// live goes on, or the built-in that stands in already. Were the candidate refused instead, no
/// other change would come into force either, the revocation of a key for one.
async fn load(config: &config::Policy, path: &Path, making: Making<'_>) -> Result<Found, LoadError> {
    let error = match making.loader.load(path, config.digest.as_ref()).await {
        Ok(loaded) => return Ok(Found::Component(loaded)),
        Err(error) if !error.is_missing() => return Err(error),
        Err(error) => error,
    };
    let live = making.live.and_then(|live| live.policy(&config.name));
    match (live.map(|policy| policy.source()), config.fallback) {
        (Some(Source::Component { digest, .. }), _) => {
            let loaded = making.loader.kept(digest).await.ok_or(error)?;
            tracing::warn!(policy = %config.name, "the component's file is gone; what was loaded from it goes on");
            Ok(Found::Component(loaded))
        }
        (None | Some(Source::Fallback { .. }), Fallback::Builtin) => {
            tracing::warn!(policy = %config.name, "FALLBACK: {error}; the built-in decides in its place");
            Ok(Found::Missing(error.to_string()))
        }
        (None | Some(Source::Fallback { .. } | Source::Builtin), _) => Err(error),
    }
}

fn gone(digest: &Digest) -> String {
    let digest = digest_text(digest);
    format!("the component {digest} is kept nowhere any more; put it back in its place")
}

/// What a component says of itself.
///
/// # Errors
/// With why it does not say.
pub async fn describe_component(engine: &Engine, loaded: &Loaded) -> Result<Description, PrepareError> {
    describe(engine, loaded, "inspected", Limits::default()).await
}

/// It is asked without settings, keys or secrets, and with all imports: an endpoint in the settings
/// grants `http`, but only the schema says which setting is one. The check against the real grants
/// follows once that is known.
async fn describe(
    engine: &Engine,
    loaded: &Loaded,
    policy: &str,
    limits: Limits,
) -> Result<Description, PrepareError> {
    let services = Arc::new(Services::bare(policy));
    Prepared::new(engine, loaded, Granted::EVERYTHING, services, limits)?.describe().await
}

/// Where to look, for a fault in the content of a file that a setting names.
fn in_file(config: &config::Policy, files: &Fingerprints, making: Making<'_>, pointer: &str) -> String {
    let written = config.config.pointer(pointer).and_then(Value::as_str);
    match written.map(|path| making.around.dir.join(path)).filter(|path| files.has(path)) {
        Some(path) => format!("; correct that place in {}, or put a good copy in its place", path.display()),
        None => String::new(),
    }
}

fn resolve(
    config: &config::Policy,
    description: &Description,
    making: Making<'_>,
    files: &mut Fingerprints,
) -> Result<Settings, String> {
    let schema: Value = serde_json::from_str(&description.config_schema)
        .map_err(|error| format!("the plugin's config schema is not JSON: {error}"))?;
    settings::resolve(config, &schema, making.around, files).map_err(|SettingsError { pointer, message }| {
        match pointer.as_str() {
            "" => format!("config: {message}"),
            pointer => format!("config{}: {message}", pointer.replace('/', ".")),
        }
    })
}

/// The built-in that may stand in at run time: only for a component that is the same check.
fn stand_in(
    config: &config::Policy,
    loaded: &Loaded,
    settings: &Settings,
) -> Result<Option<Builtin>, String> {
    if config.fallback != Fallback::Builtin {
        return Ok(None);
    }
    if !shipped::is_shipped(&loaded.digest) {
        return Err(format!(
            "`fallback = \"builtin\"` is for the shipped components, and {} is not one of them; take `fallback` out",
            digest_text(&loaded.digest)
        ));
    }
    Ok(Some(Builtin::configure(config.kind, &config.name, &settings.json)?.0))
}

fn services(config: &config::Policy, making: Making<'_>, settings: Settings) -> Arc<Services> {
    let Settings { granted, keys, client_secrets, raw_secrets, origins, .. } = settings;
    Arc::new(Services {
        policy: config.name.as_str().into(),
        wants: std::sync::OnceLock::new(),
        keys: Keyring::new(keys),
        secrets: raw_secrets,
        cache: granted.cache.then(|| Cache::new(config.limits.cache)),
        fetcher: granted.http.then(|| Fetcher::new(origins, client_secrets)),
        clock: making.clock.clone(),
    })
}
