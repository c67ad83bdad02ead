//! `[credentials]`: the credentials with which Witgate calls upstreams.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use witgate_base::signing::Signer;

/// `[credentials.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSettings {
    /// Its name.
    pub name: Arc<str>,
    /// The header that carries it.
    pub header: HeaderName,
    /// The text before it in the header.
    pub prefix: String,
    /// Its source.
    pub source: OutboundSource,
}

/// The source of a credential towards upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboundSource {
    /// A secret that the server has issued.
    Static(Retrieval),
    /// A user and their password (RFC 7617).
    Basic {
        /// The name of the user.
        user: Retrieval,
        /// The password.
        password: Retrieval,
    },
    /// A token for Witgate (RFC 6749, section 4.4).
    ClientCredentials(TokenSettings),
    /// A token in exchange for that of the caller (RFC 8693).
    Exchange(TokenSettings),
    /// Tokens of a person who has logged in.
    Grant(Box<GrantSettings>),
    /// A token that Witgate signs.
    Signed {
        /// The key.
        signer: Arc<Signer>,
        /// The issuer in its tokens.
        issuer: Arc<str>,
        /// The claim `aud`.
        audience: String,
        /// The claim `sub`.
        subject: Arc<str>,
        /// The lifetime of a token.
        lifetime: Duration,
    },
}

/// The requests for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The token endpoint.
    pub token_url: Url,
    /// The issuer.
    pub issuer: Arc<str>,
    /// The id of Witgate at the authorization server.
    pub client_id: Arc<str>,
    /// The proof that Witgate is this client.
    pub proof: ClientProof,
    /// The scopes of tokens.
    pub scopes: Vec<String>,
    /// The audience of tokens, if the server wants one.
    pub audience: Option<String>,
    /// The resource of tokens (RFC 8707), if the server wants one.
    pub resource: Option<String>,
    /// The time before the end of a token at which it is renewed.
    pub refresh_before: Duration,
}

/// A grant of a person (RFC 6749, section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantSettings {
    /// The page where a person logs in.
    pub authorize_url: Url,
    /// The requests for tokens.
    pub token: TokenSettings,
    /// The issuer that answers have to name if they name one (RFC 9207). None: it is not checked.
    pub issuer: Option<String>,
    /// Further parameters of the page.
    pub params: BTreeMap<String, String>,
    /// The URL on this machine to which the provider leads back. Without a port, it gets a free one.
    pub redirect_uri: Url,
    /// The URL that tells the name of the account of a token. None: only an ID token does.
    pub account_url: Option<Url>,
    /// The way in which callers connect their accounts. None: all callers share one grant.
    pub connect: Option<ConnectSettings>,
    /// True if requests for new tokens name the scopes, as Entra needs it.
    pub names_scopes: bool,
    /// True if tokens without a lifetime have no end, as those of GitHub's OAuth Apps.
    pub is_endless: bool,
    /// The directory for data that survives a restart.
    pub state: PathBuf,
    /// The file for the tokens in clear. None: they are sealed, in `state`.
    pub file: Option<PathBuf>,
}

/// The way in which callers connect their accounts, if each principal has a grant of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectSettings {
    /// The URL to which the provider leads back. None: it is at the origin of the upstream's resource.
    pub redirect_uri: Option<Url>,
    /// True if the server answers handshakes and lists without an account.
    pub only_for_calls: bool,
}

/// The characters of a name that a path cannot have, or that separate its parts.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// The path of Witgate's page where callers connect their accounts for a credential.
pub fn connect_path(credential: &str) -> String {
    format!("/connect/{}", utf8_percent_encode(credential, IN_PATH))
}

/// The path to which a provider leads back.
pub fn callback_path(credential: &str) -> String {
    format!("{}/callback", connect_path(credential))
}

