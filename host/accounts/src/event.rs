//! Changes of accounts, for the audit log.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::moment::now_ms;

/// Something that has happened to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountAction {
    /// A person has logged in.
    LoggedIn,
    /// A login was refused.
    LoginRefused,
    /// A person has logged out of a browser.
    LoggedOut,
    /// A person has given a client access.
    AccessGiven,
    /// A person has refused a client.
    AccessRefused,
    /// The access of a client has ended.
    AccessEnded,
    /// All logins of a user have ended.
    LoginsEnded,
    /// There is a new user.
    UserAdded,
    /// A user is refused from now on.
    UserDisabled,
    /// A user is accepted again.
    UserEnabled,
    /// A user is removed.
    UserRemoved,
    /// A user has a new password.
    PasswordChanged,
    /// There is a link with which a user chooses a password.
    LinkMade,
    /// A user has set up a second factor.
    FactorAdded,
    /// The second factor of a user is removed.
    FactorRemoved,
    /// A user has other recovery codes.
    CodesRenewed,
    /// A user has a further passkey.
    PasskeyAdded,
    /// A passkey of a user is removed.
    PasskeyRemoved,
    /// A user has other roles.
    RolesChanged,
    /// A user has a new key for programs.
    KeyMade,
    /// A key of a user has ended.
    KeyEnded,
    /// A user may log in with an identity at a provider.
    IdentityLinked,
    /// A user may no longer log in with an identity at a provider.
    IdentityRemoved,
    /// Tokens are signed with a new key.
    KeyRotated,
}

/// The one who has asked for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Actor {
    /// A person at the command line, as the system knows them.
    Operator {
        /// The user of the system.
        uid: u32,
        /// The process.
        pid: u32,
    },
    /// A user of the accounts, by id.
    User {
        /// The id.
        user: String,
    },
    /// A client, by id.
    Client {
        /// The id.
        client: String,
    },
    /// Somebody at this address.
    Sender {
        /// The address.
        address: IpAddr,
    },
}

impl Actor {
    /// The person who runs this program.
    pub fn operator() -> Self {
        Self::Operator { uid: rustix::process::getuid().as_raw(), pid: std::process::id() }
    }
}

/// An entry for the audit log. It has no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEvent {
    /// The time, in milliseconds since 1970.
    pub at: i64,
    /// The kind of the event.
    pub action: AccountAction,
    /// The one who has asked for it. None: nobody is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// The id of the user whose account it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The id of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The resource that the client may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The id of the user's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The scopes of the client, or of the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The roles of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The reason, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The way of the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The name of the provider at which the person has logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The address of the browser or client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The number of equal events that are left out since the last one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl AccountEvent {
    /// An event of now, about nobody.
    pub fn now(action: AccountAction) -> Self {
        Self {
            at: now_ms(),
            action,
            by: None,
            user: None,
            name: None,
            client: None,
            resource: None,
            key: None,
            scopes: Vec::new(),
            roles: None,
            reason: None,
            method: None,
            provider: None,
            peer: None,
            others: 0,
        }
    }

    /// The same about a user.
    #[must_use]
    pub fn about(self, id: &str, name: &str) -> Self {
        Self { user: Some(id.to_owned()), name: Some(name.to_owned()), ..self }
    }

    /// The same with a reason.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }
}
