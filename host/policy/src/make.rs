//! Builds policies from their configuration: component or built-in, settings, grants, and the fallback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::Value;
use witgate_plugin::{ConfigError, Description, Digest, Scheme, Wants};

use super::builtin::Builtin;
use super::guarded_component::GuardedComponent;
use super::key_expiries::KeyExpiries;
use super::known_keys::KnownKeys;
use super::recipe::Recipe;
use super::tap::RecordedSettings;
use super::{Check, Policy, Source, shipped_components};
use witgate_base::cause::Cause;
use witgate_base::clock::Clock;
use witgate_base::digest::digest_text;
use witgate_base::fingerprints::Fingerprints;
use witgate_basic::hash::Argon2Hash;
use witgate_component::compile_queue::CompileQueue;
use witgate_component::engine::Engine;
use witgate_component::grants::GrantedInterfaces;
use witgate_component::instance::{PrepareError, PreparedComponent};
use witgate_component::load::{LoadError, LoadedComponent, Loader};
use witgate_component::pool::Pool;
use witgate_component::settings::{self, Schema, Settings, SettingsError, Surroundings};
use witgate_config::{self as config, Fallback, Limits, Mode, PolicyKind};
use witgate_services::Services;
use witgate_services::cache::Cache;
use witgate_services::fetch::{Fetcher, HttpExchange};
use witgate_services::host_calls::HostCallReplay;
use witgate_services::keys::Keyring;
use witgate_services::passwords::PasswordChecks;
use witgate_services::verdicts::VerdictMemory;
use witgate_services::witness::Witness;

/// The error when a policy cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("policy `{policy}`: {message}")]
pub struct PolicyError {
    /// The policy's name.
    pub policy: String,
    /// The error, with advice.
    pub message: String,
    /// The cause. After a failure of the machine, another attempt makes sense even if no file changes.
    pub cause: Cause,
    /// The files that were read. A change of one of them is a reason for another attempt.
    pub files: Fingerprints,
}

impl PolicyError {
    /// True if the failure may pass by itself.
    pub fn may_pass(&self) -> bool {
        self.cause.may_pass()
    }
}

/// The inputs for building policies.
#[derive(Clone, Copy, Debug)]
pub struct MakeInputs<'a> {
    /// Compiles components.
    pub loader: &'a Loader,
    /// The queue of compilations in the background. None: the build waits for the compiler.
    pub queue: Option<&'a CompileQueue>,
    /// The context in which settings are resolved.
    pub around: Surroundings<'a>,
    /// The clock of the policies.
    pub clock: &'a Clock,
    /// The checks of passwords.
    pub passwords: &'a Arc<PasswordChecks>,
    /// The cost of new hashes of passwords.
    pub password_cost: Argon2Hash,
    /// The live policies. None: at the start, when a built-in may replace a missing component.
    pub before: Option<LivePolicies<'a>>,
    /// The recipe with the digests of the components. None: the files determine the components.
    pub repeated: Option<&'a Recipe>,
    /// The sandbox in place of the network. None: the real network.
    pub stage: Option<&'a Stage>,
    /// True if the policies are made for explanations: their host calls are traced, and they change nothing.
    pub is_observed: bool,
}

/// The live policies, and their inputs.
#[derive(Clone, Copy, Debug)]
pub struct LivePolicies<'a> {
    /// The policies by name.
    pub policies: &'a BTreeMap<String, Arc<Policy>>,
    /// The recipe that they follow.
    pub recipe: &'a Recipe,
    /// The fingerprints of their files, taken just before reading them.
    pub files: &'a Fingerprints,
    /// True if their components come from a recipe, even if their files have changed.
    pub repeats: bool,
}

/// Test doubles for clock, network and secrets while cases run.
#[derive(Clone)]
pub struct Stage {
    /// The time, in seconds since the Unix epoch.
    pub clock: Arc<AtomicU64>,
    /// The servers in place of the network.
    pub servers: Arc<dyn HttpExchange>,
    /// The trace of host calls, if there is one.
    pub witness: Option<Arc<Witness>>,
    /// The recorded results for a credential that is a replacement.
    pub replay: Arc<HostCallReplay>,
    /// True if everything is granted, because there is no operator's configuration yet.
    pub grants_everything: bool,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The error of a build without its policy.
#[derive(Debug)]
pub struct MakeError {
    /// The error, with advice.
    pub message: String,
    /// The invalid setting, and its fault.
    pub setting: Option<ConfigError>,
    /// The cause.
    pub cause: Cause,
}

impl From<String> for MakeError {
    fn from(message: String) -> Self {
        Self { message, setting: None, cause: Cause::Content }
    }
}

impl From<&str> for MakeError {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl From<LoadError> for MakeError {
    fn from(error: LoadError) -> Self {
        Self { cause: error.cause(), ..error.to_string().into() }
    }
}

impl From<PrepareError> for MakeError {
    fn from(error: PrepareError) -> Self {
        Self { cause: error.cause(), ..error.to_string().into() }
    }
}

impl MakeError {
    /// The error for an invalid setting. `place` is the file of the fault, if it is not the configuration.
    fn setting(error: ConfigError, message: String, place: &str) -> Self {
        Self { message: format!("{message}{place}"), setting: Some(error), cause: Cause::Content }
    }

