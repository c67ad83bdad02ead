//! `witgate.toml` in its written form: the types for serde and for `witgate config schema`. Only types and names are
//! checked here; [`super::resolve`] does the rest.

mod accounts;
mod credentials;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

pub use self::accounts::{Accounts, ClientRegistration};
pub use self::credentials::{
    ClientAuthForm, CredentialTable, GrantOwner, OptionalSecret, OptionalText, OutboundKind, ProviderPreset,
};
use crate::OwnTool;
use crate::limits::{CredentialKind, LimitPer};

/// The configuration of Witgate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "witgate.toml")]
pub struct File {
    /// The listeners and their limits.
    pub server: Server,
    /// Settings of outgoing connections: to upstreams, key sets and the servers that policies ask.
    pub network: Network,
    /// The protected servers, by name: one is served at `/mcp`, several at `/NAME/mcp`.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The policies, by name. A policy that no pipeline uses has no effect.
    pub policies: BTreeMap<String, Policy>,
    /// Keys that the host holds, by name. Policies use them by name and never see them.
    pub keys: BTreeMap<String, Key>,
    /// Credentials with which Witgate calls upstreams, by name. No policy sees them.
    pub credentials: BTreeMap<String, CredentialTable>,
    /// The pipeline of every upstream that has none of its own.
    pub pipeline: Option<Pipeline>,
    /// The key that signs identity tokens for upstreams. Default: nothing is signed.
    pub signing: Option<Signing>,
    /// People who log in at Witgate itself. Default: there are none.
    pub accounts: Option<Accounts>,
    /// Limits of calls, by name. Default: none.
    pub limits: BTreeMap<String, CallLimit>,
    /// Pauses after failed authentications. Default: none.
    pub lockout: Option<Lockout>,
    /// The audit log in a directory, which proves itself. Default: the audit is only written to standard error.
    pub audit: Option<Audit>,
    /// Traces of operations.
    pub telemetry: Telemetry,
    /// Settings of the sources of secrets.
    pub secrets: SecretSettings,
}

/// Settings of the sources of secrets.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Secrets")]
pub struct SecretSettings {
    /// Refuse files with secrets that other users may read. Default: false, they are warnings.
    pub strict_files: bool,
}

/// A limit of calls: how many in a time, and how many at the same time. At least one of `rate` and `concurrent`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CallLimit {
    /// Several limits at once, in place of all other settings: `chapter-6` admits 1000 calls a minute of a caller with an
    /// API key, 500 with a token, and 100 with another credential or none.
    pub preset: Option<LimitPreset>,
    /// Patterns of the limited calls. `method:NAME` stands for all messages of a method. Default: `*`, every call of
    /// tools, resources and prompts.
    pub on: Option<Vec<String>>,
    /// The properties of a call that have a bucket of their own for each value. Default: one bucket for all calls.
    pub per: Vec<LimitPer>,
    /// Calls in a time, such as `100/min`; the units are `s`, `min`, `h` and `day`.
    pub rate: Option<String>,
    /// Calls that may come at once. Default: the number in `rate`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// Calls that may run at the same time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrent: Option<u32>,
    /// Only for callers with one of these roles. Default: all callers.
    pub roles: Option<Vec<String>>,
    /// Only for callers with one of these kinds of credentials. Default: all kinds.
    pub kinds: Option<Vec<CredentialKind>>,
    /// Only for these upstreams. Default: all upstreams.
    pub upstreams: Option<Vec<String>>,
}

/// Limits that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitPreset {
    /// By the kind of credential: 1000, 500 and 100 calls a minute.
    #[serde(rename = "chapter-6")]
    Chapter6,
}

/// Pauses after failed authentications, for each address and each credential.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Lockout {
    /// Failures without a pause. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failures: Option<u32>,
    /// Seconds of the first pause; each further failure doubles it. Default: 5.
    #[schemars(range(min = 1, max = 86_400))]
    pub pause_s: Option<u64>,
    /// Seconds of the longest pause. Default: 900.
    #[schemars(range(min = 1, max = 604_800))]
    pub max_pause_s: Option<u64>,
    /// Seconds without a failure after which all failures are forgotten. Default: 900.
    #[schemars(range(min = 1, max = 604_800))]
    pub forget_s: Option<u64>,
}

