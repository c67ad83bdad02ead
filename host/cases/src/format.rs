//! A file of cases in its written form: the types for serde, and the JSON Schema that `witgate plugin test --schema`
//! prints. docs/cases.md describes the format.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use witgate_plugin::ToolAnnotations;

use super::token::{Alg, Spec, TokenSigner};
use witgate_config::raw;

/// A file of test cases for a policy of Witgate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "cases.toml")]
#[schemars(rename = "File")]
pub(super) struct CaseFile {
    /// The component to test: the path of a `.wasm`, relative to this file. Default: that of the project.
    pub component: Option<String>,
    /// The shipped kind to test, such as `rbac`.
    pub builtin: Option<raw::Kind>,
    /// The clock of all cases, in seconds since the Unix epoch. Default: 2000000000.
    pub now: Option<u64>,
    /// The name of the upstream that calls go to. Default: `upstream`.
    pub upstream: Option<String>,
    /// The upstream's resource identifier, which is the audience of tokens.
    pub audience: Option<String>,
    /// Settings of cases that have none, in the form of the configuration.
    pub config: Option<Map<String, Value>>,
    /// Settings that cases refer to by name.
    pub configs: BTreeMap<String, Map<String, Value>>,
    /// Keys of the host, by name: as under `[keys]` of the configuration, or in place of an issuer's keys.
    pub keys: BTreeMap<String, HeldKey>,
    /// Secrets of the host: the values of the `secrets` import by name, and of `{ env = "NAME" }` in settings.
    pub secrets: BTreeMap<String, String>,
    /// The signers of the cases' tokens, by name.
    pub signers: BTreeMap<String, TokenSigner>,
    /// Claims of tokens and of the `claims` of HTTP answers, unless a case has others.
    pub claims: Map<String, Value>,
    /// Members of an HTTP request and its answer, unless a case has others.
    #[schemars(with = "Option<Exchange>")]
    pub exchange: Option<Map<String, Value>>,
    /// Claims of a signed HTTP answer besides `token_introspection`.
    pub answer: Map<String, Value>,
    /// Limits of a hook, as `limits` of a policy. Default: the defaults of a policy.
    pub limits: Option<raw::Limits>,
    /// The cases.
    #[serde(rename = "case")]
    #[schemars(with = "Vec<Case>")]
    pub cases: Vec<Map<String, Value>>,
}

/// A key of the host: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeldKey {
    /// A shared secret of at least 32 bytes.
    pub secret: Option<String>,
    /// A public key in PEM.
    pub pem: Option<String>,
    /// A JWK Set (RFC 7517).
    pub jwks: Option<Map<String, Value>>,
    /// `true`: a set that cannot be fetched.
    pub unavailable: Option<bool>,
}

/// A case: settings, and questions to a policy with them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub(super) struct Case {
    /// The title of the case, which says what it shows.
    pub name: String,
    /// Settings in the form of the configuration, or a name under `[configs]`. Default: those of the file.
    pub config: Option<CaseConfig>,
    /// Members that are merged into the settings.
    #[serde(default)]
    pub change: Map<String, Value>,
    /// Settings that are removed.
    #[serde(default)]
    pub drop: Vec<String>,
    /// The name that the operator gave the policy. Default: `own`.
    pub policy: Option<String>,
    /// The expected result of `configure`.
    pub wants: Option<ExpectedWants>,
    /// The expected refusal of the settings. Then there are no questions.
    pub config_error: Option<ConfigFault>,
    /// Limits of a hook, in place of the file's.
    pub limits: Option<raw::Limits>,
    /// Several questions to one policy with one cache. Each has the members of the case, unless it has its own.
    #[schemars(with = "Option<Vec<Question>>")]
    pub steps: Option<Vec<Map<String, Value>>>,
    #[serde(flatten)]
    _question: Question,
}

impl Case {
    /// The members of a case itself. All others belong to its question.
    pub(super) const OWN: [&str; 9] =
        ["name", "config", "change", "drop", "policy", "wants", "config_error", "limits", "steps"];
}

/// Settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Config")]
pub(super) enum CaseConfig {
    /// A name under `[configs]`.
    Named(String),
    /// In the form of the configuration.
    Written(Map<String, Value>),
}