    /// The error of a policy, with the `files` that were read for it.
    pub fn of(self, config: &config::Policy, files: Fingerprints) -> PolicyError {
        PolicyError { policy: config.name.clone(), message: self.message, cause: self.cause, files }
    }
}

/// A policy, and the files that it was built from.
pub type MadePolicy = (Policy, Fingerprints);

impl Policy {
    /// Builds the policy that `config` describes. It checks the component's digest, compilation, imports and settings.
    ///
    /// # Errors
    /// With the first fault.
    pub async fn make(config: &config::Policy, making: MakeInputs<'_>) -> Result<MadePolicy, PolicyError> {
        let mut files = Fingerprints::default();
        Self::make_noting(config, making, &mut files)
            .await
            .map(|policy| (policy, files.clone()))
            .map_err(|unmade| unmade.of(config, files))
    }

    /// Builds the policy that `config` describes, and records the files that are read.
    pub async fn make_noting(
        config: &config::Policy,
        making: MakeInputs<'_>,
        files: &mut Fingerprints,
    ) -> Result<Self, MakeError> {
        let Some(path) = &config.component else {
            return Self::make_builtin(config, making, Source::Builtin, files);
        };
        files.note(path);
        if let Some(signature) = config.provenance.signature_of(path) {
            files.note(&signature);
        }
        let loaded = match making.repeated.and_then(|recipe| recipe.digest_at(path)) {
            Some(digest) => making.loader.kept(&digest).await?,
            None => match load(config, path, making, files).await? {
                PathContent::Component(loaded) => loaded,
                PathContent::Missing(reason) => {
                    return Self::make_builtin(config, making, Source::Fallback { reason }, files);
                }
            },
        };
        Self::make_component(config, making, &loaded, files).await
    }

    fn make_builtin(
        config: &config::Policy,
        making: MakeInputs<'_>,
        source: Source,
        files: &mut Fingerprints,
    ) -> Result<Self, MakeError> {
        let description = Builtin::describe(config.kind)
            .ok_or("a custom policy needs a `component`; write its path, relative to the config file")?;
        let schema = Arc::new(Schema::read(&description.config_schema)?);
        let mut settings = resolve(config, &schema, making, files)?;
        let (builtin, wants) =
            Builtin::configure(config.kind, &config.name, &settings.json).map_err(|error| {
                let place = in_file(config, files, making, &error.pointer);
                let message = at_setting(&error);
                MakeError::setting(error, message, &place)
            })?;
        judges_its_argument(config, &wants)?;
        let written = RecordedSettings::of(config, making.around.dir, schema, &settings);
        let read = std::mem::take(&mut settings.read);
        let keys = keys(config.kind, &settings.json);
        let services = services(config, making, settings);
        let builtin = Check::Builtin(Box::new(builtin));
        Ok(Self::new(config, services, builtin, None, source, wants, written).made_from(read, keys))
    }

