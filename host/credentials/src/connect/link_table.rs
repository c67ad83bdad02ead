//! The bounded table of links. Each principal has a share of it.

use std::collections::HashMap;

use witgate_plugin::Digest;

use super::invitee::Invitee;
use super::link::{ConnectLink, LinkStage};
use super::link_key::LinkKey;
use witgate_base::party::Principal;
use witgate_runtime::shares::{Capacity, Holdings};

/// A person has one link for each credential, and some in other windows.
const BOUNDS: Capacity = Capacity { most: 4096, most_of_one: 16 };

/// The links.
#[derive(Default)]
pub(super) struct LinkTable {
    links: HashMap<LinkKey, ConnectLink>,
    of: HashMap<Principal, Vec<LinkKey>>,
    states: HashMap<Digest, LinkKey>,
    held: Holdings<Principal>,
}

impl LinkTable {
    /// Adds a link. If there is no room, the oldest link of the principal with the most links ends.
    pub(super) fn add(&mut self, link: ConnectLink) {
        let principal = link.invitee.principal.clone();
        self.remove_ended_of(&principal);
        if self.held.all() >= BOUNDS.most {
            let ended: Vec<_> =
                self.links.values().filter(|link| link.is_over()).map(ConnectLink::key).collect();
            ended.iter().for_each(|key| self.remove(key));
        }
        while let Some(giving) = self.held.gives_way(&principal, 1, BOUNDS) {
            let Some(oldest) = self.of.get(&giving).and_then(|keys| keys.first()).cloned() else { return };
            self.remove(&oldest);
        }
        let key = link.key();
        self.held.add(&principal, 1);
        self.of.entry(principal).or_default().push(key.clone());
        self.links.insert(key, link);
    }

    /// The link of this principal that nobody has used.
    pub(super) fn unused(&self, invitee: &Invitee) -> Option<&ConnectLink> {
        let keys = self.of.get(&invitee.principal)?;
        keys.iter().filter_map(|key| self.links.get(key)).find(|link| link.fits(invitee))
    }

    /// The link with this text in its URL.
    pub(super) fn get(&self, secret: &str) -> Option<&ConnectLink> {
        self.links.get(&LinkKey::of(secret)).filter(|link| !link.is_over())
    }

    /// The same, for a change.
    pub(super) fn get_mut(&mut self, secret: &str) -> Option<&mut ConnectLink> {
        self.links.get_mut(&LinkKey::of(secret)).filter(|link| !link.is_over())
    }

    /// Notes the digest of the state of a link's login.
    pub(super) fn note_state(&mut self, state: Digest, key: LinkKey) {
        self.states.insert(state, key);
    }

    /// The link whose login has this state.
    pub(super) fn by_state(&mut self, state: &Digest) -> Option<&mut ConnectLink> {
        let key = self.states.get(state)?;
        self.links.get_mut(key).filter(|link| !link.is_over())
    }

    /// True if the link with this id is neither used to its end nor gone.
    pub(super) fn is_under_way(&self, id: &str) -> bool {
        let mut links = self.links.iter();
        let found = links.find(|(key, _)| key.id() == id);
        found.is_some_and(|(_, link)| !link.is_over() && !matches!(link.stage, LinkStage::Connected { .. }))
    }

    /// Marks a link as connected, and returns its text.
    pub(super) fn connect(&mut self, key: &LinkKey, browser: Digest) -> Option<Box<str>> {
        let link = self.links.get_mut(key)?;
        link.stage = LinkStage::Connected { browser };
        Some(link.secret.clone())
    }

    /// Removes a link, unless it has connected an account.
    pub(super) fn remove_unless_connected(&mut self, key: &LinkKey) {
        let link = self.links.get(key);
        if link.is_some_and(|link| !matches!(link.stage, LinkStage::Connected { .. })) {
            self.remove(key);
        }
    }

    /// Removes a link.
    pub(super) fn remove(&mut self, key: &LinkKey) {
        let Some(link) = self.links.remove(key) else { return };
        let principal = link.invitee.principal;
        self.held.remove(&principal, 1);
        self.states.retain(|_, other| other != key);
        if let Some(keys) = self.of.get_mut(&principal) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.of.remove(&principal);
            }
        }
    }

    fn remove_ended_of(&mut self, principal: &Principal) {
        let keys = self.of.get(principal).cloned().unwrap_or_default();
        let is_over = |key: &&LinkKey| self.links.get(key).is_none_or(ConnectLink::is_over);
        let ended: Vec<_> = keys.iter().filter(is_over).cloned().collect();
        ended.iter().for_each(|key| self.remove(key));
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.links.len(), self.of.len(), self.states.len())
    }
}
