//! The configuration, resolved: typed, checked, secrets read, paths made absolute. No serde here.

#![forbid(unsafe_code)]

pub mod diagnostic;
pub mod document;
pub mod environment;
pub mod identity;
pub mod key_store;
pub mod raw;
pub mod resolve;
pub mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};

use identity::IdentitySettings;
use witgate_base::breaker::BreakerLimits;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::provenance::Provenance;
use witgate_base::signing::{PublicKey, Signer};

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Config {
    /// The file it came from. None: made from the environment alone.
    pub path: Option<PathBuf>,
    /// That file's content. Empty: there is none.
    pub text: String,
    /// The listeners and their limits.
    pub server: Server,
    /// The settings of outgoing connections. None: the section is invalid.
    pub network: Option<Network>,
    /// The protected servers, in the order of their names. Never empty.
    pub upstreams: Vec<Upstream>,
    /// The policies by name, also those that no pipeline uses.
    pub policies: BTreeMap<String, Policy>,
    /// The keys that the host holds, by name.
    pub keys: BTreeMap<String, KeySource>,
    /// The key and lifetime for signing what upstreams receive. None: no upstream is sent anything signed.
    pub signing: Option<Signing>,
    /// Files that it was made from: its own, and those with secrets. When one changes, so does the
    /// configuration.
    pub files: Fingerprints,
    /// The unusable parts of the configuration. Empty unless [`resolve::load_parts`] was asked for a part.
    pub broken: BrokenParts,
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

/// `[signing]`.
#[derive(Debug)]
pub struct Signing {
    /// The private key.
    pub signer: Arc<Signer>,
    /// Public keys that are served beside its own.
    pub published: Vec<PublicKey>,
}

/// The parts of a configuration that cannot be used.
#[derive(Debug, Default)]
pub struct BrokenParts {
    /// Policies, and what is wrong with each.
    pub policies: BTreeMap<String, String>,
    /// Upstreams.
    pub upstreams: BTreeSet<String>,
    /// Upstreams whose pipeline cannot be used.
    pub pipelines: BTreeSet<String>,
    /// `[network]`.
    pub network: bool,
}

/// The path of the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSocket {
    /// Its path.
    pub path: PathBuf,
    /// True if the setting is written: then no other value is accepted.
    pub is_given: bool,
}

/// `[server]`.
#[derive(Debug)]
pub struct Server {
    /// Towards the clients.
    pub transport: Transport,
    /// The address of the MCP endpoint, for HTTP.
    pub listen: SocketAddr,
    /// TLS there. None: HTTP in plain.
    pub tls: Option<TlsSettings>,
    /// True if proofs of possession need a nonce from this server.
    pub dpop_nonces: bool,
    /// Issuers named in the RFC 9728 metadata. Empty: there is no metadata.
    pub authorization_servers: Vec<String>,
    /// Browser origins that may call.
    pub allowed_origins: Vec<String>,
    /// Host names (without port), or [`ANY_LABEL`](witgate_base::zone::ANY_LABEL) before one, that a request may name, beside loopback names and the
    /// listen address.
    pub allowed_hosts: Vec<String>,
    /// Proxies in front of `listen` that say for whom they speak.
    pub trusted_proxies: Vec<IpNet>,
    /// The header with the client's address. None: nowhere.
    pub forwarded: Option<Forwarded>,
    /// The address of health checks and metrics.
    pub admin_listen: Option<SocketAddr>,
    /// Extensions of MCP authorization that clients learn of.
    pub extensions: Vec<Extension>,
    /// The control socket. None: no such socket (without a config file).
    pub control: Option<ControlSocket>,
    /// Time that running calls may take after a signal to stop.
    pub shutdown_grace: Duration,
    /// The file for a rollback. None: nowhere (without a config file).
    pub state: Option<PathBuf>,
    /// Number of generations to keep for a rollback, the live one included.
    pub keep_generations: usize,
    /// Maximum number of connections at `listen`, where the limit of open files leaves room for them.
    pub max_connections: usize,
    /// Maximum number of connections from one address (IPv4) or network (/64 of IPv6). None: half of them.
    pub max_connections_per_peer: Option<usize>,
    /// Maximum number of bytes that large heads and bodies may hold at once; one address or network may hold
    /// half.
    pub request_memory: usize,
    /// Maximum number of bytes that large answers may hold until they are read; one party may hold half.
    pub answer_memory: usize,
    /// The largest message that a client may send, in bytes.
    pub max_request: usize,
    /// Behaviour while audit records cannot be written.
    pub audit_overflow: AuditOverflow,
}