    async fn make_component(
        config: &config::Policy,
        making: MakeInputs<'_>,
        loaded: &LoadedComponent,
        files: &mut Fingerprints,
    ) -> Result<Self, MakeError> {
        let engine = making.loader.engine();
        let description = describe(engine, loaded, &config.name, config.limits).await?;
        let schema = loaded.schema(&description)?;
        let mut settings = resolve(config, &schema, making, files)?;
        let stand_in = stand_in(config, loaded, &settings)?;
        let granted = settings.granted;
        let waits = granted.http || !settings.keys.is_empty() || config.kind == PolicyKind::Basic;
        let json = settings.json.to_string();
        let written = RecordedSettings::of(config, making.around.dir, schema, &settings);
        let read = std::mem::take(&mut settings.read);
        let keys = keys(config.kind, &settings.json);
        let services = services(config, making, settings);
        let limits = config.limits.with_settings(json.len());
        let prepared =
            PreparedComponent::new(making.loader.engine(), loaded, granted, Arc::clone(&services), limits)?;
        let pool = Pool::configure(prepared, json, waits, config.isolation).await;
        let (pool, wants) = pool.map_err(|error| match &error {
            PrepareError::Config(fault) => {
                let place = in_file(config, files, making, &fault.pointer);
                MakeError::setting(fault.clone(), error.to_string(), &place)
            }
            _ => error.into(),
        })?;
        judges_its_argument(config, &wants)?;
        let source = Source::Component { digest: loaded.digest, description };
        let component = GuardedComponent::new(Arc::clone(&services.policy), pool, config.breaker);
        let component = Check::Component(component);
        Ok(Self::new(config, services, component, stand_in, source, wants, written).made_from(read, keys))
    }
}

/// The keys in the settings of a policy.
fn keys(kind: PolicyKind, settings: &Value) -> (KeyExpiries, KnownKeys) {
    (KeyExpiries::of(kind, settings), KnownKeys::of(kind, settings))
}

/// Checks that a policy with an `argument` judges credentials in arguments.
fn judges_its_argument(config: &config::Policy, wants: &Wants) -> Result<(), MakeError> {
    if config.argument.is_none() || wants.schemes.contains(&Scheme::Argument) {
        return Ok(());
    }
    Err("it judges no credentials in arguments (`configure` does not return the scheme `argument`): leave `argument` out"
        .into())
}

/// The content at a component's path.
enum PathContent {
    /// A component.
    Component(LoadedComponent),
    /// Nothing, and the built-in may decide instead, for this reason.
    Missing(String),
}

/// If a component's file disappears, the same code continues to decide: the live component, or the built-in that
/// decides already. If the candidate were refused instead, no other change could take effect, such as the revocation
/// of a key.
async fn load(
    config: &config::Policy,
    path: &Path,
    making: MakeInputs<'_>,
    files: &Fingerprints,
) -> Result<PathContent, LoadError> {
    if let Some(unchanged) = unchanged(config, path, making, files) {
        return Ok(PathContent::Component(unchanged));
    }
    let loaded = match making.queue {
        Some(queue) => queue.load(path, &config.provenance).await,
        None => making.loader.load(path, &config.provenance).await,
    };
    let error = match loaded {
        Ok(loaded) => return Ok(PathContent::Component(loaded)),
        Err(error) if !error.is_missing() => return Err(error),
        Err(error) => error,
    };
    let live = making.before.and_then(|before| before.policies.get(&config.name));
    match (live.map(|policy| policy.source()), config.fallback) {
        (Some(Source::Component { digest, .. }), _) if may_go_on(config, path, digest, making) => {
            let loaded = making.loader.kept(digest).await.map_err(|kept| match kept {
                LoadError::Gone(_) => error,
                kept => kept,
            })?;
            tracing::warn!(policy = %config.name, "the component's file is gone; the loaded component stays in use");
            Ok(PathContent::Component(loaded))
        }
        (None | Some(Source::Fallback { .. }), Fallback::Builtin) => {
            tracing::warn!(policy = %config.name, "FALLBACK: {error}; the built-in decides in its place");
            Ok(PathContent::Missing(error.to_string()))
        }
        (None | Some(_), _) => Err(error),
    }
}

/// The live component, if its file has not changed since, so that it need not be read again. After a rollback, the
/// live component is not that of the file.
fn unchanged(
    config: &config::Policy,
    path: &Path,
    making: MakeInputs<'_>,
    files: &Fingerprints,
) -> Option<LoadedComponent> {
    let before = making.before.filter(|before| !before.repeats)?;
    let digest = before.recipe.digest_at(path)?;
    let same = files.agree(before.files, path) && may_go_on(config, path, &digest, making);
    same.then(|| making.loader.compiled(&digest)).flatten()
}

/// True if the live component may decide without its file: its digest still satisfies the configuration, and no
/// signature is required.
fn may_go_on(config: &config::Policy, path: &Path, digest: &Digest, making: MakeInputs<'_>) -> bool {
    let provenance = &config.provenance;
    let is_same = making.before.is_some_and(|before| before.recipe.digest_at(path) == Some(*digest));
    is_same && provenance.signed_by.is_empty() && provenance.digest.is_none_or(|pin| pin == *digest)
}

/// A component's description of itself.
///
/// # Errors
/// With the reason why there is none.
pub async fn describe_component(
    engine: &Engine,
    loaded: &LoadedComponent,
) -> Result<Description, PrepareError> {
    describe(engine, loaded, "inspected", Limits::default()).await
}

/// `describe` runs without settings, keys or secrets, and with all imports linked. An endpoint in the settings grants
/// `http`, but only the schema says which setting is an endpoint. The imports are compared with the real grants
/// afterwards.
async fn describe(
    engine: &Engine,
    loaded: &LoadedComponent,
    policy: &str,
    limits: Limits,
) -> Result<Description, PrepareError> {
    if let Some(known) = loaded.description() {
        return Ok(known.clone());
    }
    let services = Arc::new(Services::bare(policy));
    let described = PreparedComponent::new(engine, loaded, GrantedInterfaces::EVERYTHING, services, limits)?
        .describe()
        .await?;
    Ok(loaded.describe(described).clone())
}

/// The note about the place of a fault in a file that a setting names.
fn in_file(config: &config::Policy, files: &Fingerprints, making: MakeInputs<'_>, pointer: &str) -> String {
    let written = config.config.pointer(pointer).and_then(Value::as_str);
    match written.map(|path| making.around.dir.join(path)).filter(|path| files.has(path)) {
        Some(path) => format!("; correct that place in {}, or restore a good copy", path.display()),
        None => String::new(),
    }
}

fn resolve(
    config: &config::Policy,
    schema: &Schema,
    making: MakeInputs<'_>,
    files: &mut Fingerprints,
) -> Result<Settings, MakeError> {
    let resolved = settings::resolve(config, schema, making.around, files);
    let mut settings = resolved.map_err(|SettingsError { pointer, message, cause }| {
        let error = ConfigError { pointer, message };
        let message = at_setting(&error);
        MakeError { cause, ..MakeError::setting(error, message, "") }
    })?;
    if making.stage.is_some_and(|stage| stage.grants_everything) {
        settings.granted = GrantedInterfaces::EVERYTHING;
    }
    Ok(settings)
}

fn at_setting(ConfigError { pointer, message }: &ConfigError) -> String {
    // The fault is the plugin's own, not that of its settings.
    if pointer.is_empty() && message.starts_with("the plugin's ") {
        return message.clone();
    }
    format!("config{}: {message}", pointer.replace('/', "."))
}

/// The fallback: a built-in, only for a component that is the same check.
fn stand_in(
    config: &config::Policy,
    loaded: &LoadedComponent,
    settings: &Settings,
) -> Result<Option<Builtin>, String> {
    if config.fallback != Fallback::Builtin {
        return Ok(None);
    }
    shipped_components::components()
        .map_err(|why| format!("`fallback = \"builtin\"` is for the shipped components: {why}"))?;
    if !shipped_components::is_shipped(&loaded.digest) {
        return Err(format!(
            "`fallback = \"builtin\"` is for the shipped components, and {} is not one of this program's, which \
             `witgate plugin export --to DIR` writes; use one of them, or remove `fallback`",
            digest_text(&loaded.digest)
        ));
    }
    let configured = Builtin::configure(config.kind, &config.name, &settings.json);
    Ok(Some(configured.map_err(|error| at_setting(&error))?.0))
}

/// The store in which outdated hashes of passwords are replaced. A sandbox replaces none.
fn user_store(config: &config::Policy, making: MakeInputs<'_>) -> Option<PathBuf> {
    let is_live = config.kind == PolicyKind::Basic && config.mode == Mode::Enforce;
    let is_live = is_live && making.stage.is_none() && !making.is_observed;
    let store = config.config.get("users").and_then(Value::as_str).filter(|_| is_live)?;
    Some(making.around.dir.join(store))
}

fn services(config: &config::Policy, making: MakeInputs<'_>, settings: Settings) -> Arc<Services> {
    let Settings { granted, keys, client_secrets, signing_keys, raw_secrets, origins, scopes, .. } = settings;
    Arc::new(Services {
        policy: config.name.as_str().into(),
        wants: std::sync::OnceLock::new(),
        keys: Keyring::new(keys),
        secrets: raw_secrets,
        cache: granted.cache.then(|| Cache::new(config.limits.cache)),
        verdicts: VerdictMemory::default(),
        fetcher: granted.http.then(|| match making.stage {
            Some(stage) => Fetcher::answered_by(Arc::clone(&stage.servers)),
            None => Fetcher::new(Arc::clone(making.around.remote.ways()), origins, client_secrets)
                .signing_with(signing_keys),
        }),
        passwords: Arc::clone(making.passwords),
        user_store: user_store(config, making),
        password_cost: making.password_cost,
        clock: making.clock.clone(),
        scopes,
        witness: match making.stage {
            Some(stage) => stage.witness.clone(),
            None => making.is_observed.then(Arc::default),
        },
        replay: match making.stage {
            Some(stage) => Some(Arc::clone(&stage.replay)),
            None => making.is_observed.then(Arc::default),
        },
    })
}
