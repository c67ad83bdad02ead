//! `witgate token issue`.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use witgate_plugin::RolesClaim;

use crate::cli::context::Context;
use crate::cli::key::{from_now, now, written};
use crate::cli::outcome::{CommandFailure, Exit};
use witgate_config::raw::Key;
use witgate_config::resolve::{self, Outline};
use witgate_config::secrets::SecretSources;
use witgate_config::{KeySource, PolicyKind, raw};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Subject of the token
    #[arg(long, value_name = "SUBJECT")]
    sub: String,
    /// Role; may be repeated
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// OAuth scope; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Audience; may be repeated [default: the upstream's resource]
    #[arg(long, value_name = "URL")]
    audience: Vec<String>,
    /// Upstream or endpoint whose resource is the audience, if there are several
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Lifetime of the token
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Additional claim; a value that is not valid JSON is a text; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
    /// Issuer [default: the first one of the policy]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// Signing key under `[keys]` [default: the first one of the policy that can sign]
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// PEM file with the private key to sign with, instead of a configured key
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    signing_key: Option<PathBuf>,
    /// Key id (`kid`) for the header of the token
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Signature algorithm [default: the first one of the policy that fits the key]
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    /// Policy of kind jwt that the token is for, if there are several
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse()
        .map_err(|_| "write one of HS256, HS384, HS512, RS256, … PS512, ES256, ES384, EdDSA".to_owned())
}

/// The requirements of a jwt policy for its tokens.
#[derive(Default)]
struct TokenTerms {
    keys: Vec<Value>,
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Option<Value>,
    audience_claim: Option<String>,
    subject_claim: Option<String>,
    /// Required claims, by name.
    required: Map<String, Value>,
    roles_claim: RolesClaim,
    typ: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let IssuedToken { token, algorithm, claims } = issue(context, arguments)?;
    let end = written(from_now(arguments.expires));
    context
        .terminal
        .say(&format!("A token for `{}`, signed with {algorithm:?}, valid until {end}:", arguments.sub));
    match context.terminal.is_json() {
        true => context.terminal.print_json(&json!({ "token": token, "algorithm": format!("{algorithm:?}"), "expires": end, "claims": claims })),
        false => context.terminal.print(&token),
    }
    Ok(Exit::Done)
}

/// A signed token and its claims.
pub(super) struct IssuedToken {
    pub(super) token: String,
    algorithm: Algorithm,
    claims: Value,
}

pub(super) fn issue(context: &Context, arguments: &Arguments) -> Result<IssuedToken, CommandFailure> {
    let source = ConfigSource::of(context)?;
    let expected = source.expected(arguments.policy.as_deref())?;
    let claims = claims(arguments, &expected, &source)?;
    let (algorithm, key) = signer(context, arguments, &expected, &source)?;
    let mut header = Header::new(algorithm);
    header.kid = arguments.key_id.clone();
    header.typ = Some(expected.typ.clone().unwrap_or_else(|| "JWT".to_owned()));
    let token = encode(&header, &claims, &key).map_err(|error| {
        CommandFailure::new(format!(
            "the key cannot sign with {algorithm:?}: {error}; name another with `--algorithm`"
        ))
    })?;
    Ok(IssuedToken { token, algorithm, claims })
}

fn claims(
    arguments: &Arguments,
    expected: &TokenTerms,
    source: &ConfigSource,
) -> Result<Value, CommandFailure> {
    let now = now().0;
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("sub", arguments.sub.as_str().into());
    set("iat", now.into());
    set("exp", now.saturating_add(arguments.expires.as_secs()).into());
    // An id, so that the token can be revoked.
    set("jti", random_id()?.into());
    if let Some(claim) = &expected.subject_claim {
        set(claim, arguments.sub.as_str().into());
    }
    let audience_claim = expected.audience_claim.as_deref().unwrap_or("aud");
    if let Some(audience) = audience(arguments, expected, source)? {
        set(audience_claim, audience);
    }
    for (name, value) in &expected.required {
        let one = value.as_array().and_then(|several| several.first()).unwrap_or(value);
        set(name, one.clone());
    }
    if let Some(issuer) = arguments.issuer.as_ref().or(expected.issuer.as_ref()) {
        set("iss", issuer.as_str().into());
    }
    // RFC 9068 requires the claim in tokens of that type; here the subject is the client.
    if expected.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("at+jwt")) {
        set("client_id", arguments.sub.as_str().into());
    }
    if !arguments.scope.is_empty() {
        set("scope", arguments.scope.join(" ").into());
    }
    let mut claims = Value::Object(claims);
    if !arguments.role.is_empty() {
        let Some(path) = expected.roles_claim.first() else {
            return Err(CommandFailure::new(
                "the policy reads no roles (`roles_claim = []`); leave out `--role`",
            ));
        };
        put(&mut claims, &path, arguments.role.clone().into());
    }
    for (name, value) in &arguments.claims {
        if let Some(claims) = claims.as_object_mut() {
            claims.insert(name.clone(), value.clone());
        }
    }
    Ok(claims)
}