/// The proof that Witgate is a client of an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// A public client has none.
    None,
    /// A secret in the header `Authorization`.
    Basic(Retrieval),
    /// A secret in the body.
    Post(Retrieval),
    /// Assertions that a private key in PEM signs (RFC 7523, section 2.2).
    PrivateKey {
        /// The key.
        key: Retrieval,
        /// The audience of the assertions.
        audience: String,
    },
}

impl ClientProof {
    fn secret(&self) -> Option<&Retrieval> {
        match self {
            Self::None => None,
            Self::Basic(secret) | Self::Post(secret) | Self::PrivateKey { key: secret, .. } => Some(secret),
        }
    }
}

impl OutboundSource {
    /// True if each principal has a grant of their own.
    pub fn is_of_principals(&self) -> bool {
        matches!(self, Self::Grant(grant) if grant.connect.is_some())
    }

    /// The kind, as the configuration names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Basic { .. } => "basic",
            Self::ClientCredentials(_) => "client-credentials",
            Self::Exchange(_) => "exchange",
            Self::Grant(_) => "oauth",
            Self::Signed { .. } => "signed",
        }
    }

    /// The place of the first secret that is missing. None: all are known.
    pub fn missing(&self) -> Option<&SecretPlace> {
        let secrets = match self {
            Self::Static(value) => [Some(value), None],
            Self::Basic { user, password } => [Some(user), Some(password)],
            Self::ClientCredentials(settings) | Self::Exchange(settings) => [settings.proof.secret(), None],
            Self::Grant(settings) => [settings.token.proof.secret(), None],
            Self::Signed { .. } => [None, None],
        };
        secrets.into_iter().flatten().find_map(|secret| match secret {
            Retrieval::Missing(place) => Some(place),
            Retrieval::Secret(_) => None,
        })
    }
}

/// The result of looking for a secret that Witgate can start without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retrieval {
    /// The secret.
    Secret(EqualSecret),
    /// The place at which there is none.
    Missing(SecretPlace),
}

/// The place of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// The environment variable with this name.
    Variable(String),
    /// A file.
    File,
    /// The encrypted store, with the name of the secret.
    Store(String),
}

/// A secret that can be compared with the one after a reload. It never prints.
#[derive(Clone, Debug)]
pub struct EqualSecret(pub SecretString);

impl EqualSecret {
    /// The text.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for EqualSecret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for EqualSecret {}

/// The credentials of one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamCredentials {
    /// The credential in Witgate's requests to the server. None: they have none, or one among the headers.
    pub own: Option<Arc<CredentialSettings>>,
    /// The credentials that tools need, by the names of the tools.
    pub needs: BTreeMap<String, Vec<Arc<CredentialSettings>>>,
    /// The credentials of its child processes.
    pub of_children: ChildCredentials,
    /// The names that the configuration has here, also of invalid credentials.
    pub names: Vec<String>,
}

/// The credentials of child processes, which change while a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildCredentials {
    /// The APIs that they call through Witgate, by the environment variables with their addresses.
    pub apis: BTreeMap<String, ApiSettings>,
    /// The credentials whose tokens are in files, by the environment variables with the paths of the files.
    pub token_files: BTreeMap<String, Arc<CredentialSettings>>,
    /// The directory in which each gateway makes its own directory for these files.
    pub folder: PathBuf,
}

/// An API that child processes call through Witgate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// Its URL, to which the paths of requests are added.
    pub to: Url,
    /// The credential that Witgate adds.
    pub credential: Arc<CredentialSettings>,
}

impl ChildCredentials {
    /// A text of all settings that cannot change without a restart: another credential can be used at once, and another
    /// API or variable cannot.
    pub fn place(&self) -> String {
        let apis = self.apis.iter().map(|(variable, api)| format!("{variable}={}", api.to));
        let files = self.token_files.keys().cloned();
        apis.chain(files).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File => f.write_str("a file"),
            Self::Store(name) => write!(f, "the secret `{name}` of the store"),
        }
    }
}