impl Server {
    /// Maximum number of connections from one address or network.
    pub fn connections_of_one(&self) -> usize {
        self.max_connections_per_peer
            .unwrap_or(self.max_connections / 2)
            .clamp(1, self.max_connections.max(1))
    }
}

/// The place of the client's address in a proxy's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// In `X-Forwarded-For`.
    ForwardedFor,
    /// In `Forwarded` (RFC 7239).
    Forwarded,
    /// At the beginning of each connection, by the PROXY protocol, version 2.
    ProxyProtocol,
}

/// The treatment of calls while the audit cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditOverflow {
    /// They are made, and the records that are lost are counted.
    #[default]
    Count,
    /// They are denied.
    Deny,
}

/// `[network]`.
#[derive(Clone, Debug)]
pub struct Network {
    /// Authorities that servers' certificates may come from, beside those of the system.
    pub cas: Vec<CertificateDer<'static>>,
    /// True if the CAs of the system are trusted.
    pub system_cas: bool,
    /// The proxy for `http` URLs; it may hold a password.
    pub http_proxy: Option<SecretString>,
    /// The proxy for `https` URLs.
    pub https_proxy: Option<SecretString>,
    /// Names, zones, addresses and networks that no proxy is used for.
    pub no_proxy: Vec<String>,
    /// True if the proxy resolves names; their addresses are not checked here then.
    pub proxy_resolves: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cas: Vec::new(),
            system_cas: true,
            http_proxy: None,
            https_proxy: None,
            no_proxy: Vec::new(),
            proxy_resolves: false,
        }
    }
}

impl Network {
    /// Uses one proxy for all URLs.
    pub fn go_through(&mut self, proxy: Option<SecretString>) {
        self.http_proxy.clone_from(&proxy);
        self.https_proxy = proxy;
    }

    /// True if both have the same settings.
    pub fn is_same(&self, other: &Self) -> bool {
        let written =
            |proxy: &Option<SecretString>| proxy.as_ref().map(|proxy| proxy.expose_secret().to_owned());
        let rest = |it: &Self| (it.system_cas, it.proxy_resolves);
        self.cas == other.cas
            && written(&self.http_proxy) == written(&other.http_proxy)
            && written(&self.https_proxy) == written(&other.https_proxy)
            && self.no_proxy == other.no_proxy
            && rest(self) == rest(other)
    }
}

/// An extension of MCP authorization. A resource server does nothing for it that it does not do anyhow; it is the
/// authorization servers that offer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Clients that are programs get tokens by themselves.
    OauthClientCredentials,
    /// An enterprise's identity provider says who may have tokens.
    EnterpriseManagedAuthorization,
}

impl Extension {
    /// Its name in `capabilities.extensions`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OauthClientCredentials => "io.modelcontextprotocol/oauth-client-credentials",
            Self::EnterpriseManagedAuthorization => {
                "io.modelcontextprotocol/enterprise-managed-authorization"
            }
        }
    }
}

/// `[server.tls]`: where its parts are. They are read, and read again, by whoever speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate and those that lead to its CA, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: TlsKey,
    /// The CAs of the clients, in PEM.
    pub client_ca: Option<PathBuf>,
    /// The demand for client certificates.
    pub clients: ClientCertificates,
}

