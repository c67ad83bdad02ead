//! The resolved configuration: typed and checked, with secrets read and absolute paths. It has no serde.

#![forbid(unsafe_code)]

pub mod account_logins;
pub mod accounts;
pub mod argument;
mod combined_endpoint;
pub mod credentials;
pub mod diagnostic;
pub mod document;
pub mod env_file;
pub mod environment;
pub mod identity;
pub mod key_store;
pub mod keyring;
pub mod limits;
pub mod lint;
mod own_tool;
pub mod pins;
pub mod raw;
pub mod resolve;
pub mod secret_programs;
pub mod secret_store;
pub mod secret_text;
pub mod secrets;
pub mod shape;
pub mod token_issue;
pub mod user_store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};

use accounts::AccountSettings;
pub use argument::{ArgumentSchema, ArgumentSettings, InjectedValue};
pub use combined_endpoint::{CombinedEndpoint, EndpointUpstream, PREFIX_END};
use credentials::{CredentialSettings, UpstreamCredentials};
use identity::IdentitySettings;
use limits::{CallLimit, Lockout};
use lint::LintException;
pub use own_tool::{OwnResource, OwnTool};
use witgate_audit::note::CheckpointSigner;
use witgate_audit::{CheckpointPlace, SegmentRules, SyncMode};
use witgate_base::breaker::BreakerLimits;
use witgate_base::fingerprints::Fingerprints;
use witgate_base::provenance::Provenance;
use witgate_base::signing::{PublicKey, Signer};
use witgate_basic::hash::Argon2Hash;
use witgate_plugin::Pattern;

/// All settings of `serve`.
#[derive(Debug)]
pub struct Config {
    /// The file. None: the configuration comes only from the environment.
    pub path: Option<PathBuf>,
    /// The content of the file. Empty if there is no file.
    pub text: String,
    /// The listeners and their limits.
    pub server: Server,
    /// The settings of outgoing connections. None: the section is invalid.
    pub network: Option<Network>,
    /// The protected servers, in the order of their names. Never empty.
    pub upstreams: Vec<Upstream>,
    /// The endpoints with several upstreams, in the order of their names.
    pub endpoints: Vec<CombinedEndpoint>,
    /// The policies by name, also those that no pipeline uses.
    pub policies: BTreeMap<String, Policy>,
    /// The keys of the host, by name.
    pub keys: BTreeMap<String, KeySource>,
    /// The credentials with which Witgate calls upstreams, by name.
    pub credentials: BTreeMap<String, Arc<CredentialSettings>>,
    /// The key for signing identity tokens, and their lifetime. None: Witgate signs nothing.
    pub signing: Option<Signing>,
    /// People who log in at Witgate itself. None: there are none.
    pub accounts: Option<AccountSettings>,
    /// The limits of calls, in the order of their names.
    pub limits: Vec<CallLimit>,
    /// Pauses after failed authentications. None: there are none.
    pub lockout: Option<Lockout>,
    /// `[passwords]`: the cost of new hashes of passwords.
    pub password_cost: Argon2Hash,
    /// Addresses and networks that may not connect.
    pub denied_peers: Vec<IpNet>,
    /// True if changes that widen access are refused while Witgate runs.
    pub no_new_access: bool,
    /// The audit log. None: the audit is only written to standard error.
    pub audit: Option<Audit>,
    /// The traces of operations. None: there are none.
    pub telemetry: Option<Telemetry>,
    /// Findings of `witgate lint` that the operator accepts.
    pub lint_exceptions: Vec<LintException>,
    /// The fingerprints of the configuration file and of its files with secrets. If one changes, so does the
    /// configuration.
    pub files: Fingerprints,
    /// The unusable parts of the configuration. Empty unless [`resolve::load_parts`] was called for parts.
    pub broken: BrokenParts,
    /// The variables that the configuration may name: those of the process, and those of `server.env_file`.
    pub environment: environment::Environment,
    /// The sources of secrets.
    pub secrets: secrets::SecretSources,
    /// `MCP_AUTH_ENABLED=false`: no credential is required, credentials are ignored, and every audit record says so.
    pub auth_disabled: bool,
}

