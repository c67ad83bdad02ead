//! `[upstreams.NAME]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::child_credentials::ApiTable;
use super::issued_tokens::IssuedTokens;
use super::pins::PinSetting;
use super::policy::Pipeline;
use super::secret::UpstreamText;
use super::server::Denials;
use crate::{OwnResource, OwnTool};

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
    /// Own resources beside those of the server: `user://profile` and `security://summary`.
    pub own_resources: Vec<OwnResource>,
    /// The tokens that the own tool `issue_token` makes.
    pub issue_token: Option<IssuedTokens>,
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
    /// With a command: APIs that the process calls through Witgate, which adds their credentials, by the environment
    /// variables with their addresses.
    pub apis: BTreeMap<String, ApiTable>,
    /// With a command: credentials whose current tokens are in files, by the environment variables with the paths of the
    /// files.
    pub token_files: BTreeMap<String, String>,
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
    /// The consequence if the definition of a tool, prompt or resource is not the one in `witgate.lock`: `off` (the
    /// default), `warn`, or `hold`, with which it is neither listed nor callable.
    pub pins: Option<PinSetting>,
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
