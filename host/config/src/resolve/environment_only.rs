//! The configuration without a file: the environment variables of other MCP servers.
//!
//! They become ordinary built-in policies with ordinary settings: an `api-key` policy with one key, from
//! `MCP_API_KEY`, and a `jwt` policy with `JWT_SECRET`. They guard Witgate's own tools, or a server that the command
//! line names.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::SecretString;
use serde_json::json;

use super::load::{LoadedConfig, Strictness, finish};
use super::server::mib;
use super::telemetry;
use super::upstreams::DEFAULT_MESSAGE_MIB;
use crate::credentials::UpstreamCredentials;
use crate::diagnostic::Diagnostic;
use crate::environment::Environment;
use crate::identity::IdentitySettings;
use crate::secrets::SecretSources;
use crate::{
    BrokenParts, Config, Denials, KeySource, Network, Pipeline, Policy, PolicyKind, ResourceDescription,
    Server, SessionBounds, Transport, Upstream, UpstreamTarget,
};
use witgate_base::fingerprints::Fingerprints;

/// Minimum length of `MCP_API_KEY` and `JWT_SECRET`. Nobody guesses as many characters, even if they are hexadecimal
/// digits, and RFC 7518 (section 3.2) requires them of an HS256 key.
pub(super) const FEWEST: usize = 32;

/// The subject of identities that `MCP_API_KEY` authenticates.
const KEY_NAME: &str = "mcp-api-key";

/// A server that the command line names: a child process, which inherits only the variables that it is given.
#[derive(Debug)]
pub struct WrappedServer {
    /// Program and arguments. Never empty.
    pub command: Vec<String>,
    /// The names of the environment variables that the server gets.
    pub passed: Vec<String>,
}

/// The variables that only Witgate may read.
const OWN_SECRETS: [&str; 3] = ["MCP_API_KEY", "MCP_BEARER_TOKEN", "JWT_SECRET"];

/// Loads the configuration in front of `server`. None: in front of Witgate's own tools.
pub(super) fn load(
    environment: &Environment,
    server: Option<&WrappedServer>,
) -> Result<LoadedConfig, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let auth = Auth::read(environment, server, &mut faults);
    let target = target(environment, server, &mut faults);
    let passed = server.map(|server| server.passed.as_slice()).unwrap_or_default();
    // What the server gets is meant for the server.
    let misspelt = environment.misspelt().filter(|(name, _)| !passed.iter().any(|passed| passed == name));
    faults.extend(misspelt.map(|(_, fault)| fault));
    let (telemetry, ignored) = telemetry::without_file(environment);
    let ignored = ignored.into_iter().map(|fault| Diagnostic::warning(fault).help("the variable is ignored"));
    faults.extend(ignored);
    let config = auth.map(|auth| Config {
        telemetry,
        environment: environment.clone(),
        secrets: SecretSources::of_environment(environment.clone()),
        ..config(&auth, target)
    });
    finish(config, faults, Strictness::Whole)
}

fn target(
    environment: &Environment,
    server: Option<&WrappedServer>,
    faults: &mut Vec<Diagnostic>,
) -> UpstreamTarget {
    let Some(WrappedServer { command, passed }) = server else { return UpstreamTarget::OwnTools };
    let mut env = Vec::new();
    for name in passed {
        match environment.get(name) {
            _ if OWN_SECRETS.contains(&name.as_str()) => {
                let message = format!("{name} is a credential for Witgate, and the server may not get it");
                faults.push(Diagnostic::error(message).help("give the server's own secret another name"));
            }
            Some(value) => env.push((name.clone(), SecretString::from(value))),
            None => {
                let message = format!("the server is to get {name}, which is not set or is empty");
                faults.push(Diagnostic::error(message).help("set the variable, or leave `--env` out"));
            }
        }
    }
    UpstreamTarget::Command { argv: command.clone(), env, shared: false }
}

/// `MCP_AUTH_ENABLED=false` gives `Some(())`. Any value other than yes or no is an error, because a guess would either
/// lock callers out or let everybody in.
pub(super) fn disabled(environment: &Environment) -> Result<Option<()>, Diagnostic> {
    let value = environment.get("MCP_AUTH_ENABLED").unwrap_or("true");
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(None),
        "false" | "0" | "no" | "off" => Ok(Some(())),
        _ => Err(Diagnostic::error("MCP_AUTH_ENABLED is neither `true` nor `false`")
            .help("set it to `true`, or unset it, which is the same")),
    }
}