impl Config {
    /// The resource identifiers of all endpoints.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        let upstreams = self.upstreams.iter().map(|upstream| upstream.resource.as_str());
        upstreams.chain(self.endpoints.iter().map(|endpoint| endpoint.resource.as_str()))
    }

    /// The directory for relative paths.
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
    /// Other public keys that are served.
    pub published: Vec<PublicKey>,
}

/// `[audit]`.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The directory.
    pub directory: PathBuf,
    /// The key that signs checkpoints.
    pub key: AuditKey,
    /// The time at which entries are on the disk.
    pub sync: SyncMode,
    /// Behaviour while entries cannot be written.
    pub unavailable: AuditOverflow,
    /// The records that are also lines on standard error.
    pub lines: RecordLines,
    /// The rules for segments.
    pub rules: SegmentRules,
    /// The further places that get every checkpoint.
    pub checkpoint_to: Vec<CheckpointPlace>,
    /// The name of this instance in entries. None: that of the host.
    pub node: Option<String>,
    /// JSON pointers to arguments whose values entries show.
    pub arguments_clear: Vec<String>,
    /// JSON pointers to arguments of which entries show the type and the length.
    pub arguments_masked: Vec<String>,
}

/// The key that signs checkpoints of the audit log.
#[derive(Clone, Debug)]
pub enum AuditKey {
    /// A configured key.
    Signer(Arc<CheckpointSigner>),
    /// The key in the directory, which may not exist yet, with the configured origin.
    InDirectory {
        /// The name of the log.
        origin: Option<String>,
    },
}

/// The unusable parts of a configuration.
#[derive(Debug, Default)]
pub struct BrokenParts {
    /// Policies, with their faults.
    pub policies: BTreeMap<String, String>,
    /// Upstreams.
    pub upstreams: BTreeSet<String>,
    /// Upstreams with an unusable pipeline.
    pub pipelines: BTreeSet<String>,
    /// `[network]`.
    pub network: bool,
}

/// Traces of operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// The URL that takes traces, by OTLP over HTTP.
    pub traces_url: url::Url,
    /// The share of operations without a parent that are recorded, from 0 to 1.
    pub share: f64,
    /// The name of this service. None: that of the environment, or `witgate`.
    pub service_name: Option<String>,
    /// The time limit of a request to the collector. None: the default.
    pub timeout: Option<Duration>,
}

/// The path of the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSocket {
    /// The path.
    pub path: PathBuf,
    /// True if the path is configured. Then no other path is used.
    pub is_given: bool,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// The transport for clients.
    pub transport: Transport,
    /// The address of the MCP endpoint, for HTTP.
    pub listen: SocketAddr,
    /// TLS at this address. None: plain HTTP.
    pub tls: Option<TlsSettings>,
    /// True if proofs of possession need a nonce from this server.
    pub dpop_nonces: bool,
    /// Issuers in the RFC 9728 metadata. Empty: there is no metadata.
    pub authorization_servers: Vec<String>,
    /// Browser origins that may call.
    pub allowed_origins: Vec<String>,
    /// Host names (without port), or [`ANY_LABEL`](witgate_base::zone::ANY_LABEL) before one, that a request may name,
    /// besides loopback names and the listen address.
    pub allowed_hosts: Vec<String>,
    /// Proxies in front of `listen` whose statement of the client's address is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The form of that statement. None: there is none.
    pub forwarded: Option<Forwarded>,
    /// The address of health checks and metrics.
    pub admin_listen: Option<SocketAddr>,
    /// Extensions of MCP authorization that clients are told about.
    pub extensions: Vec<Extension>,
    /// True if clients are told which kinds of credentials are accepted.
    pub advertise_auth: bool,
    /// The control socket. None: no such socket (without a config file).
    pub control: Option<ControlSocket>,
    /// Time that running calls may take after a signal to stop.
    pub shutdown_grace: Duration,
    /// The file for a rollback. None: there is none (without a configuration file).
    pub state: Option<PathBuf>,
    /// Number of generations that are kept for a rollback, including the live one.
    pub keep_generations: usize,
    /// Maximum number of connections at `listen`, if the limit of open files permits it.
    pub max_connections: usize,
    /// Maximum number of connections from one address (IPv4) or network (/64 of IPv6). None: half of them.
    pub max_connections_per_peer: Option<usize>,
    /// Maximum number of bytes of large heads and bodies at the same time; one address or network may use half.
    pub request_memory: usize,
    /// Maximum number of bytes of large answers until they are read; one party may use half.
    pub answer_memory: usize,
    /// The largest message that a client may send, in bytes.
    pub max_request: usize,
    /// Behaviour while audit records cannot be written.
    pub audit_overflow: AuditOverflow,
    /// The time at which audit records are written.
    pub audit_write: AuditWrite,
}

