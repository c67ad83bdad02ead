//! A file of cases, as it is written: the shapes that serde reads, and the JSON Schema that `witgate plugin test
//! --schema` prints. docs/cases.md tells it to people.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::token::{Alg, Spec, TokenSigner};
use witgate_config::raw;

/// A file of test cases for a policy of Witgate.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "cases.toml")]
#[schemars(rename = "File")]
pub(super) struct CaseFile {
    /// The component that the cases are about: the path of a `.wasm`, relative to this file. Default: the project's own.
    pub component: Option<String>,
    /// The shipped kind that the cases are about, such as `rbac`.
    pub builtin: Option<raw::Kind>,
    /// The clock of all cases, in seconds since the Unix epoch. Default: 2000000000.
    pub now: Option<u64>,
    /// The name of the upstream that calls go to. Default: `upstream`.
    pub upstream: Option<String>,
    /// The upstream's resource identifier, which is the audience of tokens.
    pub audience: Option<String>,
    /// Settings of cases that have none of their own, as an operator writes them.
    pub config: Option<Map<String, Value>>,
    /// Settings that cases take by name.
    pub configs: BTreeMap<String, Map<String, Value>>,
    /// Keys that the host holds, by name: as under `[keys]` of the configuration, or in the place of an issuer's.
    pub keys: BTreeMap<String, HeldKey>,
    /// Secrets that the host holds: what the `secrets` import yields by name, and what `{ env = "NAME" }` in settings finds.
    pub secrets: BTreeMap<String, String>,
    /// The signers of the cases' tokens, by name.
    pub signers: BTreeMap<String, TokenSigner>,
    /// Claims of tokens and of the `claims` of HTTP answers, unless a case says otherwise.
    pub claims: Map<String, Value>,
    /// Members of an HTTP request and its answer, unless a case says otherwise.
    #[schemars(with = "Option<Exchange>")]
    pub exchange: Option<Map<String, Value>>,
    /// Claims of a signed HTTP answer beside `token_introspection`.
    pub answer: Map<String, Value>,
    /// Limits of a hook, as `limits` of a policy. Default: the defaults of a policy.
    pub limits: Option<raw::Limits>,
    /// The cases.
    #[serde(rename = "case")]
    #[schemars(with = "Vec<Case>")]
    pub cases: Vec<Map<String, Value>>,
}

/// A key that the host holds: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeldKey {
    /// A shared secret, of 32 bytes at least.
    pub secret: Option<String>,
    /// A public key in PEM.
    pub pem: Option<String>,
    /// A JWK Set (RFC 7517).
    pub jwks: Option<Map<String, Value>>,
    /// `true`: a set that cannot be had.
    pub unavailable: Option<bool>,
}

/// A case: settings, and what is asked of a policy that has them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub(super) struct Case {
    /// The case's title, which says what it shows.
    pub name: String,
    /// Settings as an operator writes them, or the name of some under `[configs]`. Default: those of the file.
    pub config: Option<CaseConfig>,
    /// Members to merge into the settings.
    #[serde(default)]
    pub change: Map<String, Value>,
    /// Settings that are left out.
    #[serde(default)]
    pub drop: Vec<String>,
    /// The name that the operator gave the policy. Default: `own`.
    pub policy: Option<String>,
    /// The wishes that `configure` has to return.
    pub wants: Option<ExpectedWants>,
    /// The settings are refused, and how. Nothing is asked then.
    pub config_error: Option<ConfigFault>,
    /// Limits of a hook, in place of the file's.
    pub limits: Option<raw::Limits>,
    /// Several questions to one policy with one cache. Each takes from the case what it does not say itself.
    #[schemars(with = "Option<Vec<Question>>")]
    pub steps: Option<Vec<Map<String, Value>>>,
    #[serde(flatten)]
    _question: Question,
}

impl Case {
    /// The members of a case itself; all others belong to its question.
    pub(super) const OWN: [&str; 9] =
        ["name", "config", "change", "drop", "policy", "wants", "config_error", "limits", "steps"];
}

/// Settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Config")]
pub(super) enum CaseConfig {
    /// By their name under `[configs]`.
    Named(String),
    /// As an operator writes them.
    Written(Map<String, Value>),
}

/// The wishes that `configure` has to return. Members that are left out can have any value.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Wanted")]
pub struct ExpectedWants {
    /// The ways of showing a credential that it judges, all of them.
    pub schemes: Option<Vec<String>>,
    /// The header that carries the credential.
    pub credential_header: Option<String>,
    /// Request headers, all of them.
    pub headers: Option<Vec<String>>,
    /// The call's arguments are wanted.
    pub arguments: Option<bool>,
    /// The call's `_meta` is wanted.
    pub meta: Option<bool>,
    /// The peer's address is wanted.
    pub peer: Option<bool>,
    /// The caller's claims are wanted.
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
    /// A text that it must not contain.
    pub never: Option<String>,
}

