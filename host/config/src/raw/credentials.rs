//! `[credentials]` in its written form.

use std::collections::BTreeMap;

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
    /// The text before the secret or token. Default: `"Bearer "` in `Authorization`, nothing in other headers.
    pub prefix: Option<String>,
    /// With `client-credentials` and `exchange`: the URL of the authorization server's token endpoint.
    pub token_url: Option<String>,
    /// With `client-credentials` and `exchange`: the issuer, for the audit and as the audience of assertions. Default:
    /// `token_url`.
    pub issuer: Option<String>,
    /// With `client-credentials` and `exchange`: the id of Witgate as a client of the authorization server.
    pub client_id: Option<String>,
    /// With `client-credentials` and `exchange`: the secret of that client.
    pub client_secret: Option<OptionalSecret>,
    /// With `client-credentials` and `exchange`: the private key of that client in PEM, in place of a secret.
    pub client_key: Option<OptionalSecret>,
    /// The place of the client's secret in requests for tokens. Default: `basic`.
    pub client_auth: Option<ClientAuthForm>,
    /// With `client-credentials` and `exchange`: the scopes of tokens.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// With `client-credentials` and `exchange`: the parameter `audience` of requests for tokens. With `signed`: the claim
    /// `aud`.
    pub audience: Option<String>,
    /// With `client-credentials` and `exchange`: the parameter `resource` of requests for tokens (RFC 8707).
    pub resource: Option<String>,
    /// With `client-credentials` and `exchange`: seconds before the end of a token at which it is renewed. Default: 300.
    #[schemars(range(min = 1, max = 86_400))]
    pub refresh_before_s: Option<u64>,
    /// With `oauth`: the provider.
    pub preset: Option<ProviderPreset>,
    /// With the preset `entra`: the id or the domain of the tenant.
    pub tenant: Option<String>,
    /// With the preset `custom`: the URL of the page where a person logs in.
    pub authorize_url: Option<String>,
    /// With the preset `custom`: the URL that tells the name of the account of a token, such as the UserInfo endpoint of
    /// OpenID Connect.
    pub account_url: Option<String>,
    /// With `oauth`: further parameters of the URL where a person logs in.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// With `oauth`: the URL to which the provider leads back after a login, with a loopback host. Default:
    /// `http://127.0.0.1:PORT/callback` with a free port. With `per = "principal"`: the URL of Witgate to which it leads
    /// back, which ends with `/connect/NAME/callback`. Default: at the origin of the upstream's `resource`.
    pub redirect_uri: Option<String>,
    /// With `oauth`: `shared`, one account for all callers, or `principal`, an account of each caller. Default: `shared`.
    pub per: Option<GrantOwner>,
    /// With `oauth`: the place of the tokens. Default: `state`.
    pub store: Option<TokenStore>,
    /// With `store = "file"`: the file for the tokens, in clear. Default: `~/.mcp-tokens/tokens.json`.
    pub token_file: Option<String>,
    /// With `per = "principal"`: `true` if the server answers handshakes and lists without an account. Then callers who
    /// have not connected theirs see what the server offers. Default: `false`.
    pub only_for_calls: Option<bool>,
    /// With `signed`: the claim `sub`. Default: `witgate`.
    #[schemars(length(min = 1, max = 255))]
    pub subject: Option<String>,
    /// With `signed`: seconds until a token ends. Default: 300.
    #[schemars(range(min = 10, max = 86_400))]
    pub lifetime_s: Option<u64>,
}

/// The kind of a credential towards upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutboundKind {
    /// A secret that the server has issued, such as an API key.
    Static,
    /// The name and the password of a user (RFC 7617).
    Basic,
    /// A token that an authorization server issues to Witgate (RFC 6749, section 4.4).
    ClientCredentials,
    /// A token that an authorization server issues in exchange for that of the caller (RFC 8693).
    Exchange,
    /// Tokens of a person who has logged in (RFC 6749, section 4.1, with PKCE).
    Oauth,
    /// A JSON Web Token that Witgate signs with the key of `[signing]`.
    Signed,
}

/// The place of a client's secret in requests for tokens (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuthForm {
    /// In the header `Authorization`.
    Basic,
    /// In the body.
    Post,
}

/// A provider of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderPreset {
    /// GitHub, for OAuth Apps and GitHub Apps.
    Github,
    /// Google.
    Google,
    /// Microsoft Entra ID (Azure AD), version 2.0.
    Entra,
    /// Another provider.
    Custom,
}

/// The owner of the account at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GrantOwner {
    /// The operator: one account for all callers.
    Shared,
    /// Each caller: an account of their own, which they connect.
    Principal,
}

/// The place of the tokens of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenStore {
    /// Encrypted files in `server.state`.
    State,
    /// A file that other programs read, too.
    File,
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

/// The source of a secret that Witgate can start without: exactly one of `env`, `file`, `credential` and
/// `stored`.
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
    /// Name of a secret in the encrypted store, which `witgate secret` writes.
    pub stored: Option<String>,
    /// `true`: Witgate starts without the secret, and denies the calls that need it. Default: it has to exist.
    pub optional: Option<bool>,
}

impl OptionalSecret {
    /// The source.
    pub fn source(&self) -> SecretSource {
        let Self { env, file, credential, stored, optional: _ } = self.clone();
        SecretSource { env, file, credential, stored, ..SecretSource::default() }
    }
}
