//! What an authenticator and an authorizer are: component and built-in behind one face.

mod builtin;
mod shipped;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderName;
use serde_json::Value;
use witgate_plugin::{
    Call, Credential, Decision, Description, Digest, Principal, Unavailability, Verdict, Wants,
};

use self::builtin::Builtin;
use crate::config::{self, Fallback, Limits, Mode, PolicyKind};
use crate::flow::credential::Shown;
use crate::flow::reject::{Failure, Rejection};
use crate::plugin::engine::Engine;
use crate::plugin::grants::Granted;
use crate::plugin::load::{Loaded, Loader};
use crate::plugin::pool::{Fault, Pool, PrepareError, Prepared};
use crate::plugin::settings::{self, Settings, SettingsError, Surroundings};
use crate::services::cache::Cache;
use crate::services::fetch::Fetcher;
use crate::services::keys::Keyring;
use crate::services::{Clock, PolicyHost, Scope, Services, digest_text};

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
}

#[derive(Debug)]
enum Check {
    Builtin(Builtin),
    Component(Pool),
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

/// What a policy has done since its generation began.
#[derive(Debug, Default)]
pub struct Counts {
    /// Hooks called.
    pub calls: AtomicU64,
    /// Refusals and denials.
    pub denials: AtomicU64,
    /// Hooks that failed.
    pub failures: AtomicU64,
    /// Hooks that the built-in decided because the component failed.
    pub fallbacks: AtomicU64,
    /// As a shadow: verdicts that were not those of the live policies.
    pub disagreements: AtomicU64,
}

/// Why a policy cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("policy `{policy}`: {message}")]
pub struct PolicyError {
    /// Its name.
    pub policy: String,
    /// What is wrong, and what to do.
    pub message: String,
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
    /// Whether a missing component may be stood in for. Only at the start: later, the live
    /// generation stays.
    pub may_fall_back: bool,
}

/// A policy, and the files that it came from.
pub type Made = (Policy, Vec<std::path::PathBuf>);

impl Policy {
    /// Makes the policy that `config` describes: the component's digest, compilation, imports and
    /// settings are all checked here.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub async fn make(config: &config::Policy, making: Making<'_>) -> Result<Made, PolicyError> {
        let said = |message: String| PolicyError { policy: config.name.clone(), message };
        let Some(path) = &config.component else {
            return Self::make_builtin(config, making, Source::Builtin).map_err(said);
        };
        let loaded = match making.loader.load(path, config.digest.as_ref()) {
            Ok(loaded) => loaded,
            Err(error)
                if error.is_missing() && making.may_fall_back && config.fallback == Fallback::Builtin =>
            {
                tracing::warn!(policy = %config.name, "FALLBACK: {error}; the built-in decides in its place");
                let source = Source::Fallback { reason: error.to_string() };
                return Self::make_builtin(config, making, source).map_err(said);
            }
            Err(error) => return Err(said(error.to_string())),
        };
        let (policy, mut files) = Self::make_component(config, making, &loaded).await.map_err(said)?;
        files.push(path.clone());
        Ok((policy, files))
    }

    fn make_builtin(config: &config::Policy, making: Making<'_>, source: Source) -> Result<Made, String> {
        let description = Builtin::describe(config.kind)
            .ok_or("a custom policy needs a `component`; write its path, relative to the config file")?;
        let settings = resolve(config, &description, making)?;
        let (builtin, wants) =
            Builtin::configure(config.kind, &config.name, &settings.json).map_err(|message| {
                let setting = message.split_once(": ").and_then(|(at, _)| at.strip_prefix("config"));
                let pointer = setting.unwrap_or_default().replace('.', "/");
                format!("{message}{}", in_file(config, &settings.files, making, &pointer))
            })?;
        let files = settings.files.clone();
        let services = services(config, making, settings);
        Ok((Self::new(config, services, Check::Builtin(builtin), None, source, wants), files))
    }