/// One question to one of the hooks, and what has to come of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Question {
    /// The clock, in seconds since the Unix epoch. Default: that of the file.
    pub now: Option<u64>,
    /// The target of the call, as patterns write it and without `*`: `get_sum`, `resource:file:///a`,
    /// `prompt:brief`, `method:tasks/list`. Default: `echo`.
    pub call: Option<String>,
    /// The JSON-RPC method, where it is not the usual one of such a call: `resources/subscribe`.
    pub method: Option<String>,
    /// The call's arguments.
    pub arguments: Option<Value>,
    /// The call's arguments, as JSON text: for what no value says, such as a number of many digits.
    pub arguments_text: Option<String>,
    /// The call's `_meta`.
    pub meta: Option<Map<String, Value>>,
    /// The request's headers, by name.
    pub headers: BTreeMap<String, String>,
    /// The address of the caller.
    pub peer: Option<String>,
    /// A list is being filtered. Default: `false`.
    pub listing: bool,
    /// The call came over stdio. Default: `false`.
    pub stdio: bool,
    /// The name of the upstream that it goes to. Default: that of the file.
    pub upstream: Option<String>,
    /// The upstream's resource identifier. Default: that of the file.
    pub audience: Option<String>,
    /// Asks who shows this: a question to an authenticator.
    pub credential: Option<CaseCredential>,
    /// Asks whether this caller may make the call: a question to an authorizer.
    pub principal: Option<Principal>,
    /// The proofs that the host has verified.
    pub proven: ProofThumbprints,
    /// The HTTP requests that the policy has to send, in order, and the answers. Default: none.
    #[schemars(with = "Vec<Exchange>")]
    pub http: Vec<Map<String, Value>>,
    /// The initial content of the policy's cache. `{digest}` is the place of what is known of the credential.
    pub cache: BTreeMap<String, String>,
    /// The result of `crypto.sha256` for the credential, in hexadecimal digits, where that only stands for
    /// another one.
    pub digest: Option<String>,
    /// The results of signature checks, whatever the signature. All others are done with the keys of the
    /// file.
    pub verify: Vec<Verification>,
    /// Parts of lines that it has to log, in this order; there may be others between them.
    pub log: Vec<String>,
    /// The expected number of calls of imports, by interface and function: `"http.send" = 1`. Others may be
    /// called as well.
    pub host_calls: BTreeMap<String, u64>,
    /// The answer that has to come.
    pub expect: Option<super::Expect>,
}

/// The result of a signature check.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verification {
    /// The name of the key.
    pub key: String,
    /// The id of the wanted key of a set.
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
    /// It is good.
    Good,
    /// There is no key of that name.
    UnknownKey,
    /// The set has no key of that id.
    UnknownKeyId,
    /// The key is not for this algorithm.
    AlgorithmMismatch,
    /// It does not fit.
    BadSignature,
    /// The set cannot be had.
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
    /// The header that the policy asks for.
    pub header: Option<String>,
    /// An argument of the call.
    pub argument: Option<String>,
    /// A client certificate, in PEM.
    pub certificate: Option<String>,
    /// A JSON Web Token, made to order.
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
    /// The policy that has found it out. Default: `idp`.
    pub proven_by: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// The issuer of the subject.
    pub issuer: Option<String>,
    /// Further claims about the subject.
    pub claims: Option<Map<String, Value>>,
    /// The expiry, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
}

/// A caller's proofs to the host: thumbprints, in base64url.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Proven")]
pub struct ProofThumbprints {
    /// Of the connection's certificate.
    pub certificate: Option<String>,
    /// Of the key of a DPoP proof.
    pub dpop: Option<String>,
}

/// An HTTP request that has to be sent, and its answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Exchange {
    /// `GET` or `POST`, a space and the URL.
    pub request: Option<String>,
    /// The form that is posted. Default of a POST about a credential: that of RFC 7662; else any body is accepted.
    pub form: Option<BTreeMap<String, String>>,
    /// The authentication of the client: `none` (the default); `basic` or `post` with the client's id and the
    /// setting that has its secret; `private_key_jwt` with id, setting, key id or `-`, algorithm or `-`, and
    /// audience.
    pub auth: Option<String>,
    /// The status. Default: 200.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// The media type; empty: none. Default: `application/json`.
    pub content_type: Option<String>,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// The body: the file's `[claims]` with these over them.
    pub claims: Option<Map<String, Value>>,
    /// Claims that are left out of it.
    pub without: Vec<String>,
    /// The body: a token that holds those claims as `token_introspection` (RFC 9701).
    pub signed: Option<Spec>,
    /// The body: this value.
    pub json: Option<Value>,
    /// The body: this text.
    pub body: Option<String>,
    /// So many spaces before the body.
    pub padding: u32,
    /// No answer, and why.
    pub error: Option<HttpFault>,
}

/// The error in place of an answer.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HttpFault {
    /// The origin is not granted.
    NotGranted,
    /// The request is none that is sent.
    InvalidRequest,
    /// Nobody is there.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// It is too large.
    TooLarge,
    /// The server is left alone, for seven seconds.
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
