//! `[credentials]`: the credentials with which Witgate calls upstreams.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

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
}

impl OutboundSource {
    /// The kind, as the configuration names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Basic { .. } => "basic",
        }
    }

    /// The place of the first secret that is missing. None: all are known.
    pub fn missing(&self) -> Option<&SecretPlace> {
        let secrets: &[&Retrieval] = match self {
            Self::Static(value) => &[value],
            Self::Basic { user, password } => &[user, password],
        };
        secrets.iter().find_map(|secret| match secret {
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
    /// The names that the configuration has here, also of invalid credentials.
    pub names: Vec<String>,
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File => f.write_str("a file"),
        }
    }
}