/// Traces of operations (OpenTelemetry). The `OTEL_*` variables apply to settings that are left out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The URL of a collector for OTLP over HTTP, such as `http://127.0.0.1:4318`. Default: no traces.
    pub otlp_endpoint: Option<String>,
    /// The share of operations without a parent that are recorded, from 0 to 1. Default: 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample: Option<f64>,
    /// The name of this service in traces. Default: `witgate`.
    pub service_name: Option<String>,
}

/// The key that signs identity tokens for upstreams. Its public key is served at `/.well-known/jwks.json`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signing {
    /// The private key: P-256, in PEM (PKCS #8), in a file that nobody else may read.
    pub key: Option<SecretSource>,
    /// Paths of further public keys in PEM, for rotation: the former one, as long as its tokens are valid, or the next
    /// one, before it signs.
    pub published: Vec<String>,
    /// `iss` of the tokens. Default: the origin of `server.resource`.
    pub issuer: Option<String>,
}

/// The audit log in a directory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// The directory. It belongs to one process, and is made if it does not exist.
    pub directory: Option<String>,
    /// The private key that signs checkpoints: Ed25519, in PEM (PKCS #8), in a file that nobody else may read. Default:
    /// `private-key.pem` in the directory, which is made if it does not exist.
    pub key: Option<SecretSource>,
    /// The name of the log in checkpoints, such as `example.com/witgate`. Default: made from the key.
    #[schemars(length(min = 1, max = 128))]
    pub origin: Option<String>,
    /// The time at which entries are on the disk: `batched` (the default) or `before-answer`.
    pub sync: Option<AuditSync>,
    /// Behaviour while entries cannot be written: `deny` (the default) or `count`.
    pub unavailable: Option<AuditUnavailable>,
    /// The records that are also lines on standard error: `all` (the default), `refusals` or `none`.
    pub lines: Option<AuditLines>,
    /// Size in MiB after which a new segment begins. Default: 64.
    #[schemars(range(min = 1, max = 4096))]
    pub rotate_size_mib: Option<u64>,
    /// Age in hours after which a new segment begins. Default: 24.
    #[schemars(range(min = 1, max = 8760))]
    pub rotate_age_h: Option<u64>,
    /// Days after which a complete segment is removed. Default: none is removed.
    #[schemars(range(min = 1, max = 36_500))]
    pub keep_days: Option<u64>,
    /// Compress complete segments. Default: true.
    pub compress: Option<bool>,
    /// A further place that gets checkpoints, or several: files on another disk, or to which Witgate can only append,
    /// `log`, `otlp`, and witnesses.
    pub checkpoint_to: Option<CheckpointPlaces>,
    /// The name of this instance in entries. Default: the name of the host.
    #[schemars(length(min = 1, max = 128))]
    pub node: Option<String>,
    /// JSON pointers to arguments of calls whose values entries show, such as `/path`.
    pub arguments_clear: Vec<String>,
    /// JSON pointers to arguments of which entries show the type and the length only.
    pub arguments_masked: Vec<String>,
}

/// The time at which entries of the audit log are on the disk.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditSync {
    /// Some milliseconds after the answer.
    Batched,
    /// Before the answer.
    BeforeAnswer,
}

/// The records of the audit log that are also lines on standard error.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditLines {
    /// All records.
    All,
    /// Those of calls that were not allowed, or that failed.
    Refusals,
    /// None, as long as entries can be written.
    None,
}

/// The places of checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CheckpointPlaces {
    /// Several places. First, because a list of two texts would also be read as the members of a witness.
    Several(Vec<CheckpointTarget>),
    /// One place.
    One(CheckpointTarget),
}

/// A place of checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CheckpointTarget {
    /// A file, `log`, or `otlp`.
    Named(String),
    /// A witness.
    Witness(CheckpointWitness),
}

/// A witness that cosigns checkpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointWitness {
    /// The submission prefix of its URLs.
    pub witness: String,
    /// Its public key.
    pub key: String,
}

impl CheckpointPlaces {
    /// The name of the place that is the log.
    pub const LOG: &str = "log";

    /// The name of the place that is the collector of `[telemetry]`.
    pub const OTLP: &str = "otlp";

    /// The places.
    pub fn all(&self) -> &[CheckpointTarget] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Several(places) => places,
        }
    }

    /// The places that are files.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        self.all().iter().filter_map(|place| match place {
            CheckpointTarget::Named(name) if name != Self::LOG && name != Self::OTLP => Some(name),
            CheckpointTarget::Named(_) | CheckpointTarget::Witness(_) => None,
        })
    }

    /// The public keys of the witnesses.
    pub fn witness_keys(&self) -> impl Iterator<Item = &String> {
        self.all().iter().filter_map(|place| match place {
            CheckpointTarget::Witness(witness) => Some(&witness.key),
            CheckpointTarget::Named(_) => None,
        })
    }
}

