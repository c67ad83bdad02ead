//! A table of cases, resolved: every value stands where it is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::{HttpError, HttpResponse, Scheme, TargetKind, Transport};

/// The policy that a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the kinds of the configuration")]
pub enum Kind {
    ApiKey,
    Jwt,
    #[serde(rename = "oauth2-introspection")]
    Introspection,
    Rbac,
}

/// All cases of one policy.
#[derive(Clone, Debug)]
pub struct Table {
    /// The policy.
    pub kind: Kind,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One configured policy and what it is asked, step by step.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the case shows.
    pub name: String,
    /// The policy.
    pub kind: Kind,
    /// The name that the operator gave it.
    pub policy: String,
    /// Its settings as `configure` gets them: files inlined, keys and secrets by name.
    pub config: Value,
    /// The keys that the host holds and grants, by name.
    pub keys: BTreeMap<String, Key>,
    /// The upstream's resource.
    pub audience: String,
    /// What `configure` has to ask for, where the case is about that.
    pub wants: Option<Wanted>,
    /// How `configure` has to refuse the settings. There are no steps then.
    pub config_error: Option<ConfigFault>,
    /// What is asked, in order, of one configured instance with one cache.
    pub steps: Vec<Step>,
}

/// What of `wants` a case is about. Absent: anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The header that carries the credential.
    pub credential_header: Option<String>,
    /// Whether arguments are wanted.
    pub arguments: Option<bool>,
    /// Whether claims are wanted.
    pub claims: Option<bool>,
}

/// A refusal of settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFault {
    /// JSON Pointer to the setting.
    pub pointer: String,
    /// What the message has to hold.
    #[serde(default)]
    pub message: String,
    /// What it must not hold.
    pub never: Option<String>,
}

/// A key that the host holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// A shared secret.
    Secret(String),
    /// A public key in PEM.
    Pem(String),
    /// A key set (RFC 7517).
    Jwks(Value),
    /// A key set that cannot be had.
    Unavailable(bool),
}

/// One question.
#[derive(Clone, Debug)]
pub struct Step {
    /// The time, in seconds since the Unix epoch.
    pub now: u64,
    /// The call that it is about.
    pub call: Call,
    /// The question.
    pub ask: Ask,
    /// The HTTP requests that the policy has to make, in order, and the answers.
    pub http: Vec<Exchange>,
    /// The answer that it has to give.
    pub expect: Expect,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The JSON-RPC method.
    pub method: String,
    /// What kind of thing it is on.
    pub kind: TargetKind,
    /// Its name.
    pub target: String,
    /// Where it came in.
    pub transport: Transport,
    /// Whether a list is being filtered.
    pub listing: bool,
    /// The arguments, as JSON text.
    pub arguments: Option<String>,
}

/// A question to one of the hooks.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To `authenticate`.
    Who {
        /// The way the credential is shown.
        scheme: Scheme,
        /// The credential.
        value: String,
    },
    /// To `authorize`.
    May(Principal),
}

/// The caller, in a question to `authorize`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "as in the WIT record `principal` and the interface `caller`")]
pub struct Principal {
    #[serde(default = "somebody")]
    pub subject: String,
    #[serde(default = "somewhere")]
    pub proven_by: String,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub scopes: Vec<String>,
    pub issuer: Option<String>,
    pub claims: Option<Value>,
}

fn somebody() -> String {
    "alice".to_owned()
}

fn somewhere() -> String {
    "idp".to_owned()
}

/// One HTTP request that is expected, and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// `GET` or `POST`, a space and the URL.
    pub request: String,
    /// The form that is posted.
    pub form: Option<BTreeMap<String, String>>,
    /// How the client proves itself: `none`, or `basic` or `post` with the client's id and the
    /// name of its secret, with spaces between.
    pub auth: String,
    /// The answer.
    pub answer: Result<HttpResponse, HttpError>,
}

/// The answer that a policy has to give.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// An identity.
    Identity(Box<ExpectIdentity>),
    /// Another policy's credential.
    NotMine,
    /// A refusal with this reason.
    Refused(String),
    /// No answer, with this in the detail.
    Unavailable(ExpectUnavailable),
    /// Allowed.
    Allow,
    /// Nothing to say.
    Abstain,
    /// Denied with this reason, without scopes.
    Denied(String),
    /// Denied for want of scopes, of which these are needed in all.
    InsufficientScope(Vec<String>),
}

/// No answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectUnavailable {
    /// What the detail has to hold.
    pub detail: String,
    /// When to try again.
    pub retry_after: Option<u32>,
}

/// An identity. What is absent can be anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectIdentity {
    /// The subject.
    pub subject: Option<String>,
    /// The issuer.
    pub issuer: Option<String>,
    /// The roles, all of them.
    pub roles: Option<Vec<String>>,
    /// The scopes, all of them.
    pub scopes: Option<Vec<String>>,
    /// When it ends; `"never"`: with the credential.
    pub expires_at: Option<Value>,
    /// Members that the claims have to have; false: there are no claims at all.
    pub claims: Option<Value>,
}

impl Table {
    /// Reads one table from its TOML text.
    ///
    /// # Errors
    /// Where it is not of the format.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        super::raw::read(text)
    }

    /// Reads the tables of this repository: one for each policy.
    ///
    /// # Errors
    /// With the file that is not of the format.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        use anyhow::Context as _;
        let mut tables = Vec::new();
        for name in ["api-key", "jwt", "oauth2-introspection", "rbac"] {
            let path = directory().join(name).with_extension("toml");
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            tables.push(Self::parse(&text).with_context(|| format!("in {}", path.display()))?);
        }
        Ok(tables)
    }
}

/// Where the tables are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}
