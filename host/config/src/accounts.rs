//! `[accounts]`: people who log in at Witgate itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;
use witgate_basic::hash::Argon2Hash;

use crate::account_logins::ProviderSettings;

/// The settings of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// The files.
    pub place: AccountPlace,
    /// `iss` of the tokens: an origin.
    pub issuer: String,
    /// The lifetime of an access token.
    pub access_ttl: Duration,
    /// The time after which a person has to log in again, whatever they do.
    pub refresh_ttl: Duration,
    /// The time without a refresh after which a client's access ends.
    pub refresh_idle: Duration,
    /// The lifetime of a browser's session.
    pub session_ttl: Duration,
    /// The time without a page after which a browser's session ends.
    pub session_idle: Duration,
    /// True if clients may be known by the URL of a document (client ID metadata documents).
    pub takes_documents: bool,
    /// True if clients may register themselves (RFC 7591).
    pub takes_registrations: bool,
    /// The scopes that clients may get, each with its description for people.
    pub scopes: BTreeMap<String, String>,
    /// The cost of new hashes of passwords.
    pub password_cost: Argon2Hash,
    /// The names of the service, which are no passwords.
    pub service_names: Vec<String>,
    /// The users who need a second factor.
    pub second_factor: SecondFactorRule,
    /// The time for which a browser in which a code was shown need not show another. Zero: there is none.
    pub second_factor_remembered: Duration,
    /// The resources that tokens are for, in the order of the upstreams.
    pub resources: Vec<AccountResource>,
    /// The providers at which people log in, in place of a password.
    pub providers: Vec<ProviderSettings>,
}

impl AccountSettings {
    /// The host of the issuer, by which people know the server.
    pub fn host(&self) -> String {
        let host = Url::parse(&self.issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.unwrap_or_else(|| self.issuer.clone())
    }

    /// The host that passkeys are for. None: it is an address, for which there are no passkeys.
    pub fn passkey_host(&self) -> Option<String> {
        let url = Url::parse(&self.issuer).ok()?;
        url.domain().map(str::to_owned)
    }
}

/// The users who need a second factor besides a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondFactorRule {
    /// All.
    Everybody,
    /// Those with one of these roles.
    Roles(Vec<String>),
}

impl SecondFactorRule {
    /// True if a user with these roles needs one.
    pub fn is_for(&self, roles: &[String]) -> bool {
        match self {
            Self::Everybody => true,
            Self::Roles(strict) => strict.iter().any(|role| roles.contains(role)),
        }
    }
}

/// A resource that tokens are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountResource {
    /// The resource identifier, which is the audience of tokens.
    pub url: String,
    /// The path of the endpoint.
    pub path: String,
    /// The name for people.
    pub name: String,
}

/// The files of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPlace {
    /// The database.
    pub store: PathBuf,
    /// The directory of the files beside the database.
    pub folder: PathBuf,
}

impl AccountPlace {
    /// The place with this database, and with the files in a state directory.
    pub fn new(store: PathBuf, state: &std::path::Path) -> Self {
        Self { store, folder: state.join("accounts") }
    }

    /// The key that seals secrets of the database.
    pub fn sealing_key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// The id of the database to which the files belong.
    pub fn database_id(&self) -> PathBuf {
        self.folder.join("database")
    }

    /// The public keys with which tokens are judged (RFC 7517).
    pub fn key_set(&self) -> PathBuf {
        self.folder.join("keys.json")
    }

    /// The logins that have ended, as a file of revoked tokens.
    pub fn ended(&self) -> PathBuf {
        self.folder.join("ended.jsonl")
    }

    /// The keys that users have made for themselves, as a store of keys.
    pub fn own_keys(&self) -> PathBuf {
        self.folder.join("own-keys.toml")
    }
}
