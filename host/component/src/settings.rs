//! Prepares an operator's settings for a policy. The host reads or keeps values that the schema marks as file, key,
//! secret or endpoint; the policy gets the content or a name.

mod schema;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;
use witgate_plugin::Digest;
use witgate_plugin::issuer::is_issuer;

use super::grants::GrantedInterfaces;
use witgate_base::cause::Cause;
use witgate_base::digest::sha256;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::printable::clean;
use witgate_config::secrets::{MissingSecret, Secret, SecretSources};
use witgate_config::{Grants, KeyPlace, KeySource, MAX_STALE, Policy, PolicyKind};
use witgate_services::fetch::{Origin, Reach, SigningKey};
use witgate_services::jwks::RemoteJwks;
use witgate_services::keys::{Key, KeyError};
use witgate_services::network::Ways;

pub use schema::Schema;

/// Largest file that a setting names. A store of 50,000 keys has about ten megabytes.
const LARGEST_FILE: u64 = 16 << 20;

/// The error in settings: place and advice.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}", if pointer.is_empty() { String::new() } else { format!("{pointer}: ") })]
pub struct SettingsError {
    /// JSON Pointer to the setting.
    pub pointer: String,
    /// The error, and what to write instead.
    pub message: String,
    /// The cause.
    pub cause: Cause,
}

/// A [`SettingsError`] without the place of the setting.
struct Problem {
    message: String,
    cause: Cause,
}

impl From<String> for Problem {
    fn from(message: String) -> Self {
        Self { message, cause: Cause::Content }
    }
}

impl From<&str> for Problem {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl Problem {
    fn at(self, pointer: impl Into<String>) -> SettingsError {
        SettingsError { pointer: pointer.into(), message: self.message, cause: self.cause }
    }
}

/// The prepared settings of a policy.
#[derive(Debug, Default)]
pub struct Settings {
    /// The settings as the policy receives them.
    pub json: Value,
    /// The interfaces that the policy may import.
    pub granted: GrantedInterfaces,
    /// The keys that the policy may name.
    pub keys: HashMap<String, Arc<Key>>,
    /// The client secrets that the policy may name for `http`.
    pub client_secrets: HashMap<String, SecretString>,
    /// The private keys that the policy may name for client authentication with `http`.
    pub signing_keys: HashMap<String, SigningKey>,
    /// The secrets whose value the policy may read.
    pub raw_secrets: HashMap<String, SecretString>,
    /// The scopes that the policy may require of callers.
    pub scopes: BTreeSet<String>,
    /// The origins that the policy may reach.
    pub origins: HashMap<Origin, Reach>,
    /// The sources of the keys that the policy may name. For secrets, only whether they exist.
    pub sources: BTreeMap<String, KeySource>,
    /// The files that were read, with the SHA-256 digest of their content. None: it is a secret.
    pub read: BTreeMap<PathBuf, Option<Digest>>,
}

/// The fetched key sets of the whole process, so that a reload keeps the last valid set.
#[derive(Debug)]
pub struct RemoteKeys {
    ways: Arc<Ways>,
    by_place: Mutex<HashMap<KeyPlace, Arc<RemoteJwks>>>,
    is_cut_off: bool,
}

impl RemoteKeys {
    /// Key sets without a network, where none can be fetched.
    pub fn unreachable() -> Self {
        Self { is_cut_off: true, ..Self::new(Ways::closed()) }
    }

    /// Key sets that are fetched by these ways; none yet.
    pub fn new(ways: Arc<Ways>) -> Self {
        Self { ways, by_place: Mutex::default(), is_cut_off: false }
    }

    /// The ways to key sets, and to the servers that policies ask.
    pub fn ways(&self) -> &Arc<Ways> {
        &self.ways
    }

    fn key(&self, place: &KeyPlace, max_stale: Duration) -> Key {
        match self.is_cut_off {
            true => Key::Unavailable,
            false => Key::Remote { set: self.at(place), max_stale },
        }
    }

