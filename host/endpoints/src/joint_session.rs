//! The sessions of an endpoint. Each stands for one session at each upstream. Its id proves nothing: the upstreams' own
//! sessions belong to a principal, and their flows check that for every message.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use parking_lot::Mutex;
use witgate_base::party::Party;
use witgate_flow::reject::Rejection;
use witgate_runtime::shares::{Capacity, Holdings};

/// 192 bits, which nobody can guess.
const ID_BYTES: usize = 24;

/// As many as at an upstream over HTTP.
const SESSIONS: Capacity = Capacity { most: 10_000, most_of_one: 1_000 };

/// The time without a message and without a stream after which a session ends, as at an upstream.
const IDLE: Duration = Duration::from_secs(3600);

/// Idle time after which a session may be ended in favour of another.
const DISPLACEABLE: Duration = Duration::from_secs(30);

/// The number of remembered ids and of progress tokens in a session. An answer to an older request that comes in
/// another stream than its own is left out.
const REMEMBERED: usize = 256;

/// The longest handshake that is kept for upstreams that join later.
const LONGEST_HANDSHAKE: usize = 64 << 10;

/// A session of an endpoint.
#[derive(Debug)]
pub(crate) struct JointSession {
    /// The party whose share the session uses.
    party: Party,
    /// The `initialize` request with the agreed version. None: it is too long to be kept.
    handshake: Option<Bytes>,
    /// The agreed version.
    pub(crate) version: Box<str>,
    state: Mutex<JointState>,
}

#[derive(Debug)]
struct JointState {
    used: Instant,
    /// By the place of the upstream.
    upstreams: Vec<Joining>,
    /// The latest requests, and progress tokens, with the places of their upstreams.
    requests: VecDeque<(Box<str>, usize)>,
    tokens: VecDeque<(Box<str>, usize)>,
}

/// The state of the handshake with an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// It has not.
    Absent,
    /// It has. None: it keeps no sessions.
    Joined(Option<Box<str>>),
}

impl JointSession {
    /// A session with these upstreams.
    pub(crate) fn new(party: Party, handshake: Bytes, version: &str, upstreams: Vec<Joining>) -> Self {
        let handshake = Some(handshake).filter(|handshake| handshake.len() <= LONGEST_HANDSHAKE);
        let (requests, tokens) = Default::default();
        let state = JointState { used: Instant::now(), upstreams, requests, tokens };
        Self { party, handshake, version: version.into(), state: Mutex::new(state) }
    }

    pub(crate) fn handshake(&self) -> Option<&Bytes> {
        self.handshake.as_ref()
    }

    /// The state of the upstream at `place`.
    pub(crate) fn at(&self, place: usize) -> Joining {
        self.state.lock().upstreams.get(place).cloned().unwrap_or(Joining::Absent)
    }

    /// Lets the upstream at `place` join. Returns false if it has joined meanwhile.
    pub(crate) fn join(&self, place: usize, session: Option<Box<str>>) -> bool {
        let mut state = self.state.lock();
        let Some(joining @ Joining::Absent) = state.upstreams.get_mut(place) else { return false };
        *joining = Joining::Joined(session);
        true
    }

    /// Remembers to which upstream a request goes, and its progress token.
    pub(crate) fn note(&self, place: usize, id: Option<&str>, token: Option<&str>) {
        let mut state = self.state.lock();
        let JointState { requests, tokens, .. } = &mut *state;
        for (remembered, text) in [(requests, id), (tokens, token)] {
            let Some(text) = text else { continue };
            remembered.retain(|(known, _)| **known != *text);
            if remembered.len() >= REMEMBERED {
                remembered.pop_front();
            }
            remembered.push_back((text.into(), place));
        }
    }

    /// The upstream to which the request with this id went.
    pub(crate) fn upstream_of_request(&self, id: &str) -> Option<usize> {
        find(&self.state.lock().requests, id)
    }

    /// The upstream to which the request with this progress token went.
    pub(crate) fn upstream_of_token(&self, token: &str) -> Option<usize> {
        find(&self.state.lock().tokens, token)
    }
}