impl Server {
    /// Maximum number of connections from one address or network.
    pub fn connections_of_one(&self) -> usize {
        self.max_connections_per_peer
            .unwrap_or(self.max_connections / 2)
            .clamp(1, self.max_connections.max(1))
    }
}

/// The form in which a proxy sends the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// In `X-Forwarded-For`.
    ForwardedFor,
    /// In `Forwarded` (RFC 7239).
    Forwarded,
    /// By the PROXY protocol, version 2, at the beginning of each connection.
    ProxyProtocol,
}

/// The records of the audit log that are also lines on standard error, as long as entries can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordLines {
    /// All.
    #[default]
    All,
    /// Those of calls that were not allowed, or that failed.
    Refusals,
    /// None.
    None,
}

/// The treatment of calls while the audit cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditOverflow {
    /// Calls continue, and lost records are counted.
    #[default]
    Count,
    /// They are denied.
    Deny,
}

/// The time at which audit records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditWrite {
    /// Several at once, as soon as a thread has nothing else to do. A process that is killed loses them.
    #[default]
    Batched,
    /// Each before its call is answered.
    BeforeAnswer,
}

/// `[network]`.
#[derive(Clone, Debug)]
pub struct Network {
    /// Authorities for servers' certificates, besides those of the system.
    pub cas: Vec<CertificateDer<'static>>,
    /// True if the CAs of the system are trusted.
    pub system_cas: bool,
    /// The proxy for `http` URLs, which may contain a password.
    pub http_proxy: Option<SecretString>,
    /// The proxy for `https` URLs.
    pub https_proxy: Option<SecretString>,
    /// Names, zones, addresses and networks without a proxy.
    pub no_proxy: Vec<String>,
    /// True if the proxy resolves names. Then their addresses are not checked here.
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

/// An extension of MCP authorization. The authorization servers implement it; a resource server only announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Programs get tokens as clients of their own.
    OauthClientCredentials,
    /// An enterprise's identity provider decides who may have tokens.
    EnterpriseManagedAuthorization,
}

impl Extension {
    /// The name in `capabilities.extensions`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OauthClientCredentials => "io.modelcontextprotocol/oauth-client-credentials",
            Self::EnterpriseManagedAuthorization => {
                "io.modelcontextprotocol/enterprise-managed-authorization"
            }
        }
    }
}

/// `[server.tls]`: the places of its files. The code for TLS reads them, also after changes.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate and its intermediate certificates, in PEM.
    pub certificate: PathBuf,
    /// The private key of the certificate, in PEM.
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
    /// No certificate is requested.
    #[default]
    Off,
    /// A client may present a certificate, which has to be valid.
    Optional,
    /// A client has to present a valid certificate.
    Required,
}