/// Behaviour while entries of the audit log cannot be written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditUnavailable {
    /// Calls are denied with `audit-unavailable`.
    Deny,
    /// Calls go on, and lost entries are counted.
    Count,
}

/// The listeners and their limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// `http` (the default) or `stdio`.
    pub transport: Option<Transport>,
    /// A file with environment variables, such as `.env`. Variables that are set precede it.
    pub env_file: Option<String>,
    /// The address of the MCP endpoint. Default: `127.0.0.1:8787`.
    pub listen: Option<Address>,
    /// TLS at `listen`. Default: plain HTTP, for a proxy in front that terminates TLS.
    pub tls: Option<Tls>,
    /// Proofs of possession (DPoP, RFC 9449), if a policy requires them.
    pub dpop: DpopSettings,
    /// The public URL of the endpoint: the audience of tokens, and the `resource` of the RFC 9728
    /// metadata. Default: made from `listen`.
    pub resource: Option<String>,
    /// RFC 9728: a name of the endpoint for people, in the metadata.
    #[schemars(length(min = 1, max = 200))]
    pub resource_name: Option<String>,
    /// RFC 9728: the https URL of a page that describes how to use the endpoint.
    pub resource_documentation: Option<String>,
    /// RFC 9728: the https URL of a page that describes how the data may be used.
    pub resource_policy_uri: Option<String>,
    /// RFC 9728: an https URL of the terms of service.
    pub resource_tos_uri: Option<String>,
    /// Issuers that the RFC 9728 metadata names. Without any there is no metadata.
    pub authorization_servers: Vec<String>,
    /// Extensions of MCP authorization that the authorization servers support; Witgate announces them to clients.
    pub extensions: Vec<Extension>,
    /// Tell clients in the handshake whether a credential is required, and which kinds are accepted
    /// (`capabilities.experimental.authentication`). Default: false.
    pub advertise_auth: Option<bool>,
    /// OAuth scopes that a client requests at its first login; a 401 names them. Default: none, and clients request
    /// the scopes that the metadata lists.
    pub scopes: Vec<String>,
    /// Browser origins that may call, such as `https://app.example.com`.
    pub allowed_origins: Vec<String>,
    /// Further host names, without port, that `Host` may have, besides loopback names, the listen address and the
    /// hosts of the resources. `*.example.com` stands for exactly one label.
    pub allowed_hosts: Vec<String>,
    /// Addresses and networks, such as `10.0.0.0/8`, of proxies in front of `listen` whose statement of the client's
    /// address is trusted.
    pub trusted_proxies: Vec<String>,
    /// The form of that statement: `x-forwarded-for`, `forwarded` (RFC 7239) or `proxy-protocol` (version 2).
    pub forwarded: Option<Forwarded>,
    /// Addresses and networks that may not connect. Behind trusted proxies, this is about the clients that they name.
    pub deny_peers: Vec<String>,
    /// The address of `/healthz`, `/readyz` and `/metrics`. Default: they are not served.
    pub admin_listen: Option<Address>,
    /// The Unix socket (0600) of `witgate plugin list` and the like. Default: `witgate.sock`
    /// beside this file.
    pub control: Option<String>,
    /// A directory for data that survives a restart: the rollback in force, and the components of earlier generations.
    /// Default: `witgate.state` beside this file.
    pub state: Option<String>,
    /// Number of generations that `witgate plugin rollback` can return to, the live one included. Default: 5.
    #[schemars(range(min = 1, max = 100))]
    pub keep_generations: Option<u64>,
    /// Connections at `listen`. Default: 10000, or as many as the limit of open files leaves room for.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: Option<u64>,
    /// Connections of one IPv4 address, or of one /64 of IPv6. Behind a proxy, all have the proxy's. Default: half of
    /// `max_connections`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections_per_peer: Option<u64>,
    /// Memory in MiB for all large request heads and bodies together, of which one address may use half. The first 8 KiB
    /// of a request do not count. Default: 64.
    #[schemars(range(min = 8, max = 65_536))]
    pub request_memory_mib: Option<u64>,
    /// Memory in MiB for all unread large answers together, of which one caller may use half. The first 8 KiB of an
    /// answer do not count. Default: 256.
    #[schemars(range(min = 32, max = 65_536))]
    pub answer_memory_mib: Option<u64>,
    /// Size in MiB of the largest message that a client may send. Default: 4.
    #[schemars(range(min = 1, max = 1024))]
    pub max_request_mib: Option<u64>,
    /// Seconds that running calls may go on after a signal to stop. Default: 8.
    #[schemars(range(max = 3600))]
    pub shutdown_grace_s: Option<u64>,
    /// Behaviour while audit records cannot be written: `count` (the default) or `deny`.
    pub audit_overflow: Option<AuditOverflow>,
    /// The time at which audit records are written: `batched` (the default) or `before-answer`.
    pub audit_write: Option<AuditWrite>,
}

