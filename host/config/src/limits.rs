//! `[limits.NAME]` and `[lockout]`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use witgate_plugin::Pattern;

use crate::PolicyKind;

/// `[limits.NAME]`: how many calls in a time, and how many at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimit {
    /// The limit's name.
    pub name: String,
    /// Patterns of the limited calls, as configured.
    pub on: Vec<String>,
    /// The same, ready to match.
    pub patterns: Vec<Pattern>,
    /// The properties of a call that have a bucket for each value.
    pub per: BTreeSet<LimitPer>,
    /// Calls in a time. None: any number.
    pub rate: Option<CallRate>,
    /// Calls that may run at the same time. None: any number.
    pub concurrent: Option<u32>,
    /// The roles of the limited callers. None: all callers.
    pub roles: Option<Vec<String>>,
    /// The kinds of credentials of the limited callers. None: all kinds.
    pub kinds: Option<BTreeSet<CredentialKind>>,
    /// The limited upstreams. None: all upstreams.
    pub upstreams: Option<Vec<String>>,
}

/// A rate of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRate {
    /// The number of calls, at least one.
    pub count: u32,
    /// The time for them.
    pub period: Duration,
    /// The number of calls that may come at once, at least one.
    pub burst: u32,
}

/// In the form of the configuration, such as `100/min`.
impl fmt::Display for CallRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, seconds)| *seconds == self.period.as_secs());
        match unit {
            Some((unit, _)) => write!(f, "{}/{unit}", self.count),
            None => write!(f, "{}/{:?}", self.count, self.period),
        }
    }
}

/// A property of a call that has a bucket for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitPer {
    /// The caller; callers without a credential by their network.
    Principal,
    /// The kind of the caller's credential.
    Credential,
    /// Each role of the caller.
    Role,
    /// The address: an IPv4 address or an IPv6 /64 network.
    Peer,
    /// The upstream.
    Upstream,
    /// The tool, resource or prompt, or else the method.
    Target,
}

impl LimitPer {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Credential => "credential",
            Self::Role => "role",
            Self::Peer => "peer",
            Self::Upstream => "upstream",
            Self::Target => "target",
        }
    }
}

/// A kind of credential: that of the policy that accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// An API key.
    ApiKey,
    /// A user name and a password.
    Basic,
    /// A JSON Web Token.
    Jwt,
    /// A token that an authorization server is asked about.
    #[serde(rename = "oauth2-introspection")]
    Introspection,
    /// A client certificate.
    ClientCertificate,
    /// A credential for a component of your own.
    Custom,
    /// No credential.
    Anonymous,
}

impl CredentialKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::ApiKey,
        Self::Basic,
        Self::Jwt,
        Self::Introspection,
        Self::ClientCertificate,
        Self::Custom,
        Self::Anonymous,
    ];

    /// The kind of credentials that policies of a kind accept, if they accept any.
    pub fn of(policy: PolicyKind) -> Option<Self> {
        match policy {
            PolicyKind::ApiKey => Some(Self::ApiKey),
            PolicyKind::Basic => Some(Self::Basic),
            PolicyKind::Jwt => Some(Self::Jwt),
            PolicyKind::Introspection => Some(Self::Introspection),
            PolicyKind::ClientCertificate => Some(Self::ClientCertificate),
            PolicyKind::Custom => Some(Self::Custom),
            PolicyKind::Rbac => None,
        }
    }

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKey => PolicyKind::ApiKey.name(),
            Self::Basic => PolicyKind::Basic.name(),
            Self::Jwt => PolicyKind::Jwt.name(),
            Self::Introspection => PolicyKind::Introspection.name(),
            Self::ClientCertificate => PolicyKind::ClientCertificate.name(),
            Self::Custom => PolicyKind::Custom.name(),
            Self::Anonymous => "anonymous",
        }
    }
}

/// The units of a rate, with their seconds.
pub(crate) const UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3600), ("day", 86_400)];

/// `[lockout]`: pauses after failed authentications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// Failures without a pause.
    pub failures: u32,
    /// The first pause. Each further failure doubles it.
    pub pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// The time without a failure after which all failures are forgotten.
    pub forget: Duration,
}

impl Default for Lockout {
    fn default() -> Self {
        Self {
            // A person who mistypes a key, and a few programs with an old one.
            failures: 10,
            // Longer than a guess takes, shorter than a person's patience.
            pause: Duration::from_secs(5),
            // With it, an address has a hundred guesses a day.
            max_pause: Duration::from_secs(900),
            // As long as the longest pause.
            forget: Duration::from_secs(900),
        }
    }
}

/// The methods that limits may name: those of the protocol, and the requests about a session without a message.
pub const METHODS: [&str; 27] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "server/discover",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "subscriptions/listen",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "tasks/result",
    "tasks/list",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "GET",
    "DELETE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_properties_have_the_names_by_which_they_are_read() {
        let read = |name: &str| serde_json::from_value::<CredentialKind>(name.into()).unwrap();
        let kinds =
            ["api-key", "basic", "jwt", "oauth2-introspection", "client-certificate", "custom", "anonymous"];
        for kind in kinds {
            assert_eq!(read(kind).name(), kind);
        }
        assert_eq!(CredentialKind::ALL.map(CredentialKind::name), kinds);
        for per in ["principal", "credential", "role", "peer", "upstream", "target"] {
            assert_eq!(serde_json::from_value::<LimitPer>(per.into()).unwrap().name(), per);
        }
    }
}
