//! Parties, which have shares of bounded tables: principals, and networks of callers without a name.

use std::net::IpAddr;
use std::sync::Arc;

use crate::peer::Peer;

/// The value of `proven_by` for callers without a credential.
pub const ANONYMOUS: &str = "anonymous";

/// The value of `proven_by` for all callers if no policy checks them (`MCP_AUTH_ENABLED=false`).
pub const UNCHECKED: &str = "nobody, MCP_AUTH_ENABLED=false";

/// A caller's identity, for comparisons: the value is the same for the same subject, with any credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    proven_by: Arc<str>,
    issuer: Option<Arc<str>>,
    subject: Arc<str>,
}

impl Principal {
    /// The subject of an issuer, established by the policy `proven_by`.
    pub fn new(proven_by: Arc<str>, issuer: Option<&str>, subject: &str) -> Self {
        Self { proven_by, issuer: issuer.map(Arc::from), subject: Arc::from(subject) }
    }

    /// The principal as a text, which is different for every principal.
    pub fn to_text(&self) -> String {
        format!("{:?} {:?} {:?}", self.proven_by, self.issuer, self.subject)
    }

    /// The policy that has established the principal.
    pub fn proven_by(&self) -> &str {
        &self.proven_by
    }

    /// The issuer that vouches for the subject.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The subject, unique within policy and issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The party of this principal, if it calls from `peer`.
    pub fn party(self, peer: Option<IpAddr>) -> Party {
        match peer {
            Some(peer) if self.is_nameless() => Party::Network(peer.into()),
            _ => Party::Principal(self),
        }
    }

    /// True for callers without a credential, and if no credential is required.
    pub fn is_nameless(&self) -> bool {
        matches!(&*self.proven_by, ANONYMOUS | UNCHECKED)
    }
}

/// The owner of a share of a bounded table: a principal, or, for callers without a name, all callers of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// Witgate itself, and what belongs to all.
    #[default]
    Everybody,
    /// A caller with a credential.
    Principal(Principal),
    /// An IPv4 address, or the /64 network of an IPv6 address, which one subscriber has (RFC 6177).
    Network(Peer),
}
