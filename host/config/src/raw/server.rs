//! `[server]`, and what belongs to it.

use std::net::SocketAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::secret::SecretSource;

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
