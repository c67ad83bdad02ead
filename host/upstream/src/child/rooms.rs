//! The pool of children: a bounded number of places, and the sessions that use them. Each party has a share of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::audience::Member;
use super::capacity::{DISPLACEABLE, PROCESSES, full};
use super::conversation::fault;
use super::settings::ChildSettings;
use super::supervise::Slot;
use witgate_base::party::{Party, Principal};
use witgate_flow::reject::{Rejection, UpstreamFault};
use witgate_runtime::metrics::session_meter::SessionMeter;
use witgate_runtime::shares::{Capacity, Holdings};

/// The owner of a child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChildOwner {
    /// A session of the stateful era.
    Session(Arc<str>),
    /// A principal of 2026-07-28.
    Stateless(Principal),
    /// Witgate, for a principal of 2026-07-28, with an upstream of the stateful era.
    Held(Principal),
    /// All callers of the stateful era.
    Shared,
    /// All callers of 2026-07-28.
    SharedStateless,
}

impl ChildOwner {
    pub(super) fn stateless(principal: &Principal, shared: bool) -> Self {
        if shared { Self::SharedStateless } else { Self::Stateless(principal.clone()) }
    }

    /// True if the child serves only one principal.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Session(..) | Self::Stateless(_) | Self::Held(_) => true,
            Self::Shared | Self::SharedStateless => false,
        }
    }

    /// The name of the exhausted resource, for a caller who gets no place.
    fn what(&self) -> &'static str {
        match self {
            Self::Session(..) => "sessions",
            Self::Stateless(_) | Self::Held(_) | Self::Shared | Self::SharedStateless => PROCESSES,
        }
    }

    /// The party whose share is used, if `party` asks for the child. Callers without a name share one child.
    pub(super) fn party(&self, party: &Party) -> Party {
        match self {
            Self::Session(..) => party.clone(),
            Self::Stateless(principal) | Self::Held(principal) if !principal.is_nameless() => party.clone(),
            Self::Stateless(_) | Self::Held(_) | Self::Shared | Self::SharedStateless => Party::Everybody,
        }
    }
}

/// A session of the stateful era.
pub(super) struct ChildSession {
    pub(super) member: Arc<Member>,
    pub(super) slot: Arc<Slot>,
    /// The party whose share the session uses.
    pub(super) party: Party,
    began: Instant,
    used: Mutex<Instant>,
}

impl ChildSession {
    pub(super) fn new(member: Arc<Member>, slot: Arc<Slot>, party: Party) -> Self {
        let began = Instant::now();
        Self { member, slot, party, began, used: Mutex::new(began) }
    }

    /// Checks that the child has the current settings. If not, the client has to open a new session.
    pub(super) fn is_current(&self) -> Result<(), Rejection> {
        if self.slot.is_outdated() { Err(Rejection::SessionNotFound) } else { Ok(()) }
    }

    /// Records the use of the session.
    pub(super) fn touch(&self) {
        *self.used.lock() = Instant::now();
        self.slot.touch();
    }

    /// Time since the last use. An open stream counts as use.
    fn idle(&self) -> Duration {
        if self.member.inbox.is_open() {
            *self.used.lock() = Instant::now();
            return Duration::ZERO;
        }
        self.used.lock().elapsed()
    }
}

/// All places and sessions of an upstream.
#[derive(Default)]
pub(super) struct Rooms {
    slots: BTreeMap<ChildOwner, Arc<Slot>>,
    slots_of: Holdings,
    sessions: BTreeMap<Arc<str>, Arc<ChildSession>>,
    sessions_of: Holdings,
    /// True after the stop: nothing is added any more.
    closed: bool,
    meters: RoomMeters,
}

/// The meters of places and sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct RoomMeters {
    /// The meter of places.
    pub(super) children: SessionMeter,
    /// The meter of sessions.
    pub(super) sessions: SessionMeter,
}

impl Rooms {
    /// Counts the places and sessions that are added from now on in `meters`.
    pub(super) fn count_in(&mut self, meters: RoomMeters) {
        self.meters = meters;
    }

    /// The place of `wanted`, created for `party` if needed. A new place may displace an idle one: of the same party,
    /// or, if all are taken, of the party with the most.
    pub(super) fn take(
        &mut self,
        wanted: ChildOwner,
        party: &Party,
        bounds: Capacity,
        make: impl FnOnce() -> Slot,
    ) -> Result<Arc<Slot>, Rejection> {
        if let Some(slot) = self.slots.get(&wanted) {
            return Ok(Arc::clone(slot));
        }
        if self.closed {
            return Err(fault(UpstreamFault::Unreachable, "the server is shutting down"));
        }
        if let Some(party) = self.slots_of.gives_way(party, 1, bounds) {
            let of_party = self.slots.iter().filter(|(_, slot)| slot.party == party);
            let idlest = longest_idle(of_party.map(|(key, slot)| (slot.idle(), key)));
            let key = idlest.ok_or_else(|| full(wanted.what()))?;
            self.give_up(&key);
        }
        let slot = Arc::new(make());
        self.slots_of.add(&slot.party, 1);
        self.slots.insert(wanted, Arc::clone(&slot));
        self.meters.children.begin();
        Ok(slot)
    }