/// The source of a private key.
#[derive(Clone, Debug)]
pub enum TlsKey {
    /// In a file, which may change.
    File(PathBuf),
    /// In an environment variable.
    Text(SecretString),
}

/// The demand for client certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is asked for.
    #[default]
    Off,
    /// It may; one that it shows has to be good.
    Optional,
    /// It has to.
    Required,
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
    /// The description in its metadata.
    pub about: ResourceDescription,
    /// The target.
    pub target: UpstreamTarget,
    /// The policies that judge its calls.
    pub pipeline: Pipeline,
    /// Maximum time until the first sign of an answer.
    pub timeout: Duration,
    /// OAuth scopes that a first login should ask for.
    pub scopes: Vec<String>,
    /// The bounds of sessions.
    pub sessions: SessionBounds,
    /// The way in which a denial that no login can cure is told.
    pub denials: Denials,
    /// The identity that the upstream receives with each call.
    pub identity: IdentitySettings,
    /// The eras that it speaks. None: it is asked.
    pub eras: Option<Eras>,
    /// The largest message of the server's that is held as a whole, in bytes.
    pub max_message: usize,
}

/// The eras of the protocol that an upstream is known to speak: one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eras {
    /// 2025-03-26 to 2025-11-25.
    pub stateful: bool,
    /// 2026-07-28.
    pub stateless: bool,
}

/// The descriptive members of a resource's RFC 9728 metadata (section 2). Each member that is some is in the
/// document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceDescription {
    /// `resource_name`.
    pub name: Option<String>,
    /// `resource_documentation`.
    pub documentation: Option<String>,
    /// `resource_policy_uri`.
    pub policy: Option<String>,
    /// `resource_tos_uri`.
    pub terms: Option<String>,
}

impl ResourceDescription {
    /// The same, with those of `other` where it has none.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let Self { name, documentation, policy, terms } = other.clone();
        Self {
            name: self.name.or(name),
            documentation: self.documentation.or(documentation),
            policy: self.policy.or(policy),
            terms: self.terms.or(terms),
        }
    }

    /// The members by their names.
    pub fn members(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { name, documentation, policy, terms } = self;
        let members = [
            ("resource_name", name),
            ("resource_documentation", documentation),
            ("resource_policy_uri", policy),
            ("resource_tos_uri", terms),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// The bounds of sessions. None: the default of the upstream's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionBounds {
    /// All in all.
    pub most: Option<usize>,
    /// Of one caller.
    pub most_of_one: Option<usize>,
}

/// The way in which a denial that no login can cure is told over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denials {
    /// With status 403, and a JSON-RPC error in the body.
    #[default]
    Http,
    /// With status 200 and the same JSON-RPC error, for clients that give up the connection after a 403.
    JsonRpc,
}

impl Upstream {
    /// A text of everything that is fixed at the start. Headers, environment, scopes and identity are left
    /// out: a reload can change those.
    pub fn place(&self) -> String {
        let Self { path, resource, about, target, timeout, sessions, denials, eras, max_message, .. } = self;
        let target = match target {
            UpstreamTarget::Command { argv, shared, .. } => format!("command {argv:?} {shared}"),
            UpstreamTarget::Url { url, .. } => format!("url {url}"),
            UpstreamTarget::Sse { url, .. } => format!("sse {url}"),
            other => format!("{other:?}"),
        };
        format!(
            "{path} {resource} {about:?} {timeout:?} {sessions:?} {denials:?} {eras:?} {max_message} {target}"
        )
    }
}