/// The expected result of `configure`. Omitted members can have any value.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Wanted")]
pub struct ExpectedWants {
    /// The schemes of credentials that the policy judges, completely.
    pub schemes: Option<Vec<String>>,
    /// The header that contains the credential.
    pub credential_header: Option<String>,
    /// The request headers, completely.
    pub headers: Option<Vec<String>>,
    /// True if the policy wants the call's arguments.
    pub arguments: Option<bool>,
    /// True if the policy wants the call's `_meta`.
    pub meta: Option<bool>,
    /// True if the policy wants the peer's address.
    pub peer: Option<bool>,
    /// True if the policy wants the caller's claims.
    pub claims: Option<bool>,
}

/// The expected error of refused settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFault {
    /// JSON Pointer to the setting; empty: the settings as a whole.
    pub pointer: String,
    /// A text that the message has to contain.
    pub message: String,
    /// A text that the message must not contain.
    pub never: Option<String>,
}

/// A question to one of the hooks, and its expected answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Question {
    /// The clock, in seconds since the Unix epoch. Default: that of the file.
    pub now: Option<u64>,
    /// The target of the call, written as in patterns and without `*`: `get_sum`, `resource:file:///a`,
    /// `prompt:brief`, `method:tasks/list`. Default: `echo`.
    pub call: Option<String>,
    /// The JSON-RPC method, if it is not the usual one of such a call: `resources/subscribe`.
    pub method: Option<String>,
    /// The call's arguments.
    pub arguments: Option<Value>,
    /// The call's arguments, as JSON text, for values that TOML cannot express, such as a number of many digits.
    pub arguments_text: Option<String>,
    /// The call's `_meta`.
    pub meta: Option<Map<String, Value>>,
    /// The request's headers, by name.
    pub headers: BTreeMap<String, String>,
    /// The address of the caller.
    pub peer: Option<String>,
    /// True if a list is filtered. Default: `false`.
    pub listing: bool,
    /// True if the call comes over stdio. Default: `false`.
    pub stdio: bool,
    /// The name of the call's upstream. Default: that of the file.
    pub upstream: Option<String>,
    /// The upstream's resource identifier. Default: that of the file.
    pub audience: Option<String>,
    /// The credential, in a question to an authenticator.
    pub credential: Option<CaseCredential>,
    /// The caller, in a question to an authorizer.
    pub principal: Option<Principal>,
    /// The proofs that the host has verified.
    pub proven: ProofThumbprints,
    /// The approved annotations of the tool. Default: none, as if the tool were not approved.
    pub annotations: Option<CaseAnnotations>,
    /// The expected HTTP requests, in order, and their answers. Default: none.
    #[schemars(with = "Vec<Exchange>")]
    pub http: Vec<Map<String, Value>>,
    /// The initial content of the policy's cache. `{digest}` is the key of results for the credential.
    pub cache: BTreeMap<String, String>,
    /// The result of `crypto.sha256` for the credential, in hexadecimal digits, if the credential is a replacement.
    pub digest: Option<String>,
    /// The fixed results of signature checks, for any signatures. All other checks use the keys of the file.
    pub verify: Vec<Verification>,
    /// Parts of lines that have to be in the log, in this order; others may be between them.
    pub log: Vec<String>,
    /// The expected number of calls of imports, by interface and function: `"http.send" = 1`. Others may be called as
    /// well.
    pub host_calls: BTreeMap<String, u64>,
    /// The expected answer.
    pub expect: Option<super::Expect>,
}

/// The result of a signature check.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verification {
    /// The name of the key.
    pub key: String,
    /// The id of the key in a set.
    pub key_id: Option<String>,
    /// The algorithm.
    pub algorithm: Alg,
    /// The result.
    pub outcome: VerifyOutcome,
}

/// The result of a signature check: `good`, or one of the errors of the WIT package.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum VerifyOutcome {
    /// The signature is valid.
    Good,
    /// There is no key with this name.
    UnknownKey,
    /// The set has no key with this id.
    UnknownKeyId,
    /// The key does not fit the algorithm.
    AlgorithmMismatch,
    /// The signature does not match.
    BadSignature,
    /// The set cannot be fetched.
    Unavailable,
}