fn find(remembered: &VecDeque<(Box<str>, usize)>, text: &str) -> Option<usize> {
    remembered.iter().find(|(known, _)| **known == *text).map(|(_, place)| *place)
}

/// The sessions by their ids.
#[derive(Debug, Default)]
pub(crate) struct JointSessions(Mutex<JointTable>);

#[derive(Debug, Default)]
struct JointTable {
    by_id: HashMap<Box<str>, Arc<JointSession>>,
    held: Holdings,
}

impl JointSessions {
    /// Opens a session, and returns its id.
    ///
    /// # Errors
    /// `Full` if the party has too many sessions that are in use.
    pub(crate) fn open(&self, session: JointSession) -> Result<Box<str>, Rejection> {
        let full = Rejection::Full { what: "sessions", retry_after: 1 };
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| full.clone())?;
        let id: Box<str> = URL_SAFE_NO_PAD.encode(bytes).into();
        let mut table = self.0.lock();
        if !table.make_room(&session.party) {
            return Err(full);
        }
        table.held.add(&session.party, 1);
        table.by_id.insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    /// The session with this id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<JointSession>> {
        let table = self.0.lock();
        let session = table.by_id.get(id).filter(|session| idle(session) <= IDLE)?;
        session.state.lock().used = Instant::now();
        Some(Arc::clone(session))
    }

    /// Forgets a session.
    pub(crate) fn close(&self, id: &str) {
        self.0.lock().remove(id);
    }
}

impl JointTable {
    fn remove(&mut self, id: &str) {
        if let Some(session) = self.by_id.remove(id) {
            self.held.remove(&session.party, 1);
        }
    }

    /// Forgets idle sessions. Returns false if there is still no room for one of `party`.
    fn make_room(&mut self, party: &Party) -> bool {
        if self.held.gives_way(party, 1, SESSIONS).is_none() {
            return true;
        }
        let over = self.by_id.iter().filter(|(_, session)| idle(session) > IDLE);
        let over: Vec<Box<str>> = over.map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| self.remove(id));
        let Some(party) = self.held.gives_way(party, 1, SESSIONS) else { return true };
        let of_party = self.by_id.iter().filter(|(_, session)| session.party == party);
        let longest = of_party.map(|(id, session)| (idle(session), id)).max();
        let Some((_, id)) = longest.filter(|(idle, _)| *idle >= DISPLACEABLE) else { return false };
        let id = id.clone();
        self.remove(&id);
        true
    }
}

/// The time since the last message. A session with an open stream or a running call is in use.
fn idle(session: &Arc<JointSession>) -> Duration {
    if Arc::strong_count(session) > 1 { Duration::ZERO } else { session.state.lock().used.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use witgate_base::party::Principal;

    fn session(of: &str) -> JointSession {
        let party = Principal::new("keys".into(), None, of).party(None);
        JointSession::new(party, Bytes::new(), "2025-11-25", vec![Joining::Joined(None), Joining::Absent])
    }

    #[test]
    fn one_party_fills_its_own_share() {
        let sessions = JointSessions::default();
        for _ in 0..SESSIONS.most_of_one {
            sessions.open(session("eve")).unwrap();
        }
        assert!(sessions.open(session("eve")).is_err(), "hers are all in use");
        let id = sessions.open(session("ada")).unwrap();
        assert!(sessions.find(&id).is_some() && sessions.find("another").is_none());
        sessions.close(&id);
        assert!(sessions.find(&id).is_none());
    }

    #[test]
    fn an_upstream_joins_once() {
        let session = session("ada");
        assert!(session.join(1, Some("s".into())) && !session.join(1, None) && !session.join(2, None));
        assert_eq!(session.at(1), Joining::Joined(Some("s".into())));
    }

    #[test]
    fn the_latest_requests_are_remembered() {
        let session = session("ada");
        for n in 0..=REMEMBERED {
            session.note(n % 2, Some(&n.to_string()), None);
        }
        assert_eq!((session.upstream_of_request("0"), session.upstream_of_request("1")), (None, Some(1)));
        session.note(0, Some("1"), Some("7"));
        assert_eq!(session.upstream_of_request("1"), Some(0));
        assert_eq!((session.upstream_of_token("7"), session.upstream_of_token("1")), (Some(0), None));
    }
}