/// The target of an upstream.
#[derive(Debug)]
pub enum UpstreamTarget {
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
    /// The event stream of a server that speaks HTTP+SSE, the transport of 2024-11-05.
    Sse {
        /// The stream.
        url: url::Url,
        /// Headers of its own, its credential for one.
        headers: Vec<(String, SecretString)>,
    },
    /// The host's own small tools.
    OwnTools,
    /// A service of the program that has Witgate in it as a library.
    Embedded,
    /// Nowhere: what is written cannot be used.
    Broken,
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
    /// The kind of check.
    pub kind: PolicyKind,
    /// The component file. None: the built-in.
    pub component: Option<PathBuf>,
    /// The reaction to a component that cannot be loaded or cannot decide.
    pub fallback: Fallback,
    /// Enforced or only watched.
    pub mode: Mode,
    /// Its own settings, as JSON; paths in it are as written.
    pub config: serde_json::Value,
    /// The demands on the component's provenance.
    pub provenance: Provenance,
    /// Cases that a candidate has to pass.
    pub cases: Option<PathBuf>,
    /// Limits of one call.
    pub limits: Limits,
    /// The state that instances keep between hooks.
    pub isolation: Isolation,
    /// The circuit breaker.
    pub breaker: BreakerLimits,
    /// Its grants.
    pub grants: Grants,
}

impl Policy {
    /// The files that say which code decides, and whether it may: its component, the component's signature, its cases.
    pub fn written(&self) -> Vec<PathBuf> {
        let signature = self.component.as_ref().and_then(|component| self.provenance.signature_of(component));
        self.component.iter().chain(&signature).chain(&self.cases).cloned().collect()
    }

    /// True if it answers as `other` does, as far as the configuration says: the same check with the same settings.
    pub fn is_configured_as(&self, other: &Self) -> bool {
        let parts =
            |policy: &Self| (policy.kind, policy.mode, policy.component.clone(), policy.config.clone());
        parts(self) == parts(other)
    }
}

/// The kind of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// API keys.
    ApiKey,
    /// JSON Web Tokens.
    Jwt,
    /// OAuth 2.0 token introspection.
    Introspection,
    /// Client certificates.
    ClientCertificate,
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
            Self::ClientCertificate => "client-certificate",
            Self::Rbac => "rbac",
            Self::Custom => "custom",
        }
    }
}

/// The reaction to a component that is missing at start, traps, or overruns time or memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The call is denied.
    #[default]
    Deny,
    /// The built-in of the same kind decides, loudly.
    Builtin,
}

/// The effect of a policy's verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It counts.
    #[default]
    Enforce,
    /// It is recorded and changes nothing.
    Shadow,
}

/// Limits of one call of a component, and of the memory that its policy may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum running time of a hook's own code.
    pub timeout: Duration,
    /// Maximum wall-clock time of a hook, host calls and waiting for a free instance included. None:
    /// [`Limits::wait`] says.
    pub wait: Option<Duration>,
    /// All linear memories of one instance, in bytes. None: [`Limits::memory`] says.
    pub memory: Option<usize>,
    /// All tables of one instance, in elements.
    pub table_elements: usize,
    /// Maximum size of a hook's answer, or of the arguments of one import, in bytes.
    pub output: usize,
    /// Lines that one hook may log.
    pub log_lines: u32,
    /// Imports of `witgate:auth` that one hook may call.
    pub host_calls: u32,
    /// Requests that one hook may send.
    pub http_requests: u32,
    /// Resources of the host, such as streams, that one instance may hold.
    pub handles: usize,
    /// Instances at work at once.
    pub instances: usize,
    /// Keys and values of the policy's cache, in bytes.
    pub cache: u64,
}

impl Limits {
    /// Wall-clock time that a hook may take beyond its running time: a busy machine makes everybody wait for
    /// a turn, and that is no fault of the plugin's.
    const SLACK: Duration = Duration::from_millis(950);

    /// Additional wall-clock time where the hook may wait for the network: the longest wait of the fetcher.
    const NETWORK: Duration = Duration::from_secs(5);

    /// All linear memories of one instance, in bytes, where nothing is written.
    const MEMORY: usize = 16 << 20;

