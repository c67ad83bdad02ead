//! The caller after authentication.

use std::net::IpAddr;
use std::sync::Arc;

use witgate_plugin::{Identity, Scheme};

use witgate_base::party::{ANONYMOUS, Party, Principal, UNCHECKED};

/// An authenticated caller, and the policy that has established the identity. Only the stage authenticate makes one
/// for a request; an explanation may assume one, for a request that no upstream gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    proven_by: Arc<str>,
    /// The scheme of the credential that has proven the identity. None: there is none.
    scheme: Option<Scheme>,
    /// The same caller, as the authenticators of the pipeline that is held back know them.
    by_next: Option<Arc<Caller>>,
}

impl Caller {
    pub(super) fn new(identity: Identity, proven_by: Arc<str>) -> Self {
        Self { identity, proven_by, scheme: None, by_next: None }
    }

    /// A caller for an explanation, as if the policy `proven_by` had established the identity.
    pub(crate) fn assumed(identity: Identity, proven_by: Arc<str>) -> Self {
        Self::new(identity, proven_by)
    }

    /// The same caller, known by a credential of this scheme.
    pub(super) fn known_by(self, scheme: Scheme) -> Self {
        Self { scheme: Some(scheme), ..self }
    }

    /// Adds the same caller as the authenticators of the next pipeline know them.
    pub(super) fn also_known_as(self, by_next: Self) -> Self {
        Self { by_next: Some(Arc::new(by_next)), ..self }
    }

    /// The caller as the authenticators of the next pipeline know them, if there is one.
    pub(crate) fn by_next(&self) -> Option<&Arc<Self>> {
        self.by_next.as_ref()
    }

    /// The identity that the policy has established.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The scheme of the credential that has proven the identity.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The principal, for an authorizer.
    pub(crate) fn as_principal(&self) -> witgate_plugin::Principal<'_> {
        witgate_plugin::Principal {
            subject: &self.identity.subject,
            proven_by: &self.proven_by,
            roles: &self.identity.roles,
            scopes: &self.identity.scopes,
        }
    }

    /// The policy that has established the identity, or [`ANONYMOUS`].
    pub fn proven_by(&self) -> &Arc<str> {
        &self.proven_by
    }

    /// True if the caller has no credential.
    pub fn is_anonymous(&self) -> bool {
        &*self.proven_by == ANONYMOUS
    }

    /// True if a credential has proven the identity. False for the anonymous caller, which stands for all senders
    /// without one.
    pub(crate) fn is_somebody(&self) -> bool {
        !self.is_anonymous() && &*self.proven_by != UNCHECKED
    }

    /// The party whose share of bounded tables this caller uses, calling from `peer`.
    pub fn party(&self, peer: Option<IpAddr>) -> Party {
        self.principal().party(peer)
    }

    /// The key of sessions and child processes: the same value for the same principal, with any credential.
    pub fn principal(&self) -> Principal {
        let Identity { issuer, subject, .. } = &self.identity;
        Principal::new(Arc::clone(&self.proven_by), issuer.as_deref(), subject)
    }
}

/// A caller with this name, for the tests of later stages.
#[cfg(test)]
pub(crate) fn caller(subject: &str) -> Arc<Caller> {
    let identity = Identity { subject: subject.to_owned(), ..Identity::default() };
    Arc::new(Caller::new(identity, "keys".into()))
}

/// The caller of this identity, known by a policy.
#[cfg(test)]
pub(crate) fn caller_of(policy: &str, identity: Identity) -> Caller {
    Caller::new(identity, policy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_without_a_name_are_distinguished_by_their_network() {
        let anonymous = Caller::new(Identity::default(), ANONYMOUS.into());
        let party = |peer: &str| anonymous.party(Some(peer.parse().unwrap()));
        assert_ne!(party("192.0.2.1"), party("192.0.2.2"));
        assert_eq!(party("192.0.2.1"), party("::ffff:192.0.2.1"));
        assert_eq!(party("2001:db8::1"), party("2001:db8::ffff:2"));
        assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
        let ada = Caller::new(Identity { subject: "ada".to_owned(), ..Identity::default() }, "keys".into());
        assert_eq!(ada.party(Some([192, 0, 2, 1].into())), ada.party(None), "a name is the same everywhere");
    }
}