    /// Removes a place, and ends its child and its sessions.
    fn give_up(&mut self, key: &ChildOwner) {
        let Some(slot) = self.slots.remove(key) else { return };
        self.meters.children.end(slot.began);
        self.slots_of.remove(&slot.party, 1);
        self.end_slot(&slot);
    }

    /// Ends the child of a removed place, and its sessions.
    pub(super) fn end_slot(&mut self, slot: &Slot) {
        for member in slot.audience.all() {
            self.leave(&member.session);
        }
        slot.end();
    }

    /// Removes all places, so that the next callers get children with the current settings. The former children run
    /// until they are ended.
    pub(super) fn outdate(&mut self) -> Vec<Arc<Slot>> {
        let slots: Vec<_> = std::mem::take(&mut self.slots).into_values().collect();
        for slot in &slots {
            self.meters.children.end(slot.began);
            self.slots_of.remove(&slot.party, 1);
            slot.set_outdated();
        }
        slots
    }

    fn leave(&mut self, name: &str) {
        let Some(session) = self.sessions.remove(name) else { return };
        self.meters.sessions.end(session.began);
        self.sessions_of.remove(&session.party, 1);
        session.slot.audience.leave(name);
    }

    /// Adds a session, which may displace an idle one, as with places.
    pub(super) fn seat(&mut self, session: ChildSession, bounds: Capacity) -> Result<(), Rejection> {
        if self.closed {
            return Err(fault(UpstreamFault::Unreachable, "the server is shutting down"));
        }
        if session.slot.is_outdated() {
            let message = "the upstream's settings have just changed; try again";
            return Err(fault(UpstreamFault::Unreachable, message));
        }
        if let Some(party) = self.sessions_of.gives_way(&session.party, 1, bounds) {
            let of_party = self.sessions.iter().filter(|(_, session)| session.party == party);
            let idlest = longest_idle(of_party.map(|(name, session)| (session.idle(), name)));
            let name = idlest.ok_or_else(|| full("sessions"))?;
            self.end(&name);
        }
        session.slot.audience.join(Arc::clone(&session.member));
        self.sessions_of.add(&session.party, 1);
        self.sessions.insert(Arc::clone(&session.member.session), Arc::new(session));
        self.meters.sessions.begin();
        Ok(())
    }

    pub(super) fn session(&self, name: &str) -> Option<Arc<ChildSession>> {
        self.sessions.get(name).cloned()
    }

    /// Ends a session, and the place that only it used.
    pub(super) fn end(&mut self, name: &str) {
        self.leave(name);
        self.give_up(&ChildOwner::Session(name.into()));
    }

    /// Ends sessions of a shared child, and children, that have been idle for too long.
    pub(super) fn end_idle(&mut self, settings: &ChildSettings) {
        let over = |session: &&Arc<ChildSession>| settings.shared && session.idle() >= settings.session_idle;
        let over: Vec<Arc<str>> =
            self.sessions.values().filter(over).map(|session| Arc::clone(&session.member.session)).collect();
        over.iter().for_each(|name| self.end(name));
        let bound = |key: &ChildOwner| match key {
            ChildOwner::Session(..) => settings.session_idle,
            ChildOwner::Shared
            | ChildOwner::SharedStateless
            | ChildOwner::Stateless(_)
            | ChildOwner::Held(_) => settings.child_idle,
        };
        let idle = |(key, slot): &(&ChildOwner, &Arc<Slot>)| {
            // A shared child with sessions may be idle as long as a session.
            let bound = if slot.audience.is_empty() { bound(key) } else { settings.session_idle };
            slot.idle() >= bound
        };
        let keys: Vec<ChildOwner> = self.slots.iter().filter(idle).map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.give_up(key));
    }

    /// All places.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.values().cloned().collect()
    }

    /// Ends all for good.
    pub(super) fn close(&mut self) {
        self.closed = true;
        let keys: Vec<ChildOwner> = self.slots.keys().cloned().collect();
        keys.iter().for_each(|key| self.give_up(key));
    }
}

/// The entry with the longest idle time, if that is long enough.
fn longest_idle<'a, K: Clone + 'a>(all: impl Iterator<Item = (Duration, &'a K)>) -> Option<K> {
    let longest = all.max_by_key(|(idle, _)| *idle).filter(|(idle, _)| *idle >= DISPLACEABLE);
    longest.map(|(_, key)| key.clone())
}
