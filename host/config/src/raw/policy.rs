//! `[policies.NAME]`, and the pipelines of policies.

use schemars::JsonSchema;
use serde::Deserialize;

use super::secret::SecretSource;

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
    Settings(Box<ArgumentSettings>),
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
    /// The server's own value of the argument, which it gets in place of the caller's.
    pub inject: Option<SecretSource>,
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
