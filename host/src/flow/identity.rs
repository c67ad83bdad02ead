//! The caller after authentication.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use witgate_plugin::Identity;

/// Name in `proven_by` of who showed no credential.
pub const ANONYMOUS: &str = "anonymous";

/// Name in `proven_by` of everybody where nobody is checked (`MCP_AUTH_ENABLED=false`).
pub const UNCHECKED: &str = "nobody, MCP_AUTH_ENABLED=false";

/// An authenticated caller, and the policy that has proven it. Only the authenticate stage makes one for a
/// request.
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

    /// The identity that the policy has established.
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

    /// True if the caller has shown no credential.
    pub fn is_anonymous(&self) -> bool {
        &*self.proven_by == ANONYMOUS
    }

    /// True where a credential has proved who it is: not the one caller that all are who have shown none.
    pub(crate) fn is_somebody(&self) -> bool {
        !self.is_anonymous() && &*self.proven_by != UNCHECKED
    }

    /// The party whose share of bounded tables this caller uses, calling from `peer`.
    pub fn party(&self, peer: Option<IpAddr>) -> Party {
        match peer {
            Some(peer) if self.principal().is_nameless() => Party::Network(network(peer)),
            _ => Party::Principal(self.principal()),
        }
    }

    /// The key of sessions and child processes: the same value for the same principal, whichever credential
    /// they used.
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

impl Principal {
    /// The policy that has proven it.
    pub(crate) fn proven_by(&self) -> &str {
        &self.proven_by
    }

    /// The issuer of the subject.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The subject, unique within policy and issuer.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// True if callers have no name: no credential was shown, or none is asked for.
    pub fn is_nameless(&self) -> bool {
        matches!(&*self.proven_by, ANONYMOUS | UNCHECKED)
    }
}

/// The owner of a share of a bounded table: a principal, or, where callers have no name, everybody in one
/// network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// Nobody in particular: what is everybody's, and Witgate's own.
    #[default]
    Everybody,
    /// Whoever has shown a credential.
    Principal(Principal),
    /// An IPv4 address, or the /64 of an IPv6 address, which one subscriber has (RFC 6177).
    Network(IpAddr),
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_without_a_name_are_told_apart_by_their_network() {
        let anonymous = crate::flow::testing::anonymous();
        let party = |peer: &str| anonymous.party(Some(peer.parse().unwrap()));
        assert_ne!(party("192.0.2.1"), party("192.0.2.2"));
        assert_eq!(party("192.0.2.1"), party("::ffff:192.0.2.1"));
        assert_eq!(party("2001:db8::1"), party("2001:db8::ffff:2"));
        assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
        let ada = Caller::new(Identity { subject: "ada".to_owned(), ..Identity::default() }, "keys".into());
        assert_eq!(ada.party(Some([192, 0, 2, 1].into())), ada.party(None), "a name is the same everywhere");
    }
}