/// The header with the client's address.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// In the header `X-Forwarded-For`.
    XForwardedFor,
    /// In the header `Forwarded`.
    Forwarded,
    /// At the beginning of each connection.
    ProxyProtocol,
}

/// Behaviour while audit records cannot be written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOverflow {
    /// Calls go on, and lost records are counted.
    Count,
    /// Calls are denied with `audit-unavailable`.
    Deny,
}

/// The time at which audit records are written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditWrite {
    /// Several at once, as soon as a thread has nothing else to do.
    Batched,
    /// Each before its call is answered.
    BeforeAnswer,
}

/// TLS for the connections of clients. The files are read again when they change, for new connections.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Path of the certificate in PEM, followed by the intermediate certificates.
    pub certificate: Option<String>,
    /// Its private key in PEM.
    pub key: Option<SecretSource>,
    /// Path of the CAs, in PEM, that issue the certificates of clients.
    pub client_ca: Option<String>,
    /// `off`, `optional` or `required`. Default: `required` with a `client_ca`, else `off`.
    pub client_certificates: Option<ClientCertificates>,
}

/// The demand for client certificates.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// Witgate requests no certificate.
    Off,
    /// A client may present a certificate; it has to be valid.
    Optional,
    /// A client has to present a valid certificate.
    Required,
}

/// Settings of outgoing connections. A change applies to new connections.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Path of further CAs to trust, in PEM, such as those of your own network.
    pub ca_file: Option<String>,
    /// Trust the CAs of the system. Default: true.
    pub system_cas: Option<bool>,
    /// The URL of a proxy, or `environment` for `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. Default: none.
    pub proxy: Option<Text>,
    /// Destinations that are connected without the proxy: names (including all names below them), addresses and
    /// networks.
    pub no_proxy: Vec<String>,
    /// Let the proxy resolve names. Default: false.
    pub proxy_resolves: Option<bool>,
}

/// Proofs of possession.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Dpop")]
pub struct DpopSettings {
    /// Require each proof to contain a nonce that Witgate has issued in the last minutes.
    pub nonces: bool,
}

/// An extension of MCP authorization.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Extension {
    /// `io.modelcontextprotocol/oauth-client-credentials`.
    OauthClientCredentials,
    /// `io.modelcontextprotocol/enterprise-managed-authorization`.
    EnterpriseManagedAuthorization,
}

/// The transport for clients.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Streamable HTTP.
    Http,
    /// Standard input and output.
    Stdio,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct Address(pub SocketAddr);

impl JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An IP address and a port, such as `127.0.0.1:8787` or `[::1]:8787`.",
            "type": "string",
            "format": "socket-address",
        })
    }
}