/// The transport for clients.
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
    /// The upstream's name.
    pub name: String,
    /// The HTTP path of the endpoint, which begins with `/`.
    pub path: String,
    /// The resource identifier: the audience of tokens and the RFC 9728 `resource`.
    pub resource: String,
    /// The description in the metadata.
    pub about: ResourceDescription,
    /// The target.
    pub target: UpstreamTarget,
    /// The lifetimes of the secrets in its headers or environment.
    pub lifetimes: Vec<secret_programs::SecretLifetime>,
    /// The names of optional headers or variables that are left out, because there is no such secret.
    pub absent: Vec<String>,
    /// The policies that decide about calls.
    pub pipeline: Pipeline,
    /// Maximum time until the first message of an answer.
    pub timeout: Duration,
    /// OAuth scopes that a first login should ask for.
    pub scopes: Vec<String>,
    /// The limits of sessions.
    pub sessions: SessionBounds,
    /// The form of denials that no login can resolve.
    pub denials: Denials,
    /// The identity that the upstream receives with each call.
    pub identity: IdentitySettings,
    /// The credentials towards the upstream.
    pub credentials: UpstreamCredentials,
    /// The supported eras. None: the upstream is asked.
    pub eras: Option<Eras>,
    /// The largest message of the server that is buffered completely, in bytes.
    pub max_message: usize,
    /// The own tools beside those of the server.
    pub own_tools: Vec<OwnTool>,
    /// The own resources beside those of the server.
    pub own_resources: Vec<OwnResource>,
    /// The tokens that the own tool `issue_token` makes.
    pub token_issue: Option<Arc<token_issue::TokenIssue>>,
    /// The comparison of its definitions with the approved ones. None: there is none.
    pub pins: Option<pins::Pins>,
}

/// The supported eras of an upstream, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eras {
    /// 2025-03-26 to 2025-11-25.
    pub stateful: bool,
    /// 2026-07-28.
    pub stateless: bool,
}

/// The descriptive members of a resource's RFC 9728 metadata (section 2). The document contains those that are not
/// none.
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
    /// The same, with members of `other` for the missing ones.
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

/// The limits of sessions. None: the default for the kind of upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionBounds {
    /// Of all callers.
    pub most: Option<usize>,
    /// Of one caller.
    pub most_of_one: Option<usize>,
}

/// The form of a denial that no login can resolve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denials {
    /// With status 403, and a JSON-RPC error in the body.
    #[default]
    Http,
    /// With status 200 and the same JSON-RPC error, for clients that cannot handle a 403.
    JsonRpc,
    /// For calls of tools, with the result of a failed tool in place of the error. Reached limits have this form, too.
    Result,
}

impl Upstream {
    /// A text of all settings that cannot change without a restart. Headers, environment, scopes and identity are left
    /// out, because a reload can change them.
    pub fn place(&self) -> String {
        let Self { path, resource, about, timeout, sessions, denials, eras, max_message, .. } = self;
        let Self { own_tools, own_resources, .. } = self;
        let (target, of_children) = (self.target.place(), self.credentials.of_children.place());
        format!(
            "{path} {resource} {about:?} {timeout:?} {sessions:?} {denials:?} {eras:?} {max_message} {target} \
             {own_tools:?} {own_resources:?} {of_children}"
        )
    }
}

impl UpstreamTarget {
    /// The headers or the environment, with their values.
    pub fn texts(&self) -> &[(String, SecretString)] {
        match self {
            Self::Command { env: texts, .. }
            | Self::Url { headers: texts, .. }
            | Self::Sse { headers: texts, .. } => texts,
            Self::OwnTools | Self::Embedded | Self::Broken => &[],
        }
    }

    /// A text of the server that gets the headers or the environment.
    pub fn place(&self) -> String {
        match self {
            Self::Command { argv, shared, .. } => format!("command {argv:?} {shared}"),
            Self::Url { url, .. } => format!("url {url}"),
            Self::Sse { url, .. } => format!("sse {url}"),
            other => format!("{other:?}"),
        }
    }
}

