//! The credentials of a request, in types that never print their values. Here they are only extracted, not verified.

use std::sync::Arc;

use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use witgate_plugin::{Credential, Scheme};

/// The credentials of one request, at most one of each scheme, and the proof for a token.
#[derive(Debug, Default)]
pub struct Credentials {
    items: Vec<Item>,
    proof: Option<SecretString>,
    several_proofs: bool,
}

/// The proofs of possession (`DPoP`) in a request.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// No proof.
    None,
    /// One proof.
    One(&'a str),
    /// More than one, which is invalid.
    Several,
}

#[derive(Debug)]
struct Item {
    scheme: Scheme,
    /// The header, for [`Scheme::Header`]. None over stdio, where `MCP_API_KEY` stands for any header.
    header: Option<HeaderName>,
    /// The policy that has declared the argument, for [`Scheme::Argument`]. No other policy judges it.
    policy: Option<Arc<str>>,
    value: SecretString,
    /// True if the credential is only for shadow policies. The live policies do not see it.
    watched: bool,
}

impl Credentials {
    /// Adds a credential. The caller ensures that there is one of each scheme and header.
    pub fn add(&mut self, scheme: Scheme, header: Option<HeaderName>, value: SecretString) {
        self.items.push(Item { scheme, header, policy: None, value, watched: false });
    }

    /// Adds the credential in an argument that `policy` has declared. With `watched`, the policy is a shadow.
    pub(crate) fn add_argument(&mut self, policy: Arc<str>, value: SecretString, watched: bool) {
        self.items.push(Item {
            scheme: Scheme::Argument,
            header: None,
            policy: Some(policy),
            value,
            watched,
        });
    }

    /// Moves the credentials of `others` here.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.items.append(&mut others.items);
    }

    /// Removes the credentials of this scheme that live policies judge.
    pub(crate) fn remove(&mut self, scheme: Scheme) {
        self.items.retain(|item| item.scheme != scheme || item.watched);
    }

    /// Adds a credential that only shadow policies judge.
    pub fn add_watched(&mut self, scheme: Scheme, value: SecretString) {
        self.items.push(Item { scheme, header: None, policy: None, value, watched: true });
    }

    /// Adds a proof of possession.
    pub fn add_proof(&mut self, proof: SecretString) {
        self.several_proofs |= self.proof.replace(proof).is_some();
    }

    /// The proof of possession.
    pub fn proof(&self) -> Proof<'_> {
        match &self.proof {
            None => Proof::None,
            Some(_) if self.several_proofs => Proof::Several,
            Some(proof) => Proof::One(proof.expose_secret()),
        }
    }

    /// The credential of a scheme that can occur only once.
    pub fn of(&self, scheme: Scheme) -> Option<&str> {
        self.items.iter().find(|item| item.scheme == scheme).map(|item| item.value.expose_secret())
    }

    /// The texts of all credentials, each with its scheme, and of the proof, which has no scheme.
    pub fn texts(&self) -> impl Iterator<Item = (Option<Scheme>, &str)> {
        let items = self.items.iter().map(|item| (Some(item.scheme), item.value.expose_secret()));
        items.chain(self.proof.iter().map(|proof| (None, proof.expose_secret())))
    }

    /// The credentials that live policies judge: the scheme, the header, and the text.
    pub fn items(&self) -> impl Iterator<Item = (Scheme, Option<&HeaderName>, &str)> {
        self.items
            .iter()
            .filter(|item| !item.watched)
            .map(|item| (item.scheme, item.header.as_ref(), item.value.expose_secret()))
    }

    /// Two of these headers with different credentials, one of which a policy would have to choose.
    pub fn conflict(&self, headers: &[HeaderName]) -> Option<[&HeaderName; 2]> {
        let is_there = |item: &&Item| item.header.as_ref().is_some_and(|name| headers.contains(name));
        let mut items = self.items.iter().filter(is_there);
        let first = items.next()?;
        let other = items.find(|item| item.value.expose_secret() != first.value.expose_secret())?;
        Some([first.header.as_ref()?, other.header.as_ref()?])
    }

    /// A copy, for a shadow policy that judges after the request has been forwarded.
    pub fn copy(&self) -> Self {
        let copy = |item: &Item| Item {
            scheme: item.scheme,
            header: item.header.clone(),
            policy: item.policy.clone(),
            value: SecretString::from(item.value.expose_secret()),
            watched: item.watched,
        };
        Self {
            items: self.items.iter().map(copy).collect(),
            proof: self.proof.as_ref().map(|proof| SecretString::from(proof.expose_secret())),
            several_proofs: self.several_proofs,
        }
    }

    /// True if the request has no credential.
    pub fn is_empty(&self) -> bool {
        self.items.iter().all(|item| item.watched)
    }

    /// The first credential that a policy judges, in the policy's order of preference. `policy` is its name if it has
    /// declared an argument.
    pub fn first_of(
        &self,
        schemes: &[Scheme],
        headers: &[HeaderName],
        policy: Option<&str>,
    ) -> Option<Credential<'_>> {
        let is_own = |item: &Item| match item.scheme {
            Scheme::Header => item.header.as_ref().is_none_or(|name| headers.contains(name)),
            Scheme::Argument => policy.is_some() && item.policy.as_deref() == policy,
            _ => true,
        };
        schemes.iter().find_map(|&scheme| {
            let item = self.items.iter().find(|item| item.scheme == scheme && is_own(item))?;
            Some(Credential { scheme, value: item.value.expose_secret() })
        })
    }
}
