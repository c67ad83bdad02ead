//! The sessions of an endpoint. Each stands for one session at each upstream. Its id proves nothing: the session belongs to
//! a principal, which is compared once a message is authenticated.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use parking_lot::Mutex;
use witgate_base::party::{Party, Principal};
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

/// The memory for handshakes, in bytes. Those of usual clients have some hundred.
const HANDSHAKES: Capacity = Capacity { most: 64 << 20, most_of_one: 8 << 20 };

/// A session of an endpoint.
#[derive(Debug)]
pub(crate) struct JointSession {
    owner: Principal,
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
    requests: LatestIds,
    tokens: LatestIds,
    /// The questions with a URL that upstreams have asked.
    elicitations: LatestIds,
}

/// The latest ids of a kind, with the places of their upstreams. An id may be long, and a party has many sessions: so only
/// hashes with a secret salt are kept.
#[derive(Debug, Default)]
struct LatestIds {
    salt: RandomState,
    ids: VecDeque<(u64, usize)>,
}

impl LatestIds {
    /// Remembers an id in place of an older one.
    fn note(&mut self, id: &str, place: usize) {
        let hash = self.salt.hash_one(id);
        self.ids.retain(|(known, _)| *known != hash);
        if self.ids.len() >= REMEMBERED {
            self.ids.pop_front();
        }
        self.ids.push_back((hash, place));
    }

    fn find(&self, id: &str) -> Option<usize> {
        let hash = self.salt.hash_one(id);
        self.ids.iter().find(|(known, _)| *known == hash).map(|(_, place)| *place)
    }
}

/// The state of the handshake with an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// It has not.
    Absent,
    /// It has. None: it keeps no sessions.
    Joined(Option<Box<str>>),
    /// The session there has ended, and that of the client ends, too.
    Ended,
}

impl JointSession {
    /// A session of a principal with these upstreams.
    pub(crate) fn new(
        (owner, party): (Principal, Party),
        handshake: Bytes,
        version: &str,
        upstreams: Vec<Joining>,
    ) -> Self {
        let handshake = Some(handshake)
            .filter(|handshake| handshake.len() <= LONGEST_HANDSHAKE && upstreams.contains(&Joining::Absent));
        let (requests, tokens, elicitations) = Default::default();
        let state = JointState { used: Instant::now(), upstreams, requests, tokens, elicitations };
        Self { owner, party, handshake, version: version.into(), state: Mutex::new(state) }
    }

    /// The principal who has opened it.
    pub(crate) fn owner(&self) -> &Principal {
        &self.owner
    }