/// The target of an upstream.
#[derive(Debug)]
pub enum UpstreamTarget {
    /// A child process with MCP over its standard input and output.
    Command {
        /// Program and arguments. Never empty.
        argv: Vec<String>,
        /// Environment variables in addition to the inherited ones that a process needs (`PATH`, `HOME`, …).
        env: Vec<(String, SecretString)>,
        /// True if one child serves all callers.
        shared: bool,
    },
    /// A Streamable HTTP endpoint.
    Url {
        /// The endpoint.
        url: url::Url,
        /// Configured headers, such as the upstream's credential.
        headers: Vec<(String, SecretString)>,
    },
    /// The event stream of a server with HTTP+SSE, the transport of 2024-11-05.
    Sse {
        /// The stream.
        url: url::Url,
        /// Configured headers, such as the upstream's credential.
        headers: Vec<(String, SecretString)>,
    },
    /// Witgate's own small tools.
    OwnTools,
    /// A service of the program that embeds Witgate as a library.
    Embedded,
    /// The target is invalid.
    Broken,
}

/// `[pipeline]`, or an upstream's own.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Names of authenticators, in order.
    pub authenticate: Vec<String>,
    /// Names of authorizers, each of which has to allow. Empty: no call is allowed.
    pub authorize: Vec<String>,
    /// Roles of callers without a credential. None: such callers are refused.
    pub anonymous: Option<Vec<String>>,
    /// The tools that such callers see in lists, if a credential can be in their arguments.
    pub shown_to_anonymous: Vec<Pattern>,
}

/// `[policies.NAME]`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The policy's name.
    pub name: String,
    /// The kind of check.
    pub kind: PolicyKind,
    /// The component file. None: the built-in.
    pub component: Option<PathBuf>,
    /// The behaviour if the component cannot be loaded or cannot decide.
    pub fallback: Fallback,
    /// Enforced or shadow.
    pub mode: Mode,
    /// The argument of tools that contains the policy's credential. None: no argument does.
    pub argument: Option<ArgumentSettings>,
    /// The policy's settings, as JSON, with paths as configured.
    pub config: serde_json::Value,
    /// The required provenance of the component.
    pub provenance: Provenance,
    /// Cases that a candidate has to pass.
    pub cases: Option<PathBuf>,
    /// Limits of one call.
    pub limits: Limits,
    /// The state that instances keep between hooks.
    pub isolation: Isolation,
    /// The circuit breaker.
    pub breaker: BreakerLimits,
    /// The grants.
    pub grants: Grants,
}

impl Policy {
    /// The files that determine the code and its admission: the component, its signature, and its cases.
    pub fn written(&self) -> Vec<PathBuf> {
        let signature = self.component.as_ref().and_then(|component| self.provenance.signature_of(component));
        self.component.iter().chain(&signature).chain(&self.cases).cloned().collect()
    }

    /// True if its configuration has the same answers as `other`: the same check with the same settings.
    pub fn is_configured_as(&self, other: &Self) -> bool {
        let parts =
            |policy: &Self| (policy.kind, policy.mode, policy.component.clone(), policy.config.clone());
        parts(self) == parts(other) && self.argument == other.argument
    }
}

/// The kind of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// API keys.
    ApiKey,
    /// User names and passwords.
    Basic,
    /// JSON Web Tokens.
    Jwt,
    /// OAuth 2.0 token introspection.
    Introspection,
    /// Client certificates.
    ClientCertificate,
    /// Roles with patterns.
    Rbac,
    /// A custom component.
    Custom,
}

impl PolicyKind {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::Basic => "basic",
            Self::Jwt => "jwt",
            Self::Introspection => "oauth2-introspection",
            Self::ClientCertificate => "client-certificate",
            Self::Rbac => "rbac",
            Self::Custom => "custom",
        }
    }
}

/// The behaviour if the component is missing at the start, traps, or exceeds its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The call is denied.
    #[default]
    Deny,
    /// The built-in of the same kind decides, and Witgate logs that.
    Builtin,
}

