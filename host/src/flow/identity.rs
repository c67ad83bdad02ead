//! Who a caller is after authentication.

use std::sync::Arc;

use witgate_plugin::Identity;

/// Name in `proven_by` of who showed no credential.
pub const ANONYMOUS: &str = "anonymous";

/// Name in `proven_by` of everybody where nobody is checked (`MCP_AUTH_ENABLED=false`).
pub const UNCHECKED: &str = "nobody, MCP_AUTH_ENABLED=false";

/// Who a caller is, and which policy has proven it. On a request's way, the authenticate stage alone
/// makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    proven_by: Arc<str>,
    /// The same caller, as the authenticators of the pipeline that is to follow see them.
    by_next: Option<Arc<Caller>>,
}

impl Caller {
    pub(crate) fn new(identity: Identity, proven_by: Arc<str>) -> Self {
        Self { identity, proven_by, by_next: None }
    }

    /// Adds how the authenticators of the next pipeline see the same caller.
    pub(super) fn also_known_as(self, by_next: Self) -> Self {
        Self { by_next: Some(Arc::new(by_next)), ..self }
    }

    /// The caller as the authenticators of the next pipeline see them, where there is one.
    pub(super) fn by_next(&self) -> Option<&Arc<Self>> {
        self.by_next.as_ref()
    }

    /// What the policy has established.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// As an authorizer sees it.
    pub(crate) fn as_principal(&self) -> witgate_plugin::Principal<'_> {
        witgate_plugin::Principal {
            subject: &self.identity.subject,
            proven_by: &self.proven_by,
            roles: &self.identity.roles,
            scopes: &self.identity.scopes,
        }
    }

    /// The policy that has proven it, or [`ANONYMOUS`].
    pub fn proven_by(&self) -> &Arc<str> {
        &self.proven_by
    }

    /// Whether no credential was shown.
    pub fn is_anonymous(&self) -> bool {
        &*self.proven_by == ANONYMOUS
    }

    /// True where a credential has proved who it is: not the one caller that all are who have shown none.
    pub(crate) fn is_somebody(&self) -> bool {
        !self.is_anonymous() && &*self.proven_by != UNCHECKED
    }

    /// What sessions and child processes are bound to: the same value for the same principal,
    /// whichever credential showed it.
    pub fn principal(&self) -> Principal {
        Principal {
            proven_by: Arc::clone(&self.proven_by),
            issuer: self.identity.issuer.as_deref().map(Arc::from),
            subject: Arc::from(self.identity.subject.as_str()),
        }
    }
}

impl Principal {
    /// As one text, which is another one for every other principal.
    pub(super) fn to_text(&self) -> String {
        format!("{:?} {:?} {:?}", self.proven_by, self.issuer, self.subject)
    }
}

/// A principal, for comparing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    proven_by: Arc<str>,
    issuer: Option<Arc<str>>,
    subject: Arc<str>,
}
