//! `witgate.toml` in its written form: the types for serde and for `witgate config schema`. Only types and names are
//! checked here; [`super::resolve`] does the rest.

mod account_login;
mod accounts;
mod audit;
mod child_credentials;
mod credentials;
mod endpoint;
mod issued_tokens;
mod limits;
mod lint;
mod passwords;
mod pins;
mod policy;
mod reload;
mod schema;
mod secret;
mod server;
mod upstream;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::account_login::AccountLogin;
pub use self::accounts::{Accounts, ClientRegistration, SecondFactor};
pub use self::audit::{
    Audit, AuditLines, AuditSync, AuditUnavailable, CheckpointPlaces, CheckpointTarget, CheckpointWitness,
};
pub use self::child_credentials::ApiTable;
pub use self::credentials::{
    ClientAuthForm, CredentialTable, GrantOwner, OptionalSecret, OptionalText, OutboundKind, ProviderPreset,
    TokenStore,
};
pub use self::endpoint::EndpointTable;
pub use self::issued_tokens::IssuedTokens;
pub use self::limits::{CallLimit, LimitPreset, Lockout};
pub use self::lint::Lint;
pub use self::passwords::Passwords;
pub use self::pins::PinSetting;
pub use self::policy::{
    Anonymous, Argument, ArgumentSchema, ArgumentSettings, Breaker, Fallback, Grants, Isolation, Kind,
    Limits, Mode, Pipeline, Policy,
};
pub use self::reload::Reload;
pub use self::schema::{schema, without_null};
pub use self::secret::{
    BasicLogin, Key, SecretSettings, SecretSource, StoreIdentity, Text, UpstreamSecret, UpstreamText,
};
pub use self::server::{
    Address, AuditOverflow, AuditWrite, ClientCertificates, Denials, DpopSettings, Extension, Forwarded,
    Server, Tls, Transport,
};
pub use self::upstream::{
    Era, IdentityNames, IdentitySettings, IdentityToken, OwnToolChoice, TokenClaim, TokenSubject, Upstream,
    UpstreamTransport,
};

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
    /// Endpoints at which there are several upstreams, by name, each served at `/NAME/mcp`. Default: none.
    pub endpoints: BTreeMap<String, EndpointTable>,
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
    /// The cost of new hashes of passwords.
    pub passwords: Passwords,
    /// Rules for changes while Witgate runs.
    pub reload: Reload,
    /// The audit log in a directory, which proves itself. Default: the audit is only written to standard error.
    pub audit: Option<Audit>,
    /// Traces of operations.
    pub telemetry: Telemetry,
    /// Findings of `witgate lint` that are accepted.
    pub lint: Lint,
    /// Settings of the sources of secrets.
    pub secrets: SecretSettings,
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