    /// Additional bytes of memory per byte of the settings, which every instance reads: a key store of
    /// several megabytes is the operator's own wish.
    const MEMORY_OF_SETTINGS: usize = 16;

    /// The most that may be written, in bytes.
    const MOST_MEMORY: usize = 1 << 30;

    /// All linear memories of one instance, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.unwrap_or(Self::MEMORY)
    }

    /// The same for a policy whose settings have `size` bytes, those of files included.
    #[must_use]
    pub fn with_settings(self, size: usize) -> Self {
        let usual = Self::MEMORY.saturating_add(size.saturating_mul(Self::MEMORY_OF_SETTINGS));
        Self { memory: Some(self.memory.unwrap_or(usual.min(Self::MOST_MEMORY))), ..self }
    }

    /// Maximum wall-clock time of a hook.
    pub fn wait(&self, network: bool) -> Duration {
        let usual = self.timeout + Self::SLACK + if network { Self::NETWORK } else { Duration::ZERO };
        self.wait.unwrap_or(usual)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Twenty thousand times what a shipped check takes, and short enough that a looping
            // plugin is noticed before its caller gives up.
            timeout: Duration::from_millis(50),
            wait: None,
            // Holds a store of 50,000 keys.
            memory: None,
            // An interpreter has some ten thousand.
            table_elements: 100_000,
            // Sixteen times the largest identity that the bounds of the WIT package leave.
            output: 1 << 20,
            // A check that says more is talking to nobody.
            log_lines: 32,
            // A check with a few headers, claims and keys makes a dozen.
            host_calls: 1000,
            // Discovery, keys and a question, each tried twice.
            http_requests: 6,
            // A guest of an interpreted language has a dozen open.
            handles: 1000,
            // Checks that wait for nothing take microseconds, so a few would do; those that wait for an
            // authorization server hold one each.
            instances: 100,
            // A tenth of 100,000 introspected tokens: the busy ones.
            cache: 4 << 20,
        }
    }
}

/// The state that one hook leaves for the next one in the same instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Instances are used again, this many times, with all state that the plugin keeps.
    Pooled {
        /// Hooks until another instance takes its place.
        recycle_after: u64,
    },
    /// Nothing: each hook has an instance of its own.
    PerCall,
}

impl Default for Isolation {
    /// Making an instance takes as long as a few dozen hooks; once in ten thousand is nothing, and what a
    /// plugin leaks stays small.
    fn default() -> Self {
        Self::Pooled { recycle_after: 10_000 }
    }
}

/// The grants of a policy, beyond those that its kind's own settings name.
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

/// The source of a key.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A shared secret for HMAC, or a raw secret.
    Secret(SecretString),
    /// A public key, certificate or private key in PEM.
    Pem(SecretString),
    /// A JWK Set in a file; read again when it changes.
    JwksFile(PathBuf),
    /// A JWK Set, written out: in a file of cases.
    Jwks(String),
    /// A JWK Set that cannot be had: in a file of cases.
    Unavailable,
    /// A JWK Set that is fetched, cached and refreshed.
    Remote {
        /// The place of the set.
        place: KeyPlace,
        /// Time that the last good key set is used beyond its lifetime while its server does not answer.
        max_stale: Duration,
    },
}

impl KeySource {
    /// The same; of a secret, only that it cannot be had.
    #[must_use]
    pub fn without_secret(&self) -> Self {
        match self {
            Self::Secret(_) => Self::Unavailable,
            other => other.clone(),
        }
    }
}

/// The default of `max_stale`: long enough for somebody to repair the server on the next day.
pub const MAX_STALE: Duration = Duration::from_secs(24 * 3600);

/// The place of a JWK Set that is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyPlace {
    /// At this URL.
    Url(url::Url),
    /// The place that the metadata of this issuer names. Its text is compared as it stands.
    Issuer(String),
}