/// The effect of a policy's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is enforced.
    #[default]
    Enforce,
    /// It is logged and not enforced.
    Shadow,
}

/// Limits of one call of a component, and of its policy's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum running time of a hook's own code.
    pub timeout: Duration,
    /// Maximum wall-clock time of a hook, including host calls and waiting for an instance. None: the default of
    /// [`Limits::wait`].
    pub wait: Option<Duration>,
    /// All linear memories of one instance, in bytes. None: the default of [`Limits::memory`].
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
    /// Wall-clock time of a hook in addition to its running time, because hooks wait on a busy machine, which is not
    /// the plugin's fault.
    const SLACK: Duration = Duration::from_millis(950);

    /// Additional wall-clock time if the hook may wait for the network: the longest wait of the fetcher.
    const NETWORK: Duration = Duration::from_secs(5);

    /// The default for all linear memories of one instance, in bytes.
    const MEMORY: usize = 16 << 20;

    /// Additional memory in bytes per byte of the settings, which every instance reads, such as a key store of several
    /// megabytes.
    const MEMORY_OF_SETTINGS: usize = 16;

    /// The largest configurable memory, in bytes.
    const MOST_MEMORY: usize = 1 << 30;

    /// All linear memories of one instance, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.unwrap_or(Self::MEMORY)
    }

    /// The same for a policy with settings of `size` bytes, including their files.
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
            // Twenty thousand times what a shipped check takes, and short enough to notice a looping plugin before its
            // caller gives up.
            timeout: Duration::from_millis(50),
            wait: None,
            // Enough for a store of 50,000 keys.
            memory: None,
            // An interpreter needs some ten thousand.
            table_elements: 100_000,
            // Sixteen times the largest identity that the WIT package permits.
            output: 1 << 20,
            // Nobody reads more lines of a check.
            log_lines: 32,
            // A check with a few headers, claims and keys makes a dozen calls.
            host_calls: 1000,
            // Discovery, keys and a question, each with a second attempt.
            http_requests: 6,
            // A guest of an interpreted language uses a dozen.
            handles: 1000,
            // Checks that do not wait take microseconds, so a few instances would be enough. Checks that wait for an
            // authorization server use one each.
            instances: 100,
            // A tenth of 100,000 introspected tokens, for the active callers.
            cache: 4 << 20,
        }
    }
}

/// The state that one hook leaves for the next one in the same instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Instances are reused this many times, with all state that the plugin keeps.
    Pooled {
        /// Hooks until the instance is replaced.
        recycle_after: u64,
    },
    /// No state: each hook has its own instance.
    PerCall,
}

impl Default for Isolation {
    /// Creating an instance takes as long as a few dozen hooks. Once in ten thousand costs nothing, and leaks stay
    /// small.
    fn default() -> Self {
        Self::Pooled { recycle_after: 10_000 }
    }
}

/// The grants of a policy, besides those that follow from its kind and settings.
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
    /// A JWK Set in a file, which is read again when it changes.
    JwksFile(PathBuf),
    /// A JWK Set as text, in a file of cases.
    Jwks(String),
    /// A JWK Set that cannot be fetched, in a file of cases.
    Unavailable,
    /// A JWK Set that is fetched, cached and refreshed.
    Remote {
        /// The place of the set.
        place: KeyPlace,
        /// Time for which the last valid key set is used beyond its lifetime if it cannot be fetched.
        max_stale: Duration,
    },
}

impl KeySource {
    /// The same without a secret's value.
    #[must_use]
    pub fn without_secret(&self) -> Self {
        match self {
            Self::Secret(_) => Self::Unavailable,
            other => other.clone(),
        }
    }
}

/// The default of `max_stale`, long enough for a repair of the server on the next day.
pub const MAX_STALE: Duration = Duration::from_secs(24 * 3600);

/// The place of a fetched JWK Set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyPlace {
    /// At this URL.
    Url(url::Url),
    /// The place in the metadata of this issuer, whose text is compared unchanged.
    Issuer(String),
}