/// The authentication settings of the environment.
enum Auth<'a> {
    Disabled,
    Enabled { api_key: Option<&'a str>, jwt_secret: Option<&'a str>, header: Option<&'a str> },
}

impl<'a> Auth<'a> {
    fn read(
        environment: &'a Environment,
        server: Option<&WrappedServer>,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        match disabled(environment) {
            Err(fault) => {
                faults.push(fault);
                None
            }
            Ok(Some(())) => {
                faults.push(
                    Diagnostic::warning(
                        "MCP_AUTH_ENABLED=false: callers are not authenticated, and everybody may do everything",
                    )
                    .help("every audit record says so; unset it and set MCP_API_KEY to change that"),
                );
                Some(Self::Disabled)
            }
            Ok(None) => Self::enabled(environment, server, faults),
        }
    }

    fn enabled(
        environment: &'a Environment,
        server: Option<&WrappedServer>,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let api_key = credential("MCP_API_KEY", environment, faults);
        let jwt_secret = credential("JWT_SECRET", environment, faults);
        let header = header(environment, faults);
        if environment.get("MCP_API_KEY").or(environment.get("JWT_SECRET")).is_none() {
            faults.push(nothing_set(server));
            return None;
        }
        Some(Self::Enabled { api_key, jwt_secret, header })
    }
}

fn nothing_set(server: Option<&WrappedServer>) -> Diagnostic {
    let help = "set MCP_API_KEY to a random key of at least 32 characters, for example by \
                `export MCP_API_KEY=$(openssl rand -hex 32)`";
    match server {
        Some(_) => Diagnostic::error("MCP_API_KEY is not set")
            .help(format!("{help}; an MCP client sets it under `env` of the server")),
        None => Diagnostic::error("there is no configuration file, and MCP_API_KEY is not set").help(
            format!("make a configuration with `witgate init`, name one with `--config FILE`, or {help}"),
        ),
    }
}

fn credential<'a>(name: &str, environment: &'a Environment, faults: &mut Vec<Diagnostic>) -> Option<&'a str> {
    let value = environment.get(name)?;
    let length = value.chars().count();
    if length >= FEWEST {
        return Some(value);
    }
    let message = format!("{name} has {length} characters, and at least {FEWEST} are needed");
    let help = format!("short secrets can be guessed; make one by `export {name}=$(openssl rand -hex 32)`");
    faults.push(Diagnostic::error(message).help(help));
    None
}

fn header<'a>(environment: &'a Environment, faults: &mut Vec<Diagnostic>) -> Option<&'a str> {
    let header = environment.get("MCP_AUTH_HEADER")?;
    if header.parse::<http::HeaderName>().is_err() {
        let message = format!("MCP_AUTH_HEADER is not the name of a header: `{header}`");
        faults.push(Diagnostic::error(message).help("set it to a name such as `X-API-Key`, or unset it"));
    }
    // `Authorization: Bearer` is always read.
    Some(header).filter(|header| !header.eq_ignore_ascii_case("authorization"))
}

fn config(auth: &Auth<'_>, target: UpstreamTarget) -> Config {
    let server = Server::new(Transport::Stdio);
    let resource = format!("http://{}/mcp", server.listen);
    let (policies, pipeline) = match auth {
        Auth::Disabled => for_everybody(),
        Auth::Enabled { api_key, jwt_secret, header } => checked(*api_key, *jwt_secret, *header, &resource),
    };
    let keys = match auth {
        Auth::Enabled { jwt_secret: Some(secret), .. } => {
            [("jwt-secret".to_owned(), KeySource::Secret(SecretString::from(*secret)))].into()
        }
        _ => BTreeMap::new(),
    };
    Config {
        path: None,
        text: String::new(),
        server,
        network: Some(Network::default()),
        upstreams: vec![upstream(target, resource, pipeline)],
        policies: policies.into_iter().map(|policy| (policy.name.clone(), policy)).collect(),
        keys,
        credentials: BTreeMap::new(),
        signing: None,
        accounts: None,
        limits: Vec::new(),
        lockout: None,
        password_cost: witgate_basic::hash::RECOMMENDED,
        denied_peers: Vec::new(),
        no_new_access: false,
        audit: None,
        telemetry: None,
        lint_exceptions: Vec::new(),
        files: Fingerprints::default(),
        broken: BrokenParts::default(),
        environment: Environment::default(),
        secrets: SecretSources::default(),
        endpoints: Vec::new(),
        auth_disabled: matches!(auth, Auth::Disabled),
    }
}