/// 128 random bits.
fn random_id() -> Result<String, CommandFailure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| CommandFailure::new("the system gives no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Puts a value at a path of names, such as `realm_access`, `roles`.
fn put(claims: &mut Value, path: &[&str], value: Value) {
    let mut place = claims;
    for step in path {
        if !place.is_object() {
            *place = json!({});
        }
        let Some(members) = place.as_object_mut() else { return };
        place = members.entry(*step).or_insert(Value::Null);
    }
    *place = value;
}

/// The audience of the token. None: the policy needs none.
fn audience(
    arguments: &Arguments,
    expected: &TokenTerms,
    source: &ConfigSource,
) -> Result<Option<Value>, CommandFailure> {
    let audience = match arguments.audience.as_slice() {
        [] => match &expected.audience {
            Some(Value::Array(several)) => several.first().cloned().unwrap_or_default(),
            Some(Value::String(none)) if none == "none" => return Ok(None),
            Some(one) => one.clone(),
            None => source.resource(arguments.upstream.as_deref())?.into(),
        },
        [one] => one.as_str().into(),
        several => several.to_vec().into(),
    };
    Ok(Some(audience))
}

fn signer(
    context: &Context,
    arguments: &Arguments,
    expected: &TokenTerms,
    source: &ConfigSource,
) -> Result<(Algorithm, EncodingKey), CommandFailure> {
    let wanted: Vec<_> = arguments.algorithm.map_or_else(|| expected.algorithms.clone(), |one| vec![one]);
    if let Some(file) = &arguments.signing_key {
        let shown = file.display();
        let pem = std::fs::read_to_string(file)
            .map_err(|error| CommandFailure::new(format!("{shown} cannot be read: {error}")))?;
        return from_pem(&pem.into(), &wanted).ok_or_else(|| {
            CommandFailure::new(format!("{shown} is not a private key in PEM for {}", named(&wanted)))
        });
    }
    let candidates = match &arguments.key {
        Some(name) => vec![Value::from(name.as_str())],
        None => expected.keys.clone(),
    };
    let mut reasons = Vec::new();
    for candidate in &candidates {
        match source.key(context, candidate) {
            Ok(KeySource::Secret(secret)) => match from_secret(&secret, &wanted) {
                Some(signer) => return Ok(signer),
                None => reasons
                    .push(format!("{candidate} is a secret, which does not sign with {}", named(&wanted))),
            },
            Ok(KeySource::Pem(pem)) => match from_pem(&pem, &wanted) {
                Some(signer) => return Ok(signer),
                None => reasons.push(format!("{candidate} is no private key for {}", named(&wanted))),
            },
            Ok(
                KeySource::JwksFile(_)
                | KeySource::Jwks(_)
                | KeySource::Unavailable
                | KeySource::Remote { .. },
            ) => {
                reasons.push(format!(
                    "{candidate} is a set of public keys, and the issuer has the private ones"
                ));
            }
            Err(reason) => reasons.push(format!("{candidate}: {reason}")),
        }
    }
    let why = if reasons.is_empty() { "the configuration names none".to_owned() } else { reasons.join("; ") };
    Err(CommandFailure::new(format!(
        "there is no key to sign with: {why}. Name one of `[keys]` with `--key NAME`, or a private key with `--signing-key FILE`"
    )))
}

fn named(algorithms: &[Algorithm]) -> String {
    match algorithms {
        [] => "any algorithm".to_owned(),
        several => several.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", "),
    }
}

fn from_secret(secret: &SecretString, wanted: &[Algorithm]) -> Option<(Algorithm, EncodingKey)> {
    const MACS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    let algorithm = pick(wanted, &MACS)?;
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes()).ok()?;
    Some((algorithm, key))
}

/// A signing key of whichever type fits: a PEM does not always name its type.
fn from_pem(pem: &SecretString, wanted: &[Algorithm]) -> Option<(Algorithm, EncodingKey)> {
    use Algorithm as A;
    let bytes = pem.expose_secret().as_bytes();
    let rsa = || {
        EncodingKey::from_rsa_pem(bytes)
            .ok()
            .zip(pick(wanted, &[A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512]))
    };
    let ec = || EncodingKey::from_ec_pem(bytes).ok().zip(pick(wanted, &[A::ES256, A::ES384]));
    let ed = || EncodingKey::from_ed_pem(bytes).ok().zip(pick(wanted, &[A::EdDSA]));
    rsa().or_else(ec).or_else(ed).map(|(key, algorithm)| (algorithm, key))
}

/// The first wanted algorithm that is possible; if none is wanted, the usual one.
fn pick(wanted: &[Algorithm], possible: &[Algorithm]) -> Option<Algorithm> {
    match wanted {
        [] => possible.first().copied(),
        _ => wanted.iter().find(|one| possible.contains(one)).copied(),
    }
}

