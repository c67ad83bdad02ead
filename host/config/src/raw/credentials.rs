//! `[credentials]` in its written form.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSource;

/// A credential with which Witgate calls upstreams.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Credential")]
pub struct CredentialTable {
    /// The kind of the credential.
    pub kind: OutboundKind,
    /// With `static`: the secret.
    pub value: Option<OptionalSecret>,
    /// With `basic`: the name of the user.
    pub user: Option<OptionalText>,
    /// With `basic`: the password.
    pub password: Option<OptionalSecret>,
    /// The header that carries the credential. Default: `Authorization`.
    pub header: Option<String>,
    /// With `static`: the text before the secret. Default: `"Bearer "` in `Authorization`, nothing in other headers.
    pub prefix: Option<String>,
}

/// The kind of a credential towards upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutboundKind {
    /// A secret that the server has issued, such as an API key.
    Static,
    /// The name and the password of a user (RFC 7617).
    Basic,
}

/// A text that may be a secret.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OptionalText {
    /// The text itself, if it is not secret.
    Plain(String),
    /// The source of a secret.
    Secret(OptionalSecret),
}

impl std::fmt::Debug for OptionalText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(****)"),
            Self::Secret(source) => source.fmt(f),
        }
    }
}

/// The source of a secret that Witgate can start without: exactly one of `env`, `file` and `credential`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("format" = "witgate-secret"))]
pub struct OptionalSecret {
    /// Name of an environment variable.
    pub env: Option<String>,
    /// Path of a file. Line ends at its end do not belong to the secret.
    pub file: Option<String>,
    /// Name of a credential of systemd: a file in `$CREDENTIALS_DIRECTORY`.
    pub credential: Option<String>,
    /// `true`: Witgate starts without the secret, and denies the calls that need it. Default: it has to exist.
    pub optional: Option<bool>,
}

impl OptionalSecret {
    /// The source.
    pub fn source(&self) -> SecretSource {
        let (env, file, credential) = (self.env.clone(), self.file.clone(), self.credential.clone());
        SecretSource { env, file, credential, ..SecretSource::default() }
    }
}
