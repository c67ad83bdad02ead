//! `[secrets]`, `[keys.NAME]`, and texts that may be secrets.

use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the sources of secrets.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Secrets")]
pub struct SecretSettings {
    /// Refuse files with secrets that other users may read. Default: false, they are warnings.
    pub strict_files: bool,
    /// Permit core dumps of `serve`, and debuggers of the same user; a core dump contains secrets. Default: false.
    pub core_dumps: bool,
    /// Path of the encrypted store. Default: `secrets.age`.
    pub store: Option<String>,
    /// The identity of age that decrypts the store. Default: the file `secrets.key` in the directory `server.state`.
    pub identity: Option<StoreIdentity>,
}

/// The place of the identity that decrypts the store: exactly one of `file`, `credential` and `keyring`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreIdentity {
    /// Path of a file that only its owner may read.
    pub file: Option<String>,
    /// Name of a credential of systemd, in `$CREDENTIALS_DIRECTORY`.
    pub credential: Option<String>,
    /// Entry of the keyring, as `SERVICE/ACCOUNT`.
    pub keyring: Option<String>,
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

/// A text that an upstream gets: exactly one of `env`, `file`, `credential`, `stored`, `keyring`, `exec` and
/// `basic`.
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
    /// Name of a secret in the encrypted store, which `witgate secret` writes.
    pub stored: Option<String>,
    /// Entry of the keyring of the desktop, as `SERVICE/ACCOUNT`.
    pub keyring: Option<String>,
    /// Program and arguments, without a shell, that print the secret.
    #[schemars(length(min = 1))]
    pub exec: Option<Vec<String>>,
    /// With `exec` and `keyring`: the lifetime of the secret in seconds. Default: 300.
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
        let Self { env, file, credential, stored, keyring, exec, ttl_s, exec_env, .. } = self.clone();
        SecretSource { env, file, credential, stored, keyring, exec, ttl_s, exec_env }
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

/// The source of a secret: exactly one of `env`, `file`, `credential`, `stored`, `keyring`
/// and `exec`.
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
    /// Name of a secret in the encrypted store, which `witgate secret` writes.
    pub stored: Option<String>,
    /// Entry of the keyring of the desktop, as `SERVICE/ACCOUNT`.
    pub keyring: Option<String>,
    /// Program and arguments, without a shell, that print the secret.
    #[schemars(length(min = 1))]
    pub exec: Option<Vec<String>>,
    /// With `exec` and `keyring`: the lifetime of the secret in seconds. Default: 300.
    #[schemars(range(min = 5, max = 2_592_000))]
    pub ttl_s: Option<u64>,
    /// With `exec`: names of further environment variables that the program gets.
    pub exec_env: Vec<String>,
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