/// The sources of secrets that the file may name.
fn secrets(outline: &Outline, context: &Context) -> Result<SecretSources, String> {
    outline.secrets(&context.environment).map_err(|fault| fault.to_string())
}

/// The source of keys and policies: a file, of which only the needed parts are read, or the environment
/// alone.
enum ConfigSource {
    File(Box<Outline>),
    Environment(Box<witgate_config::Config>),
}

impl ConfigSource {
    fn of(context: &Context) -> Result<Self, CommandFailure> {
        match context.config_path() {
            Some(path) => Outline::read(&path)
                .map(|outline| Self::File(Box::new(outline)))
                .map_err(CommandFailure::Config),
            None => context.load().map(|loaded| Self::Environment(Box::new(loaded.config))),
        }
    }

    /// The requirements of the named policy; empty if there is no jwt policy.
    fn expected(&self, wanted: Option<&str>) -> Result<TokenTerms, CommandFailure> {
        let found: Vec<(&str, Value)> = match self {
            Self::File(outline) => {
                let jwt = |(_, policy): &(&String, &raw::Policy)| matches!(policy.kind, raw::Kind::Jwt);
                let policies = outline.file.policies.iter().filter(jwt);
                policies.map(|(name, policy)| (name.as_str(), Value::Object(policy.config.clone()))).collect()
            }
            Self::Environment(config) => {
                let jwt = config.policies.values().filter(|policy| policy.kind == PolicyKind::Jwt);
                jwt.map(|policy| (policy.name.as_str(), policy.config.clone())).collect()
            }
        };
        let names = || found.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        match (wanted, found.as_slice()) {
            (Some(wanted), _) => found
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, config)| TokenTerms::of(config))
                .ok_or_else(|| {
                    CommandFailure::new(format!("there is no jwt policy `{wanted}`; there are: {}", names()))
                }),
            (None, []) => Ok(TokenTerms::default()),
            (None, [(_, only)]) => Ok(TokenTerms::of(only)),
            (None, _) => Err(CommandFailure::new(format!(
                "there are several jwt policies; name one with `--policy NAME`: {}",
                names()
            ))),
        }
    }

    fn key(&self, context: &Context, key: &Value) -> Result<KeySource, String> {
        match (self, key) {
            (Self::File(outline), Value::String(name)) => match outline.file.keys.get(name) {
                Some(key) => resolve::key(key, &outline.base, &secrets(outline, context)?),
                None => Err("there is no such key under `[keys]`".to_owned()),
            },
            (Self::File(outline), inline) => {
                let key: Key =
                    serde_json::from_value(inline.clone()).map_err(|_| "this is not a key".to_owned())?;
                resolve::key(&key, &outline.base, &secrets(outline, context)?)
            }
            (Self::Environment(config), Value::String(name)) => config
                .keys
                .get(name)
                .cloned()
                .ok_or_else(|| "without a configuration there is only `jwt-secret`".to_owned()),
            (Self::Environment(_), _) => Err("this is not a key".to_owned()),
        }
    }

    fn resource(&self, upstream: Option<&str>) -> Result<String, CommandFailure> {
        let resources: Vec<(String, String)> = match self {
            Self::File(outline) => resolve::resources(&outline.file),
            Self::Environment(config) => config
                .upstreams
                .iter()
                .map(|upstream| (upstream.name.clone(), upstream.resource.clone()))
                .collect(),
        };
        let names = || resources.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        match (upstream, resources.as_slice()) {
            (Some(wanted), _) => resources
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, resource)| resource.clone())
                .ok_or_else(|| {
                    CommandFailure::new(format!("there is no upstream `{wanted}`; there are: {}", names()))
                }),
            (None, [(_, only)]) => Ok(only.clone()),
            (None, []) => Err(CommandFailure::new(
                "there is no upstream that the token could be for; name its audience with `--audience URL`",
            )),
            (None, _) => Err(CommandFailure::new(format!(
                "there are several upstreams; name one with `--upstream NAME`: {}",
                names()
            ))),
        }
    }
}

impl TokenTerms {
    fn of(config: &Value) -> Self {
        let first = |name: &str| match config.get(name) {
            Some(Value::Array(several)) => several.first().and_then(Value::as_str).map(str::to_owned),
            Some(one) => one.as_str().map(str::to_owned),
            None => None,
        };
        let list = |name: &str| config.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        Self {
            keys: list("keys"),
            algorithms: list("algorithms").iter().filter_map(|name| name.as_str()?.parse().ok()).collect(),
            issuer: first("issuer"),
            audience: config.get("audience").cloned(),
            audience_claim: first("audience_claim"),
            subject_claim: first("subject_claim"),
            required: config.get("required_claims").and_then(Value::as_object).cloned().unwrap_or_default(),
            // The policy's default takes the audience for the role; this command writes roles to a claim of their own.
            roles_claim: config
                .get("roles_claim")
                .filter(|claim| *claim != "aud")
                .and_then(|claim| serde_json::from_value(claim.clone()).ok())
                .unwrap_or_default(),
            typ: first("typ"),
        }
    }
}