/// An MCP server that Witgate protects: exactly one of `command`, `url`, `own_tools = true` and `embedded`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// Program and arguments of a child process that speaks MCP over its standard input and output.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
    /// The URL of the server's endpoint, for Streamable HTTP or the given `transport`.
    pub url: Option<String>,
    /// The transport at the URL: `streamable-http` (the default), or `sse` for HTTP+SSE of 2024-11-05.
    pub transport: Option<UpstreamTransport>,
    /// `true`: Witgate's own small tools, in place of a server. Or a list of own tools beside those of the server.
    pub own_tools: Option<OwnToolChoice>,
    /// `true`: a service of the program that embeds Witgate as a library.
    pub embedded: Option<bool>,
    /// The path of its endpoint, in place of `/mcp` or `/NAME/mcp`.
    pub path: Option<String>,
    /// Its resource identifier, which tokens need as their audience. Default: made from `server.resource` and the
    /// path.
    pub resource: Option<String>,
    /// RFC 9728: a name of it for people, in the metadata. Default: that of `[server]`.
    #[schemars(length(min = 1, max = 200))]
    pub resource_name: Option<String>,
    /// RFC 9728: the https URL of a page that describes how to use it. Default: that of `[server]`.
    pub resource_documentation: Option<String>,
    /// RFC 9728: the https URL of a page that describes how the data may be used. Default: that of `[server]`.
    pub resource_policy_uri: Option<String>,
    /// RFC 9728: an https URL of the terms of service. Default: that of `[server]`.
    pub resource_tos_uri: Option<String>,
    /// OAuth scopes that a client requests at its first login. Default: `server.scopes`.
    pub scopes: Option<Vec<String>>,
    /// One child process for all callers. Default: one per session or principal.
    pub shared: Option<bool>,
    /// Environment variables of the child process. Credentials come from `{ env = "NAME" }` or
    /// `{ file = "PATH" }`, with a `prefix` if they need one.
    pub env: BTreeMap<String, UpstreamText>,
    /// Headers that Witgate sends to the URL. Credentials come from `{ env = "NAME" }` or
    /// `{ file = "PATH" }`, with a `prefix` such as `"Bearer "` if they need one.
    pub headers: BTreeMap<String, UpstreamText>,
    /// With a URL: the name under `[credentials]` of the credential in requests to the server.
    pub credential: Option<String>,
    /// For tools, by name: the credentials that a call needs, by their names under `[credentials]`. As long as one is
    /// missing, the call is denied.
    pub needs: BTreeMap<String, Vec<String>>,
    /// Seconds for the server to begin its answer to a request. Default: 60.
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_s: Option<u64>,
    /// Size in MiB of the largest message of the server that Witgate buffers completely. Default: 16.
    #[schemars(range(min = 1, max = 256))]
    pub max_message_mib: Option<u64>,
    /// Number of open sessions. Default: 64 with a command, 4096 with a shared one, 10000 with a URL.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_sessions: Option<u64>,
    /// Number of open sessions of one caller. Default: 16 with a command, 256 with a shared one, 1000 with a URL.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_sessions_per_caller: Option<u64>,
    /// The form of a denial that no login can resolve: `http` (the default), over HTTP with status 403; `json-rpc`, with
    /// status 200 and the same JSON-RPC error, for clients that cannot handle a 403; or `result`, for calls of tools the
    /// result of a failed tool.
    pub denials: Option<Denials>,
    /// The eras that it supports: `stateful` (2025-11-25 and before), `stateless` (2026-07-28), or both. Default:
    /// Witgate asks the server, a command in a separate process, which takes as long as a start.
    #[schemars(length(min = 1))]
    pub eras: Option<Vec<Era>>,
    /// The pipeline of this upstream, in place of `[pipeline]`.
    pub pipeline: Option<Pipeline>,
    /// The identity that the upstream receives with each call. Default: nothing.
    pub identity: Option<IdentitySettings>,
}

/// The identity that an upstream receives with each call.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Identity")]
pub struct IdentitySettings {
    /// With a URL: the names of the headers that carry it.
    pub headers: Option<IdentityNames>,
    /// With a command: the names of the environment variables that carry it.
    pub env: Option<IdentityNames>,
    /// With a URL: a JSON Web Token, signed by the key of `[signing]`.
    pub token: Option<IdentityToken>,
}

/// The names of the headers or variables that carry an identity. A field without a name is not sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityNames {
    /// `known`, `anonymous`, or `witgate` for requests of Witgate itself.
    pub kind: Option<String>,
    /// Policy, issuer and subject as one text.
    pub principal: Option<String>,
    /// The subject, unique within its policy and issuer.
    pub subject: Option<String>,
    /// The issuer of the subject.
    pub issuer: Option<String>,
    /// The policy that has authenticated the caller.
    pub policy: Option<String>,
    /// Roles.
    pub roles: Option<String>,
    /// OAuth scopes.
    pub scopes: Option<String>,
    /// The id of the decision, which is also in the audit record.
    pub decision: Option<String>,
}

/// A token of Witgate with the caller's identity.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityToken {
    /// The header of the token; in `Authorization` it is a bearer token. Default: `X-Witgate-Identity`.
    pub header: Option<String>,
    /// The audience (`aud`). Default: the `url`.
    pub audience: Option<String>,
    /// Lifetime of the token in seconds. Default: 60.
    #[schemars(range(min = 5, max = 600))]
    pub lifetime_s: Option<u64>,
    /// The content of `sub`: `subject` (the default) or `principal`.
    pub sub: Option<TokenSubject>,
    /// Other claims, besides `kind`, `policy` and `issuer`: `roles`, `scopes`, `decision`.
    pub claims: Vec<TokenClaim>,
}

