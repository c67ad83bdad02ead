//! The names of buckets: the properties of a call, borrowed while it is checked, and owned in a table.

use std::sync::Arc;

use smallvec::SmallVec;
use witgate_plugin::{Digest, TargetKind};

use witgate_base::digest::{digest_text, sha256};
use witgate_base::peer::Peer;
use witgate_config::limits::{CredentialKind, LimitPer};
use witgate_runtime::buckets::BucketName;

/// The longest text in a table, in bytes. Of a longer one, the table has the beginning and the digest, so that made-up
/// names cost no more memory than others.
const LONGEST: usize = 128;

/// The bucket of a call, as the properties that distinguish it from the other buckets of its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallBucket<'a>(SmallVec<[CallPart<'a>; 3]>);

/// A property of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallPart<'a> {
    /// The caller with a credential.
    Principal {
        /// The policy that has established the identity.
        proven_by: &'a Arc<str>,
        /// The issuer of the subject.
        issuer: Option<&'a str>,
        /// The subject.
        subject: &'a str,
    },
    /// The network of a caller without a credential.
    Network(Peer),
    /// The kind of credential.
    Credential(Option<CredentialKind>),
    /// A role. None: the caller has none.
    Role(Option<&'a str>),
    /// The sender's address. None: over stdio.
    Peer(Option<Peer>),
    /// The upstream.
    Upstream(&'a Arc<str>),
    /// The target.
    Target(TargetKind, &'a str),
}

impl<'a> CallBucket<'a> {
    /// Adds a property.
    pub fn push(&mut self, part: CallPart<'a>) {
        self.0.push(part);
    }
}

/// The name of a bucket in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketKey(Box<[KeyPart]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyPart {
    Caller { proven_by: Arc<str>, issuer: Option<BucketText>, subject: BucketText },
    Network(Peer),
    Credential(Option<CredentialKind>),
    Role(Option<BucketText>),
    Peer(Option<Peer>),
    Upstream(Arc<str>),
    Target(TargetKind, BucketText),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum BucketText {
    Whole(Box<str>),
    Long { start: Box<str>, digest: Digest },
}

impl BucketText {
    fn of(text: &str) -> Self {
        if text.len() <= LONGEST {
            return Self::Whole(text.into());
        }
        let start = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default().into();
        Self::Long { start, digest: sha256(text.as_bytes()) }
    }

    fn is(&self, text: &str) -> bool {
        match self {
            Self::Whole(whole) => **whole == *text,
            Self::Long { start, digest } => {
                text.len() > LONGEST && text.starts_with(&**start) && sha256(text.as_bytes()) == *digest
            }
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Whole(whole) => whole.to_string(),
            Self::Long { start, digest } => format!("{start}… ({})", digest_text(digest)),
        }
    }
}

impl CallPart<'_> {
    fn to_key(self) -> KeyPart {
        match self {
            Self::Principal { proven_by, issuer, subject } => KeyPart::Caller {
                proven_by: Arc::clone(proven_by),
                issuer: issuer.map(BucketText::of),
                subject: BucketText::of(subject),
            },
            Self::Network(peer) => KeyPart::Network(peer),
            Self::Credential(kind) => KeyPart::Credential(kind),
            Self::Role(role) => KeyPart::Role(role.map(BucketText::of)),
            Self::Peer(peer) => KeyPart::Peer(peer),
            Self::Upstream(upstream) => KeyPart::Upstream(Arc::clone(upstream)),
            Self::Target(kind, name) => KeyPart::Target(kind, BucketText::of(name)),
        }
    }

    fn is(self, key: &KeyPart) -> bool {
        match (self, key) {
            (
                Self::Principal { proven_by, issuer, subject },
                KeyPart::Caller { proven_by: by, issuer: of, subject: who },
            ) => **by == **proven_by && is_same(issuer, of.as_ref()) && who.is(subject),
            (Self::Network(peer), KeyPart::Network(other)) => peer == *other,
            (Self::Credential(kind), KeyPart::Credential(other)) => kind == *other,
            (Self::Role(role), KeyPart::Role(other)) => is_same(role, other.as_ref()),
            (Self::Peer(peer), KeyPart::Peer(other)) => peer == *other,
            (Self::Upstream(upstream), KeyPart::Upstream(other)) => **upstream == **other,
            (Self::Target(kind, name), KeyPart::Target(other, known)) => kind == *other && known.is(name),
            _ => false,
        }
    }
}

fn is_same(text: Option<&str>, known: Option<&BucketText>) -> bool {
    match (text, known) {
        (Some(text), Some(known)) => known.is(text),
        (None, None) => true,
        _ => false,
    }
}

impl BucketName<BucketKey> for CallBucket<'_> {
    fn is(&self, key: &BucketKey) -> bool {
        self.0.len() == key.0.len() && self.0.iter().zip(&key.0).all(|(part, key)| part.is(key))
    }

    fn to_key(&self) -> BucketKey {
        BucketKey(self.0.iter().map(|part| part.to_key()).collect())
    }
}

