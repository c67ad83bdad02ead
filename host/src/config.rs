//! The configuration, resolved: typed, checked, secrets read, paths made absolute. No serde here.

pub mod diagnostic;
mod document;
pub mod environment;
pub mod raw;
pub mod resolve;
mod shape;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::fingerprints::Fingerprints;

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Config {
    /// The file it came from. None: made from the environment alone.
    pub path: Option<PathBuf>,
    /// How Witgate meets its clients.
    pub server: Server,
    /// What it protects, in the order of their names. Never empty.
    pub upstreams: Vec<Upstream>,
    /// The policies by name, also those that no pipeline uses.
    pub policies: BTreeMap<String, Policy>,
    /// The keys that the host holds, by name.
    pub keys: BTreeMap<String, KeySource>,
    /// Files that it was made from: its own, and those with secrets. When one changes, so does the
    /// configuration.
    pub files: Fingerprints,
    /// `MCP_AUTH_ENABLED=false`: nobody is asked for a credential, one that is shown is not looked
    /// at, and every audit record says so.
    pub auth_disabled: bool,
}

impl Config {
    /// The directory that relative paths in it are relative to.
    pub fn dir(&self) -> PathBuf {
        let parent = self.path.as_deref().and_then(std::path::Path::parent);
        parent.filter(|dir| !dir.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from)
    }
}

/// `[server]`.
#[derive(Debug)]
pub struct Server {
    /// Towards the clients.
    pub transport: Transport,
    /// Where the MCP endpoint listens, for HTTP.
    pub listen: SocketAddr,
    /// Issuers named in the RFC 9728 metadata. Empty: there is no metadata.
    pub authorization_servers: Vec<String>,
    /// Browser origins that may call.
    pub allowed_origins: Vec<String>,
    /// Host names (without port) that a request may name, beside loopback names and the listen address.
    pub allowed_hosts: Vec<String>,
    /// Where health and metrics listen, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// The control socket. None: no such socket (without a config file).
    pub control: Option<PathBuf>,
    /// How long running calls may go on after a signal to stop.
    pub shutdown_grace: Duration,
}

/// Towards the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    Http,
    /// Standard input and output.
    Stdio,
}

/// `[upstreams.NAME]`.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// The HTTP path of its endpoint, beginning with `/`.
    pub path: String,
    /// Its resource identifier: the audience of tokens and the RFC 9728 `resource`.
    pub resource: String,
    /// Where it is.
    pub target: Target,
    /// Who may do what there.
    pub pipeline: Pipeline,
    /// How long a request may wait for the first sign of an answer.
    pub timeout: Duration,
}

/// Where an upstream is.
#[derive(Debug)]
pub enum Target {
    /// A child process that speaks MCP over its standard input and output.
    Command {
        /// Program and arguments. Never empty.
        argv: Vec<String>,
        /// Environment variables beside the inherited ones that a process needs (`PATH`, `HOME`, …).
        env: Vec<(String, SecretString)>,
        /// One child for all callers.
        shared: bool,
    },
    /// A Streamable HTTP endpoint.
    Url {
        /// The endpoint.
        url: url::Url,
        /// Headers of its own, its credential for one.
        headers: Vec<(String, SecretString)>,
    },
    /// The host's own small tools.
    OwnTools,
}

/// `[pipeline]`, or an upstream's own.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Names of authenticators, in order.
    pub authenticate: Vec<String>,
    /// Names of authorizers; every one must allow. Empty: nothing is allowed.
    pub authorize: Vec<String>,
    /// Roles of who shows no credential at all. None: such a caller is refused.
    pub anonymous: Option<Vec<String>>,
}

/// `[policies.NAME]`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Which check it is.
    pub kind: PolicyKind,
    /// The component file. None: the built-in.
    pub component: Option<PathBuf>,
    /// What happens when the component cannot be had.
    pub fallback: Fallback,
    /// Whether its verdict counts.
    pub mode: Mode,
    /// Its own settings, as JSON; paths in it are as written.
    pub config: serde_json::Value,
    /// Pinned SHA-256 of the component file.
    pub digest: Option<[u8; 32]>,
    /// What a call may use up.
    pub limits: Limits,
    /// What it may reach.
    pub grants: Grants,
}

/// Which check a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// API keys.
    ApiKey,
    /// JSON Web Tokens.
    Jwt,
    /// OAuth 2.0 token introspection.
    Introspection,
    /// Roles with patterns.
    Rbac,
    /// Somebody else's; a component is required.
    Custom,
}

impl PolicyKind {
    /// The name in the config.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::Jwt => "jwt",
            Self::Introspection => "oauth2-introspection",
            Self::Rbac => "rbac",
            Self::Custom => "custom",
        }
    }
}

/// What happens when a component is missing at start, traps, or overruns time, fuel or memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The call is denied.
    #[default]
    Deny,
    /// The built-in of the same kind decides, loudly.
    Builtin,
}

/// Whether a policy's verdict counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It counts.
    #[default]
    Enforce,
    /// It is recorded and changes nothing.
    Shadow,
}

/// What one call of a component may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a hook's own code may run.
    pub timeout: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory: usize,
}

impl Default for Limits {
    /// 50 ms is twenty thousand times what a shipped check takes, and short enough that a
    /// looping plugin is noticed before its caller gives up. 16 MiB holds a store of 50,000 keys.
    fn default() -> Self {
        Self { timeout: Duration::from_millis(50), memory: 16 << 20 }
    }
}

/// What a policy may reach, beyond what its kind's own settings name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Origins (`https://idp.example.com`) for the `http` import.
    pub http: Vec<String>,
    /// Names under `[keys]` for the `crypto` import.
    pub keys: Vec<String>,
    /// Names under `[keys]` whose raw value the `secrets` import reveals.
    pub secrets: Vec<String>,
    /// The `cache` import.
    pub cache: bool,
    /// The `crypto` import without any key: digests and comparisons.
    pub crypto: bool,
}

/// Where a key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A shared secret for HMAC, or a raw secret.
    Secret(SecretString),
    /// A public key, certificate or private key in PEM.
    Pem(SecretString),
    /// A JWK Set in a file; read again when it changes.
    JwksFile(PathBuf),
    /// A JWK Set at a URL; fetched, cached and refreshed.
    JwksUrl(url::Url),
}
