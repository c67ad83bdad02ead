//! A table of cases, resolved: every value stands where it is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use witgate::policy::cases::{Ask, CallOf, Expect};
use witgate_plugin::{HttpError, HttpResponse};

/// The policy that a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the kinds of the configuration")]
pub enum Kind {
    ApiKey,
    Jwt,
    #[serde(rename = "oauth2-introspection")]
    Introspection,
    ClientCertificate,
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
    pub call: CallOf,
    /// What the caller has proven to the host beside the credential.
    pub proven: Proven,
    /// The question.
    pub ask: Ask,
    /// The HTTP requests that the policy has to make, in order, and the answers.
    pub http: Vec<Exchange>,
    /// The answer that it has to give.
    pub expect: Expect,
}

/// What a caller has proven to the host: thumbprints, in base64url.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// Of the connection's certificate.
    pub certificate: Option<String>,
    /// Of the key of the DPoP proof.
    pub dpop: Option<String>,
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
        for name in ["api-key", "jwt", "oauth2-introspection", "client-certificate", "rbac"] {
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