    fn at(&self, place: &KeyPlace) -> Arc<RemoteJwks> {
        let mut by_place = self.by_place.lock();
        Arc::clone(
            by_place.entry(place.clone()).or_insert_with(|| RemoteJwks::new(place, Arc::clone(&self.ways))),
        )
    }
}

/// The context in which settings are resolved.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The directory that relative paths are relative to.
    pub dir: &'a Path,
    /// `[keys]`.
    pub keys: &'a BTreeMap<String, KeySource>,
    /// Key sets at URLs.
    pub remote: &'a RemoteKeys,
    /// The sources of secrets.
    pub secrets: &'a SecretSources,
    /// True in a sandbox, where a key named like an issuer replaces the keys that the issuer publishes.
    pub on_stage: bool,
}

/// Prepares the settings of `policy` by the plugin's schema. The files that it reads are recorded in `files`, even
/// after an error.
///
/// # Errors
/// With the first invalid setting.
pub fn resolve(
    policy: &Policy,
    schema: &Schema,
    around: Surroundings<'_>,
    files: &mut Fingerprints,
) -> Result<Settings, SettingsError> {
    let mut resolver = SettingsResolver { policy, around, files, out: Settings::default() };
    let mut json = policy.config.clone();
    each_marked(schema, &mut json, &mut |format, value, pointer| resolver.replace(format, value, pointer))?;
    resolver.grants(&policy.grants)?;
    let mut settings = resolver.out;
    settings.granted = granted(policy, &settings);
    settings.json = json;
    validate(&schema.validator, &settings.json)?;
    Ok(settings)
}

/// A shipped kind gets the interfaces that it needs; a custom one gets those in `grants`.
fn granted(policy: &Policy, settings: &Settings) -> GrantedInterfaces {
    let Grants { cache, crypto, .. } = policy.grants;
    let by_kind = match policy.kind {
        PolicyKind::ApiKey | PolicyKind::Basic | PolicyKind::Jwt => {
            GrantedInterfaces { crypto: true, ..GrantedInterfaces::default() }
        }
        PolicyKind::Introspection => {
            GrantedInterfaces { crypto: true, cache: true, http: true, secrets: false }
        }
        PolicyKind::ClientCertificate | PolicyKind::Rbac | PolicyKind::Custom => GrantedInterfaces::default(),
    };
    GrantedInterfaces {
        crypto: by_kind.crypto || crypto || !settings.keys.is_empty(),
        secrets: !settings.raw_secrets.is_empty(),
        cache: by_kind.cache || cache,
        http: by_kind.http || !settings.origins.is_empty(),
    }
}

/// The visitor of settings that a schema marks: its format, the value, and its JSON Pointer.
pub type Visit<'v, E> = dyn FnMut(&str, &mut Value, &str) -> Result<(), E> + 'v;

/// Walks schema and settings together, and calls `visit` for each value that a `format` marks.
///
/// # Errors
/// With the first error of `visit`.
pub fn each_marked<E>(schema: &Schema, settings: &mut Value, visit: &mut Visit<'_, E>) -> Result<(), E> {
    Walk { whole: &schema.json, visit }.walk(&schema.json, settings, "")
}

struct Walk<'s, 'v, E> {
    whole: &'s Value,
    visit: &'s mut Visit<'v, E>,
}