/// A credential: exactly one of these.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Credential")]
pub(super) struct CaseCredential {
    /// `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// `Authorization: Basic`, in base64.
    pub basic: Option<String>,
    /// `Authorization: DPoP`.
    pub dpop: Option<String>,
    /// The header that the policy wants.
    pub header: Option<String>,
    /// An argument of the call.
    pub argument: Option<String>,
    /// A client certificate, in PEM.
    pub certificate: Option<String>,
    /// A JSON Web Token, made for the case.
    pub token: Option<Spec>,
}

impl std::fmt::Debug for CaseCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(****)")
    }
}

/// The caller, in a question to an authorizer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Principal {
    /// The subject. Default: `alice`.
    pub subject: String,
    /// The policy that has authenticated the caller. Default: `idp`.
    pub proven_by: String,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// The caller's scopes.
    pub scopes: Vec<String>,
    /// The issuer of the subject.
    pub issuer: Option<String>,
    /// Other claims of the caller.
    pub claims: Option<Map<String, Value>>,
    /// The expiry, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
}

/// The caller's proofs: thumbprints, in base64url.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Proven")]
pub struct ProofThumbprints {
    /// The thumbprint of the connection's certificate.
    pub certificate: Option<String>,
    /// The thumbprint of the key of a DPoP proof.
    pub dpop: Option<String>,
}

/// The annotations of a tool, by their names in MCP. Those that are left out have the defaults of MCP.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[schemars(rename = "Annotations")]
pub(super) struct CaseAnnotations {
    /// The tool does not change its environment. Default: `false`.
    pub read_only_hint: Option<bool>,
    /// The tool may destroy something. Default: `true`.
    pub destructive_hint: Option<bool>,
    /// A second call with the same arguments changes nothing more. Default: `false`.
    pub idempotent_hint: Option<bool>,
    /// The tool may act on things outside of the server. Default: `true`.
    pub open_world_hint: Option<bool>,
}

impl From<CaseAnnotations> for ToolAnnotations {
    fn from(written: CaseAnnotations) -> Self {
        let default = Self::default();
        Self {
            read_only: written.read_only_hint.unwrap_or(default.read_only),
            destructive: written.destructive_hint.unwrap_or(default.destructive),
            idempotent: written.idempotent_hint.unwrap_or(default.idempotent),
            open_world: written.open_world_hint.unwrap_or(default.open_world),
        }
    }
}

/// An expected HTTP request, and its answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exchange {
    /// `GET` or `POST`, a space and the URL.
    pub request: Option<String>,
    /// The form in the body. Default of a POST about a credential: that of RFC 7662; otherwise any body.
    pub form: Option<BTreeMap<String, String>>,
    /// The authentication of the client: `none` (the default); `basic` or `post` with the client's id and the setting
    /// with its secret; `private_key_jwt` with id, setting, key id or `-`, algorithm or `-`, and audience; or `bearer`
    /// with a token.
    pub auth: Option<String>,
    /// The status. Default: 200.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// The media type. Empty: the answer has none. Default: `application/json`.
    pub content_type: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The body: the file's `[claims]`, merged with these.
    pub claims: Option<Map<String, Value>>,
    /// Claims that are removed from the body.
    pub without: Vec<String>,
    /// The body: a token that contains those claims as `token_introspection` (RFC 9701).
    pub signed: Option<Spec>,
    /// The body: this value.
    pub json: Option<Value>,
    /// The body: this text.
    pub body: Option<String>,
    /// Number of spaces before the body.
    pub padding: u32,
    /// The reason why there is no answer.
    pub error: Option<HttpFault>,
}

/// The reason why there is no answer.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HttpFault {
    /// The origin is not granted.
    NotGranted,
    /// The request is invalid.
    InvalidRequest,
    /// The server cannot be reached.
    Unreachable,
    /// The answer did not arrive in time.
    TimedOut,
    /// The answer is too large.
    TooLarge,
    /// Requests to the server are paused, for seven seconds.
    Resting,
}

/// The JSON Schema of a file of cases.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(CaseFile).to_value();
        raw::without_null(&mut schema);
        schema
    });
    &SCHEMA
}