    /// The size of the kept handshake in bytes.
    fn size(&self) -> usize {
        self.handshake.as_ref().map_or(0, Bytes::len)
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

    /// Notes that the session of the upstream at `place` has ended.
    pub(crate) fn leave(&self, place: usize) {
        if let Some(joining) = self.state.lock().upstreams.get_mut(place) {
            *joining = Joining::Ended;
        }
    }

    /// Remembers to which upstream a request goes, and its progress token.
    pub(crate) fn note(&self, place: usize, id: Option<&str>, token: Option<&str>) {
        let mut state = self.state.lock();
        id.into_iter().for_each(|id| state.requests.note(id, place));
        token.into_iter().for_each(|token| state.tokens.note(token, place));
    }

    /// Remembers that the upstream at `place` has asked a question with a URL. The first one with this id has asked it.
    pub(crate) fn note_elicitation(&self, place: usize, id: &str) {
        let elicitations = &mut self.state.lock().elicitations;
        if elicitations.find(id).is_none() {
            elicitations.note(id, place);
        }
    }

    /// The upstream that has asked the question with this id.
    pub(crate) fn upstream_of_elicitation(&self, id: &str) -> Option<usize> {
        self.state.lock().elicitations.find(id)
    }

    /// The upstream to which the request with this id went.
    pub(crate) fn upstream_of_request(&self, id: &str) -> Option<usize> {
        self.state.lock().requests.find(id)
    }

    /// The upstream to which the request with this progress token went.
    pub(crate) fn upstream_of_token(&self, token: &str) -> Option<usize> {
        self.state.lock().tokens.find(token)
    }
}

/// The sessions by their ids.
#[derive(Debug, Default)]
pub(crate) struct JointSessions(Mutex<JointTable>);

#[derive(Debug, Default)]
struct JointTable {
    by_id: HashMap<Box<str>, Arc<JointSession>>,
    held: Holdings,
    bytes: Holdings,
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
        if !table.make_room(&session.party, session.size()) {
            return Err(full);
        }
        table.held.add(&session.party, 1);
        table.bytes.add(&session.party, session.size());
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
            self.bytes.remove(&session.party, session.size());
        }
    }

    /// Forgets idle sessions. Returns false if there is still no room for one of `party` with a handshake of `size`.
    fn make_room(&mut self, party: &Party, size: usize) -> bool {
        if self.gives_way(party, size).is_none() {
            return true;
        }
        let over = self.by_id.iter().filter(|(_, session)| idle(session) > IDLE);
        let over: Vec<Box<str>> = over.map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| self.remove(id));
        while let Some(party) = self.gives_way(party, size) {
            let of_party = self.by_id.iter().filter(|(_, session)| session.party == party);
            let longest = of_party.map(|(id, session)| (idle(session), id)).max();
            let Some((_, id)) = longest.filter(|(idle, _)| *idle >= DISPLACEABLE) else { return false };
            let id = id.clone();
            self.remove(&id);
        }
        true
    }

    fn gives_way(&self, party: &Party, size: usize) -> Option<Party> {
        let by_number = self.held.gives_way(party, 1, SESSIONS);
        by_number.or_else(|| self.bytes.gives_way(party, size, HANDSHAKES).filter(|_| size > 0))
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

    fn session_with(of: &str, handshake: usize) -> JointSession {
        let principal = Principal::new("keys".into(), None, of);
        let (party, handshake) = (principal.clone().party(None), vec![b' '; handshake].into());
        let upstreams = vec![Joining::Joined(None), Joining::Absent];
        JointSession::new((principal, party), handshake, "2025-11-25", upstreams)
    }

    fn session(of: &str) -> JointSession {
        session_with(of, 0)
    }

    #[test]
    fn handshakes_of_one_party_fill_its_own_memory() {
        let sessions = JointSessions::default();
        let fitting = HANDSHAKES.most_of_one / LONGEST_HANDSHAKE;
        for _ in 0..fitting {
            sessions.open(session_with("eve", LONGEST_HANDSHAKE)).unwrap();
        }
        assert!(sessions.open(session_with("eve", LONGEST_HANDSHAKE)).is_err(), "hers are all in use");
        let id = sessions.open(session_with("ada", LONGEST_HANDSHAKE)).unwrap();
        let held = || sessions.0.lock().bytes.all();
        assert_eq!(held(), (fitting + 1) * LONGEST_HANDSHAKE);
        sessions.close(&id);
        assert_eq!(held(), fitting * LONGEST_HANDSHAKE);
        let too_long = session_with("eve", LONGEST_HANDSHAKE + 1);
        assert!(too_long.handshake().is_none() && sessions.open(too_long).is_ok(), "it is not kept");
    }

    #[test]
    fn long_ids_take_no_more_memory_than_short_ones() {
        let (session, long) = (session("ada"), "x".repeat(1 << 20));
        session.note(1, Some(&long), Some(&long));
        assert_eq!(
            (session.upstream_of_request(&long), session.upstream_of_token(&long)),
            (Some(1), Some(1))
        );
        let kept: usize = size_of_val(session.state.lock().requests.ids.front().unwrap());
        assert!(kept <= 16, "{kept}");
    }

    #[test]
    fn a_question_belongs_to_the_upstream_that_has_asked_it_first() {
        let session = session("ada");
        session.note_elicitation(0, "q");
        session.note_elicitation(1, "q");
        assert_eq!(
            (session.upstream_of_elicitation("q"), session.upstream_of_elicitation("r")),
            (Some(0), None)
        );
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