impl BucketKey {
    /// The properties with their values, for people.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().map(KeyPart::shown)
    }
}

impl KeyPart {
    fn shown(&self) -> (&'static str, String) {
        let peer = |peer: &Option<Peer>| peer.map_or_else(|| "stdio".to_owned(), |peer| peer.to_string());
        let (property, value) = match self {
            Self::Caller { proven_by, issuer, subject } => {
                let of = issuer.as_ref().map(|issuer| format!(" of {}", issuer.shown())).unwrap_or_default();
                (LimitPer::Principal, format!("{}{of} ({proven_by})", subject.shown()))
            }
            Self::Network(network) => (LimitPer::Principal, network.to_string()),
            Self::Credential(kind) => {
                (LimitPer::Credential, kind.map_or("unknown", CredentialKind::name).to_owned())
            }
            Self::Role(role) => {
                (LimitPer::Role, role.as_ref().map_or_else(|| "none".to_owned(), BucketText::shown))
            }
            Self::Peer(address) => (LimitPer::Peer, peer(address)),
            Self::Upstream(upstream) => (LimitPer::Upstream, upstream.to_string()),
            Self::Target(kind, name) => (LimitPer::Target, format!("{}{}", prefix(*kind), name.shown())),
        };
        (property.name(), value)
    }
}

/// The prefix of a kind of target in patterns.
fn prefix(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Tool => "",
        TargetKind::Resource => "resource:",
        TargetKind::Prompt => "prompt:",
        TargetKind::Method => "method:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_kept_as_its_beginning_and_its_digest() {
        let [one, other] = ["a", "b"].map(|end| format!("{}{end}", "x".repeat(9000)));
        let bucket = |name| {
            let mut bucket = CallBucket::default();
            bucket.push(CallPart::Target(TargetKind::Tool, name));
            bucket
        };
        let key = bucket(&one).to_key();
        assert!(bucket(&one).is(&key) && !bucket(&other).is(&key) && !bucket("x").is(&key));
        let (_, shown) = key.parts().next().unwrap();
        assert!(shown.len() < 256, "{shown}");
    }

    #[test]
    fn buckets_of_different_properties_are_different() {
        let by: Arc<str> = "keys".into();
        let parts = [
            CallPart::Principal { proven_by: &by, issuer: None, subject: "a" },
            CallPart::Principal { proven_by: &by, issuer: Some("a"), subject: "a" },
            CallPart::Role(Some("a")),
            CallPart::Role(None),
            CallPart::Upstream(&by),
            CallPart::Target(TargetKind::Tool, "a"),
            CallPart::Target(TargetKind::Prompt, "a"),
            CallPart::Peer(None),
        ];
        for (place, part) in parts.iter().enumerate() {
            let same = parts.iter().map(|other| other.is(&part.to_key()));
            assert_eq!(same.collect::<Vec<_>>(), (0..parts.len()).map(|p| p == place).collect::<Vec<_>>());
        }
    }
}