/// The content of a token's `sub`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenSubject {
    /// The subject.
    Subject,
    /// Policy, issuer and subject as one text.
    Principal,
}

/// An optional claim of a token.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenClaim {
    /// Roles.
    Roles,
    /// OAuth scopes, in `scope`.
    Scopes,
    /// The id of the decision.
    Decision,
}

/// An era of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Era {
    /// 2025-03-26 to 2025-11-25.
    Stateful,
    /// 2026-07-28.
    Stateless,
}

/// The transport of an upstream over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamTransport {
    /// Streamable HTTP, of 2025-03-26 and later.
    StreamableHttp,
    /// HTTP+SSE, of 2024-11-05.
    Sse,
}

/// The choice of own tools.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OwnToolChoice {
    /// The tools in place of a server.
    InPlace(bool),
    /// Single tools beside those of a server.
    Beside(#[schemars(length(min = 1))] Vec<OwnTool>),
}

/// The form of denials over HTTP.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Denials {
    /// By the HTTP status.
    Http,
    /// In the JSON-RPC message only, with status 200.
    JsonRpc,
    /// As the result of a failed tool.
    Result,
}

/// A text that may be a secret.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Text {
    /// The text itself, if it is not secret.
    Plain(String),
    /// The source of a secret.
    Secret(SecretSource),
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(****)"),
            Self::Secret(source) => source.fmt(f),
        }
    }
}

/// A text for an upstream, which may be a secret.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum UpstreamText {
    /// The text itself, if it is not secret.
    Plain(String),
    /// The source of a secret.
    Secret(Box<UpstreamSecret>),
}

impl std::fmt::Debug for UpstreamText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(****)"),
            Self::Secret(source) => source.fmt(f),
        }
    }
}

/// A text that an upstream gets: exactly one of `env`, `file`, `credential`, `exec` and `basic`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("format" = "witgate-secret"))]
pub struct UpstreamSecret {
    /// Name of an environment variable.
    pub env: Option<String>,
    /// Path of a file. Line ends at its end do not belong to the text.
    pub file: Option<String>,
    /// Name of a credential of systemd, in `$CREDENTIALS_DIRECTORY`.
    pub credential: Option<String>,
    /// Program and arguments, without a shell, that print the secret.
    #[schemars(length(min = 1))]
    pub exec: Option<Vec<String>>,
    /// With `exec`: the lifetime of the secret in seconds. Default: 300.
    #[schemars(range(min = 5, max = 2_592_000))]
    pub ttl_s: Option<u64>,
    /// With `exec`: names of further environment variables that the program gets.
    pub exec_env: Vec<String>,
    /// A user and a password, which become a value of HTTP Basic (RFC 7617).
    pub basic: Option<BasicLogin>,
    /// The text before the credential, such as `"Bearer "`.
    pub prefix: Option<String>,
    /// Leave the header or the variable out if there is no such secret. Default: false, it is an error.
    pub optional: bool,
}

impl UpstreamSecret {
    /// The source alone.
    pub(crate) fn source(&self) -> SecretSource {
        let Self { env, file, credential, exec, ttl_s, exec_env, .. } = self.clone();
        SecretSource { env, file, credential, exec, ttl_s, exec_env }
    }
}

/// A user and a password of HTTP Basic.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicLogin {
    /// The name of the user.
    pub user: Text,
    /// The password.
    pub password: SecretSource,
}

/// The source of a secret: exactly one of `env`, `file`, `credential` and `exec`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("format" = "witgate-secret"))]
pub struct SecretSource {
    /// Name of an environment variable.
    pub env: Option<String>,
    /// Path of a file. Line ends at its end do not belong to the secret.
    pub file: Option<String>,
    /// Name of a credential of systemd, in `$CREDENTIALS_DIRECTORY`.
    pub credential: Option<String>,
    /// Program and arguments, without a shell, that print the secret.
    #[schemars(length(min = 1))]
    pub exec: Option<Vec<String>>,
    /// With `exec`: the lifetime of the secret in seconds. Default: 300.
    #[schemars(range(min = 5, max = 2_592_000))]
    pub ttl_s: Option<u64>,
    /// With `exec`: names of further environment variables that the program gets.
    pub exec_env: Vec<String>,
}

