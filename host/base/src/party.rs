//! Those who have a share of what all have together: principals, and networks of callers without a name.

use std::net::IpAddr;
use std::sync::Arc;

use crate::peer::Peer;

/// Name in `proven_by` of who showed no credential.
pub const ANONYMOUS: &str = "anonymous";

/// Name in `proven_by` of everybody where nobody is checked (`MCP_AUTH_ENABLED=false`).
pub const UNCHECKED: &str = "nobody, MCP_AUTH_ENABLED=false";

/// A caller's identity, for comparing: the same value for the same subject, whichever credential showed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal {
    proven_by: Arc<str>,
    issuer: Option<Arc<str>>,
    subject: Arc<str>,
}

impl Principal {
    /// The subject of an issuer, as the policy `proven_by` has established it.
    pub fn new(proven_by: Arc<str>, issuer: Option<&str>, subject: &str) -> Self {
        Self { proven_by, issuer: issuer.map(Arc::from), subject: Arc::from(subject) }
    }

    /// As one text, which is another one for every other principal.
    pub fn to_text(&self) -> String {
        format!("{:?} {:?} {:?}", self.proven_by, self.issuer, self.subject)
    }

    /// The policy that has proven it.
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

    /// The party whose share of bounded tables it uses, calling from `peer`.
    pub fn party(self, peer: Option<IpAddr>) -> Party {
        match peer {
            Some(peer) if self.is_nameless() => Party::Network(peer.into()),
            _ => Party::Principal(self),
        }
    }

    /// True for everybody who shows no credential, or who is not asked for one.
    pub fn is_nameless(&self) -> bool {
        matches!(&*self.proven_by, ANONYMOUS | UNCHECKED)
    }
}

/// The owner of a share of a bounded table: a principal's, or, where callers have no name, that of everybody in
/// one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// Nobody in particular: what is everybody's, and Witgate's own.
    #[default]
    Everybody,
    /// A caller who has shown a credential.
    Principal(Principal),
    /// An IPv4 address, or the /64 of an IPv6 address, which one subscriber has (RFC 6177).
    Network(Peer),
}