impl<E> Walk<'_, '_, E> {
    fn walk(&mut self, schema: &Value, value: &mut Value, pointer: &str) -> Result<(), E> {
        let Some(schema) = schema.as_object() else { return Ok(()) };
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|path| self.whole.pointer(path)).cloned();
            if let Some(target) = target {
                self.walk(&target, value, pointer)?;
            }
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && !value.is_null()
        {
            return (self.visit)(format, value, pointer);
        }
        for alternatives in ["anyOf", "oneOf", "allOf"] {
            for alternative in schema.get(alternatives).and_then(Value::as_array).into_iter().flatten() {
                self.walk(alternative, value, pointer)?;
            }
        }
        self.walk_members(schema, value, pointer)
    }

    fn walk_members(
        &mut self,
        schema: &Map<String, Value>,
        value: &mut Value,
        pointer: &str,
    ) -> Result<(), E> {
        match value {
            Value::Object(members) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                let rest = schema.get("additionalProperties");
                for (name, member) in members {
                    let known = properties.and_then(|properties| properties.get(name)).or(rest);
                    if let Some(known) = known {
                        self.walk(known, member, &format!("{pointer}/{}", escape(name)))?;
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.walk(schema, item, &format!("{pointer}/{index}"))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

struct SettingsResolver<'a> {
    policy: &'a Policy,
    around: Surroundings<'a>,
    files: &'a mut Fingerprints,
    out: Settings,
}

impl SettingsResolver<'_> {
    fn replace(&mut self, format: &str, value: &mut Value, pointer: &str) -> Result<(), SettingsError> {
        let at = |problem: Problem| problem.at(pointer);
        *value = match format {
            "witgate-file" => Value::String(self.file(value).map_err(at)?),
            "witgate-key" => Value::String(self.key(value, pointer).map_err(at)?),
            "witgate-secret" => Value::String(self.secret(value, pointer).map_err(at)?),
            "witgate-secret-digest" => Value::String(self.secret_digest(value).map_err(at)?),
            "witgate-signing-key" => Value::String(self.signing_key(value, pointer).map_err(at)?),
            "witgate-endpoint" => Value::String(self.endpoint(value).map_err(at)?),
            "witgate-scope" => {
                self.out.scopes.extend(value.as_str().map(str::to_owned));
                return Ok(());
            }
            "witgate-issuer" => {
                self.issuer(value).map_err(at)?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        Ok(())
    }

    fn file(&mut self, value: &Value) -> Result<String, Problem> {
        if let Some(content) = value.get("content").and_then(Value::as_str) {
            return Ok(content.to_owned());
        }
        let path = value.as_str().ok_or("write the path of a file, relative to the config file")?;
        self.read(path)
    }

    fn read(&mut self, path: &str) -> Result<String, Problem> {
        let path = self.around.dir.join(path);
        self.files.note(&path);
        let unreadable = |error: std::io::Error| Problem {
            message: format!("cannot read {}: {error}", path.display()),
            cause: Cause::of(&error),
        };
        let size = fs::metadata(&path).map_err(unreadable)?.len();
        if size > LARGEST_FILE {
            return Err(
                format!("{} has {size} bytes; at most {LARGEST_FILE} are read", path.display()).into()
            );
        }
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        self.out.read.entry(path).or_insert_with(|| Some(sha256(text.as_bytes())));
        Ok(text)
    }

    /// A name under `[keys]`, or an inline key, which gets its place in the settings as its name.
    fn key(&mut self, value: &Value, pointer: &str) -> Result<String, Problem> {
        let (name, source) = match value {
            Value::String(name) => (name.clone(), self.named_key(name)?),
            Value::Object(inline) => (pointer.trim_start_matches('/').to_owned(), self.inline_key(inline)?),
            _ => return Err("write the name of a key under [keys], or { jwks_url = \"…\" }".into()),
        };
        let key = self.make_key(&source)?;
        self.hold(&name, key, &source);
        Ok(name)
    }

    fn named_key(&self, name: &str) -> Result<KeySource, Problem> {
        self.around.keys.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.around.keys.keys().map(String::as_str).collect();
            match known.as_slice() {
                [] => format!("there is no key `{name}`; define it as [keys.{name}]"),
                known => format!("there is no key `{name}` under [keys]; there are: {}", known.join(", ")),
            }
            .into()
        })
    }

    fn inline_key(&mut self, inline: &Map<String, Value>) -> Result<KeySource, Problem> {
        let max_stale = max_stale(inline)?;
        let mut members = inline.iter().filter(|(name, _)| *name != "max_stale_s");
        let (Some((source, value)), None) = (members.next(), members.next()) else {
            return Err(format!("an inline key has exactly one of {SOURCES}").into());
        };
        let text = |what: &str| value.as_str().ok_or_else(|| format!("{source} is {what}"));
        match source.as_str() {
            "secret" => Ok(KeySource::Secret(self.read_secret(value)?)),
            "pem" => Ok(KeySource::Pem(self.read_secret(value)?)),
            "jwks_file" => Ok(KeySource::JwksFile(self.around.dir.join(text("the path of a file")?))),
            "jwks_url" => {
                let what = "an absolute http or https URL";
                let url = Url::parse(text(what)?).ok().filter(|url| Origin::of(url).is_some());
                let place = KeyPlace::Url(url.ok_or_else(|| format!("{source} is {what}"))?);
                Ok(KeySource::Remote { place, max_stale })
            }
            "issuer" => {
                let what = "an http or https URL without user, query and fragment";
                let issuer = Some(text(what)?).filter(|text| is_issuer(text));
                let place = KeyPlace::Issuer(issuer.ok_or_else(|| format!("{source} is {what}"))?.to_owned());
                Ok(KeySource::Remote { place, max_stale })
            }
            other => Err(format!("`{other}` is not a key source; use one of {SOURCES}").into()),
        }
    }

    fn make_key(&mut self, source: &KeySource) -> Result<Arc<Key>, Problem> {
        let said = |error: KeyError| error.to_string();
        Ok(Arc::new(match source {
            KeySource::Secret(secret) => Key::from_secret(secret).map_err(said)?,
            KeySource::Pem(pem) => Key::from_pem(pem).map_err(said)?,
            KeySource::JwksFile(path) => {
                let text = self.read(&path.to_string_lossy())?;
                Key::from_jwks(&text).map_err(|error| format!("{}: {error}", path.display()))?
            }
            KeySource::Jwks(text) => Key::from_jwks(text).map_err(said)?,
            KeySource::Unavailable => Key::Unavailable,
            KeySource::Remote { place, max_stale } => self.around.remote.key(place, *max_stale),
        }))
    }

    /// The secret of a setting. Missing or empty is an error, never an empty secret.
    fn read_secret(&mut self, value: &Value) -> Result<SecretString, Problem> {
        let Secret { value, file, .. } =
            self.around.secrets.read_setting(value, self.around.dir, self.files).map_err(
                |MissingSecret { message, help, cause, .. }| Problem {
                    message: format!("{message}; {help}"),
                    cause,
                },
            )?;
        self.out.read.extend(file.map(|file| (file, None)));
        Ok(value)
    }

    fn secret(&mut self, value: &Value, pointer: &str) -> Result<String, Problem> {
        let secret = self.read_secret(value)?;
        let name = pointer.trim_start_matches('/').to_owned();
        self.out.client_secrets.insert(name.clone(), secret);
        Ok(name)
    }

    /// The SHA-256 digest of a secret, in hexadecimal digits. The policy does not get the secret. Cases that were recorded
    /// have the digest itself.
    fn secret_digest(&mut self, value: &Value) -> Result<String, Problem> {
        let digest = value.get("sha256").and_then(Value::as_str);
        if let Some(digest) = digest.filter(|_| self.around.on_stage) {
            return Ok(digest.to_owned());
        }
        let secret = self.read_secret(value)?;
        let digest = sha256(secret.expose_secret().as_bytes());
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn signing_key(&mut self, value: &Value, pointer: &str) -> Result<String, Problem> {
        let pem = self.read_secret(value)?;
        let key = SigningKey::from_pem(&pem).map_err(|error| error.to_string())?;
        let name = pointer.trim_start_matches('/').to_owned();
        self.out.signing_keys.insert(name.clone(), key);
        Ok(name)
    }

    fn endpoint(&mut self, value: &Value) -> Result<String, Problem> {
        let text = value.as_str().ok_or("write an absolute http or https URL")?;
        let origin = Url::parse(text).ok().and_then(|url| Origin::of(&url));
        let origin = origin.ok_or_else(|| format!("`{text}` is not an absolute http or https URL"))?;
        self.out.origins.insert(origin, Reach::Private);
        Ok(text.to_owned())
    }

    /// The keys of an issuer have the issuer as their name, so that a policy verifies a token only with the keys of
    /// the issuer that it names. Nothing is fetched before the first use.
    fn issuer(&mut self, value: &Value) -> Result<(), Problem> {
        let Some(issuer) = value.as_str().filter(|text| is_issuer(text)) else { return Ok(()) };
        let staged = self.around.keys.get(issuer).filter(|_| self.around.on_stage).cloned();
        let key = match staged {
            Some(source) => self.make_key(&source)?,
            None => Arc::new(self.around.remote.key(&KeyPlace::Issuer(issuer.to_owned()), MAX_STALE)),
        };
        self.out.keys.entry(issuer.to_owned()).or_insert(key);
        Ok(())
    }

    fn grants(&mut self, grants: &Grants) -> Result<(), SettingsError> {
        let policy = self.policy;
        let at = |problem: Problem| problem.at(format!("policies.{}.grants", policy.name));
        let mut origins = Vec::new();
        for text in &grants.http {
            let url = Url::parse(text).map_err(|e| at(format!("`{text}` is not an origin: {e}").into()))?;
            let origin = Origin::of(&url)
                .ok_or_else(|| at(format!("`{text}` is not an http or https origin").into()))?;
            // An address or `localhost` in the URL is certainly intended.
            let literal = !matches!(url.host(), Some(url::Host::Domain(name)) if name != "localhost");
            origins.push((origin, if literal { Reach::Private } else { Reach::Public }));
        }
        let mut keys = Vec::new();
        for name in &grants.keys {
            let source = self.named_key(name).map_err(at)?;
            keys.push((name.clone(), source));
        }
        for name in &grants.secrets {
            let secret = match self.named_key(name).map_err(at)? {
                KeySource::Secret(secret) | KeySource::Pem(secret) => secret,
                KeySource::JwksFile(_)
                | KeySource::Jwks(_)
                | KeySource::Unavailable
                | KeySource::Remote { .. } => {
                    return Err(at(format!("`{name}` is a key set, not a secret").into()));
                }
            };
            self.out.raw_secrets.insert(name.clone(), secret);
        }
        self.out.origins.extend(origins);
        for (name, source) in keys {
            let key = self.make_key(&source).map_err(|problem| problem.at(format!("keys.{name}")))?;
            self.hold(&name, key, &source);
        }
        Ok(())
    }

    fn hold(&mut self, name: &str, key: Arc<Key>, source: &KeySource) {
        self.out.keys.insert(name.to_owned(), key);
        self.out.sources.insert(name.to_owned(), source.without_secret());
    }
}

const SOURCES: &str = "secret, pem, jwks_file, jwks_url and issuer";

fn max_stale(inline: &Map<String, Value>) -> Result<Duration, String> {
    match inline.get("max_stale_s") {
        None => Ok(MAX_STALE),
        Some(value) => value
            .as_u64()
            .map(Duration::from_secs)
            .ok_or_else(|| "max_stale_s is a number of seconds".to_owned()),
    }
}

fn validate(validator: &Validator, settings: &Value) -> Result<(), SettingsError> {
    match validator.validate(settings) {
        Ok(()) => Ok(()),
        Err(error) => {
            let unknown = matches!(error.kind(), ValidationErrorKind::AdditionalProperties { .. });
            let help = if unknown { "; `witgate plugin inspect` shows which settings it has" } else { "" };
            Err(SettingsError {
                pointer: error.instance_path().to_string(),
                // The value may be the content of a file, and the schema is the plugin's text, so both are untrusted.
                message: clean(&error.masked_with("the value").to_string()) + help,
                cause: Cause::Content,
            })
        }
    }
}

/// Escapes a member name for a JSON Pointer (RFC 6901, section 3).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