/// A policy: an authenticator, an authorizer, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The kind of check.
    pub kind: Kind,
    /// The component file. Absent: the built-in.
    pub component: Option<String>,
    /// Behaviour when the component is missing at the start, traps or exceeds its limits: `deny` (the default), or
    /// `builtin`, for the shipped components only.
    pub fallback: Option<Fallback>,
    /// `enforce` (the default), or `shadow`: its result is logged and not enforced.
    pub mode: Option<Mode>,
    /// An argument of tools that contains the policy's credential: its name, or a table. It is taken out of every call.
    pub argument: Option<Argument>,
    /// The policy's own settings; `witgate plugin inspect` prints their schema.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Pins the component file: `sha256:` and 64 hexadecimal digits.
    #[schemars(regex(pattern = "^sha256:[0-9a-fA-F]{64}$"))]
    pub digest: Option<String>,
    /// Minisign public keys, one of which has to have signed the component: the line of `minisign.pub` that begins
    /// with `RW`. The signature stands beside the component, as `minisign -S` writes it (`PATH.minisig`).
    #[serde(default)]
    pub signed_by: Vec<String>,
    /// A file of cases, relative to this one, that the policy has to pass before it goes live.
    pub cases: Option<String>,
    /// Limits of one call of the component.
    #[serde(default)]
    pub limits: Limits,
    /// Grants beyond those that follow from the settings.
    #[serde(default)]
    pub grants: Grants,
    /// `pooled` (the default): instances are reused; or `per-call`: each hook gets a new instance.
    pub isolation: Option<Isolation>,
    /// Hooks until a pooled instance is replaced. Default: 10,000.
    #[schemars(range(min = 1))]
    pub recycle_after: Option<u64>,
    /// The circuit breaker of a failing component.
    #[serde(default)]
    pub breaker: Breaker,
}

/// An argument of tools that contains a credential.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Argument {
    /// Its name, for all tools.
    Name(String),
    /// Its name and the tools that have it.
    Settings(ArgumentSettings),
}

/// An argument of tools that contains a credential.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArgumentSettings {
    /// The name of a top-level member of `params.arguments`.
    pub name: String,
    /// Patterns of the tools that have it. Default: `*`, all tools.
    pub on: Option<Vec<String>>,
    /// The argument in the input schemas that callers see: `auto` (the default), `show`, `hide` or `keep`.
    pub schema: Option<ArgumentSchema>,
}

/// The argument in the input schemas of tools.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArgumentSchema {
    /// Callers without a credential see it, and others do not.
    Auto,
    /// All callers see it.
    Show,
    /// No caller sees it.
    Hide,
    /// The schema is that of the server.
    Keep,
}

/// The kind of a policy.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// API keys from a store that `witgate key` writes.
    ApiKey,
    /// User names and passwords, with a store that `witgate user` writes.
    Basic,
    /// JSON Web Tokens.
    Jwt,
    /// OAuth 2.0 token introspection (RFC 7662).
    #[serde(rename = "oauth2-introspection")]
    Introspection,
    /// Client certificates of mutual TLS.
    ClientCertificate,
    /// People who log in at Witgate itself: a `jwt` policy for the tokens of `[accounts]`.
    Accounts,
    /// Roles with patterns.
    Rbac,
    /// A component of your own.
    Custom,
}

/// The behaviour when a component cannot decide.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The call is denied.
    Deny,
    /// The built-in of the same kind decides, and Witgate logs that.
    Builtin,
}

/// The effect of a policy's result.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It is enforced.
    Enforce,
    /// It is logged and not enforced.
    Shadow,
}