    async fn make_component(
        config: &config::Policy,
        making: Making<'_>,
        loaded: &Loaded,
    ) -> Result<Made, String> {
        let engine = making.loader.engine();
        let described = describe(engine, loaded, &config.name, config.limits).await;
        let description = described.map_err(|error| error.to_string())?;
        let settings = resolve(config, &description, making)?;
        let stand_in = stand_in(config, loaded, &settings)?;
        let granted = settings.granted;
        let waits = granted.http || !settings.keys.is_empty();
        let json = settings.json.to_string();
        let files = settings.files.clone();
        let services = services(config, making, settings);
        let prepared =
            Prepared::new(making.loader.engine(), loaded, granted, Arc::clone(&services), config.limits)
                .map_err(|error| error.to_string())?;
        let (pool, wants) = prepared.configure(json, waits).await.map_err(|error| match &error {
            PrepareError::Config(fault) => {
                format!("{error}{}", in_file(config, &files, making, &fault.pointer))
            }
            _ => error.to_string(),
        })?;
        let source = Source::Component { digest: loaded.digest, description };
        Ok((Self::new(config, services, Check::Component(pool), stand_in, source, wants), files))
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

    /// The header that carries its credential, beside `Authorization`.
    pub fn credential_header(&self) -> Option<&HeaderName> {
        self.credential_header.as_ref()
    }

    /// What it has done.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Instances that wait for work; none for a built-in.
    pub fn idle_instances(&self) -> Option<usize> {
        match &self.check {
            Check::Builtin(_) => None,
            Check::Component(pool) => Some(pool.idle()),
        }
    }

    /// Whether it has the hook of an authenticator.
    pub fn authenticates(&self) -> bool {
        match &self.check {
            Check::Builtin(builtin) => builtin.authenticates(),
            Check::Component(pool) => pool.authenticates(),
        }
    }

    /// Whether it has the hook of an authorizer.
    pub fn authorizes(&self) -> bool {
        match &self.check {
            Check::Builtin(builtin) => builtin.authorizes(),
            Check::Component(pool) => pool.authorizes(),
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
        count(&self.counts.calls);
        let host = PolicyHost { services: &self.services, scope: Some(scope) };
        let verdict = match &self.check {
            Check::Builtin(builtin) => builtin.authenticate(&host, call, credential).await,
            Check::Component(pool) => match pool.authenticate(scope, call, credential).await {
                Ok(verdict) => verdict,
                Err(fault) => self.stand_in_for(fault)?.authenticate(&host, call, credential).await,
            },
        };
        if matches!(verdict, Verdict::Refused(_)) {
            count(&self.counts.denials);
        }
        Ok(verdict)
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
        count(&self.counts.calls);
        let host = PolicyHost { services: &self.services, scope: Some(scope) };
        let decision = match &self.check {
            Check::Builtin(builtin) => builtin.authorize(&host, call, principal).await,
            Check::Component(pool) => match pool.authorize(scope, call, principal).await {
                Ok(decision) => decision,
                Err(fault) => self.stand_in_for(fault)?.authorize(&host, call, principal).await,
            },
        };
        if matches!(decision, Decision::Deny(_)) {
            count(&self.counts.denials);
        }
        Ok(decision)
    }

    /// The built-in, where it may stand in for a component that failed; else the rejection.
    fn stand_in_for(&self, fault: Fault) -> Result<&Builtin, Rejection> {
        let Fault { failure, detail } = fault;
        let covered = matches!(failure, Failure::Timeout | Failure::Fuel | Failure::Memory | Failure::Trap);
        let reason = failure.reason();
        match &self.stand_in {
            Some(builtin) if covered => {
                count(&self.counts.fallbacks);
                tracing::warn!(policy = %self.name, reason, "FALLBACK: the component failed ({detail}); the built-in decides in its place");
                Ok(builtin)
            }
            _ => {
                count(&self.counts.failures);
                tracing::warn!(policy = %self.name, reason, "the component failed, so the call is denied: {detail}");
                Err(Rejection::Failed { policy: Arc::clone(&self.name), failure, detail, retry_after: None })
            }
        }
    }

    /// The rejection for a policy that says itself that it cannot decide.
    pub fn unavailable(&self, said: Unavailability) -> Rejection {
        count(&self.counts.failures);
        let Unavailability { detail, retry_after } = said;
        Rejection::Failed {
            policy: Arc::clone(&self.name),
            failure: Failure::Unavailable,
            detail,
            retry_after,
        }
    }
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
fn in_file(config: &config::Policy, files: &[PathBuf], making: Making<'_>, pointer: &str) -> String {
    let written = config.config.pointer(pointer).and_then(Value::as_str);
    match written.map(|path| making.around.dir.join(path)).filter(|path| files.contains(path)) {
        Some(path) => format!("; correct that place in {}, or put a good copy in its place", path.display()),
        None => String::new(),
    }
}

fn resolve(
    config: &config::Policy,
    description: &Description,
    making: Making<'_>,
) -> Result<Settings, String> {
    let schema: Value = serde_json::from_str(&description.config_schema)
        .map_err(|error| format!("the plugin's config schema is not JSON: {error}"))?;
    settings::resolve(config, &schema, making.around).map_err(|SettingsError { pointer, message }| {
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
        cache: granted.cache.then(Cache::default),
        fetcher: granted.http.then(|| Fetcher::new(origins, client_secrets)),
        clock: making.clock.clone(),
    })
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