fn upstream(target: UpstreamTarget, resource: String, pipeline: Pipeline) -> Upstream {
    let name = match target {
        UpstreamTarget::OwnTools => "own",
        _ => "server",
    };
    Upstream {
        name: name.to_owned(),
        path: "/mcp".to_owned(),
        resource,
        about: ResourceDescription::default(),
        target,
        lifetimes: Vec::new(),
        absent: Vec::new(),
        pipeline,
        timeout: std::time::Duration::from_secs(60),
        scopes: Vec::new(),
        sessions: SessionBounds::default(),
        denials: Denials::default(),
        identity: IdentitySettings::default(),
        credentials: UpstreamCredentials::default(),
        eras: None,
        max_message: mib(DEFAULT_MESSAGE_MIB),
        own_tools: Vec::new(),
        own_resources: Vec::new(),
        token_issue: None,
        pins: None,
    }
}

fn for_everybody() -> (Vec<Policy>, Pipeline) {
    let roles = json!({ "roles": { "everybody": { "allow": ["*", "method:*"] } } });
    let policy = Policy::builtin("everybody", PolicyKind::Rbac, roles);
    let pipeline = Pipeline {
        authenticate: Vec::new(),
        authorize: vec!["everybody".to_owned()],
        anonymous: Some(vec!["everybody".to_owned()]),
        shown_to_anonymous: Vec::new(),
    };
    (vec![policy], pipeline)
}

fn checked(
    api_key: Option<&str>,
    jwt_secret: Option<&str>,
    header: Option<&str>,
    resource: &str,
) -> (Vec<Policy>, Pipeline) {
    let mut policies = Vec::new();
    policies.extend(api_key.map(|key| api_key_policy(key, header, resource)));
    policies.extend(jwt_secret.map(|_| jwt_policy()));
    let authenticate = policies.iter().map(|policy| policy.name.clone()).collect();
    let authorize = match jwt_secret {
        None => "api-key",
        Some(_) => {
            policies.push(holders_policy(resource));
            "holders"
        }
    };
    let pipeline = Pipeline { authenticate, authorize: vec![authorize.to_owned()], ..Pipeline::default() };
    (policies, pipeline)
}

/// A store with one key that allows everything.
fn api_key_policy(key: &str, header: Option<&str>, resource: &str) -> Policy {
    let sha256: String =
        digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let store = format!(
        "version = 1\n\n[[keys]]\nname = \"{KEY_NAME}\"\nid = \"environment\"\nsha256 = \"{sha256}\"\n\
         created = 1970-01-01T00:00:00Z\nroles = [\"{resource}\"]\nallow = [\"*\"]\n"
    );
    let mut config = json!({ "store": { "content": store } });
    if let (Some(header), Some(config)) = (header, config.as_object_mut()) {
        config.insert("header".to_owned(), header.into());
    }
    Policy::builtin("api-key", PolicyKind::ApiKey, config)
}

/// `aud` is used as the role. Witgate does not know the meaning of the token's own roles, but it has checked that the
/// token is for this resource.
fn jwt_policy() -> Policy {
    let config = json!({ "keys": ["jwt-secret"], "algorithms": ["HS256"], "roles_claim": "aud" });
    Policy::builtin("jwt", PolicyKind::Jwt, config)
}

/// The policy that allows everything to callers with the key or a token for this resource.
fn holders_policy(resource: &str) -> Policy {
    let roles = json!({ "roles": { resource: { "allow": ["*"] } } });
    Policy::builtin("holders", PolicyKind::Rbac, roles)
}