/// Limits of one call of a component. A call that exceeds one is denied with its own reason, and the
/// instance is discarded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Milliseconds that a hook's own code may run. Default: 50.
    #[schemars(range(min = 1, max = 60_000))]
    pub timeout_ms: Option<u64>,
    /// Wall-clock time of a hook in milliseconds, waiting included. Default: 950 more than
    /// `timeout_ms`, and 5,000 more still where it has keys or `http`.
    #[schemars(range(min = 1, max = 600_000))]
    pub wait_ms: Option<u64>,
    /// Size in MiB of all linear memories of one instance. Default: 16.
    #[schemars(range(min = 1, max = 1024))]
    pub memory_mib: Option<u64>,
    /// Elements of all tables of one instance. Default: 100,000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub table_elements: Option<u64>,
    /// Maximum size of a hook's answer, and of the arguments of one import, in KiB. Default: 1,024.
    #[schemars(range(min = 1, max = 131_072))]
    pub output_kib: Option<u64>,
    /// Lines that one hook may log. Default: 32.
    #[schemars(range(max = 10_000))]
    pub log_lines: Option<u32>,
    /// Imports of `witgate:auth` that one hook may call. Default: 1,000.
    #[schemars(range(max = 10_000_000))]
    pub host_calls: Option<u32>,
    /// HTTP requests that one hook may send. Default: 6.
    #[schemars(range(max = 1000))]
    pub http_requests: Option<u32>,
    /// Resources of the host, such as streams, that one instance may hold. Default: 1,000.
    #[schemars(range(max = 1_000_000))]
    pub handles: Option<u64>,
    /// Instances that run at the same time; further calls wait. Default: 100.
    #[schemars(range(min = 1, max = 1000))]
    pub instances: Option<u64>,
    /// Size in KiB of all keys and values in the policy's cache; the least recently used entries are evicted. Default:
    /// 4,096.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub cache_kib: Option<u64>,
}

/// The state that one hook leaves for the next one in the same instance.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Instances are reused, with all state that the plugin keeps.
    Pooled,
    /// Nothing: each hook has an instance of its own.
    PerCall,
}

/// The circuit breaker: when calls to a failing component are paused, and for how long.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures without a success in between. Default: 10.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub failures: Option<u32>,
    /// Milliseconds until a call tries the component again; each failure then doubles it, up to 30 s.
    /// Default: 1,000.
    #[schemars(range(min = 1, max = 30_000))]
    pub pause_ms: Option<u64>,
}

/// Grants beyond those that follow from the settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Origins, such as `https://idp.example.com`, for the `http` import.
    pub http: Vec<String>,
    /// Names under `[keys]` for the `crypto` import.
    pub keys: Vec<String>,
    /// Names under `[keys]` whose raw value the `secrets` import reveals to the component.
    pub secrets: Vec<String>,
    /// The `cache` import.
    pub cache: bool,
    /// The `crypto` import without any key: digests and comparisons.
    pub crypto: bool,
}

/// A key that the host holds: exactly one of `secret`, `pem`, `jwks_file`, `jwks_url` and `issuer`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("format" = "witgate-key"))]
pub struct Key {
    /// A shared secret for HMAC, or any other secret.
    pub secret: Option<SecretSource>,
    /// A public key, certificate or private key in PEM. A public one may be written as text.
    pub pem: Option<Text>,
    /// Path of a JWK Set, read again when it changes.
    pub jwks_file: Option<String>,
    /// URL of a JWK Set; fetched, cached and refreshed.
    pub jwks_url: Option<String>,
    /// An issuer; its metadata has the URL of its JWK Set (RFC 8414, OpenID Connect Discovery).
    pub issuer: Option<String>,
    /// With `jwks_url` and `issuer`: seconds for which the last good set is used beyond its lifetime if it cannot be
    /// fetched. Default: 86400. At most 2592000.
    #[schemars(range(max = 2_592_000))]
    pub max_stale_s: Option<u32>,
}

/// The policies that decide.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pipeline {
    /// Authenticators, asked in this order until one recognises the credential.
    pub authenticate: Option<Vec<String>>,
    /// Authorizers; each one has to allow the call or abstain, and at least one has to allow it.
    pub authorize: Option<Vec<String>>,
    /// The identity of callers without a credential. Absent: such a caller is refused.
    pub anonymous: Option<Anonymous>,
}

/// The identity of callers without a credential.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Anonymous {
    /// Roles that such a caller has.
    pub roles: Vec<String>,
    /// Patterns of tools that such a caller sees in lists, because a credential can be in their `argument`. A call still
    /// needs it. Default: none.
    pub lists: Vec<String>,
}

/// The JSON Schema of `witgate.toml`.
pub fn schema() -> &'static serde_json::Value {
    static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(File).to_value();
        without_null(&mut schema);
        schema
    });
    &SCHEMA
}

/// TOML has no null: an optional setting is simply not required.
pub fn without_null(schema: &mut serde_json::Value) {
    use serde_json::Value;
    match schema {
        Value::Object(members) => {
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            unwrap_optional(members);
            members.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// `anyOf: [X, null]` → `X`.
fn unwrap_optional(members: &mut serde_json::Map<String, serde_json::Value>) {
    let Some(serde_json::Value::Array(choices)) = members.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    if let [serde_json::Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        members.remove("anyOf");
        members.extend(only);
    }
}
