//! Who has which child: a bounded number of places, and the sessions that are bound to them.

use std::time::Instant;

use super::*;

/// Whose child it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A session's of the older era.
    Session(Arc<str>, Principal),
    /// A principal's of 2026-07-28.
    Stateless(Principal),
    /// Held by Witgate for a principal of 2026-07-28, towards an upstream of the older era.
    Held(Principal),
    /// Everybody's of the older era.
    Shared,
    /// Everybody's of 2026-07-28.
    SharedStateless,
}

impl Key {
    pub(super) fn stateless(principal: &Principal, shared: bool) -> Self {
        if shared { Self::SharedStateless } else { Self::Stateless(principal.clone()) }
    }

    fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Session(_, principal) | Self::Stateless(principal) | Self::Held(principal) => {
                Some(principal)
            }
            Self::Shared | Self::SharedStateless => None,
        }
    }
}

/// A session of the older era.
pub(super) struct Session {
    pub(super) member: Arc<Member>,
    pub(super) slot: Arc<Slot>,
    used: Mutex<Instant>,
}

impl Session {
    pub(super) fn new(member: Arc<Member>, slot: Arc<Slot>) -> Self {
        Self { member, slot, used: Mutex::new(Instant::now()) }
    }

    /// Notes that it is used.
    pub(super) fn touch(&self) {
        *lock(&self.used) = Instant::now();
        self.slot.touch();
    }

    /// How long it has not been used; an open stream uses it.
    fn idle(&self) -> Duration {
        if self.member.inbox.is_open() {
            *lock(&self.used) = Instant::now();
            return Duration::ZERO;
        }
        lock(&self.used).elapsed()
    }
}

/// All places and sessions of an upstream.
#[derive(Default)]
pub(super) struct Rooms {
    slots: BTreeMap<Key, Arc<Slot>>,
    sessions: BTreeMap<Arc<str>, Arc<Session>>,
}

/// A child that nobody has used for this long may have to make room for another's.
const DISPLACEABLE: Duration = Duration::from_secs(30);
/// Sessions of one principal on a shared child.
const SESSIONS_OF_ONE: usize = 256;

impl Rooms {
    /// The place of `key`; a new one may displace one that is idle.
    pub(super) fn take(
        &mut self,
        key: Key,
        settings: &Settings,
        make: impl FnOnce() -> Slot,
    ) -> Result<(Arc<Slot>, Option<Arc<Slot>>), Rejection> {
        if let Some(slot) = self.slots.get(&key) {
            return Ok((Arc::clone(slot), None));
        }
        let own = |other: &Key| key.principal().is_some() && other.principal() == key.principal();
        let owned = self.slots.keys().filter(|other| own(other)).count();
        let displaced = if owned >= settings.max_children_of_one {
            Some(self.displace(own)?)
        } else if self.slots.len() >= settings.max_children {
            Some(self.displace(|_| true)?)
        } else {
            None
        };
        let slot = Arc::new(make());
        self.slots.insert(key, Arc::clone(&slot));
        Ok((slot, displaced))
    }

    /// Takes out the place, among those that `may` go, that was idle longest.
    fn displace(&mut self, may: impl Fn(&Key) -> bool) -> Result<Arc<Slot>, Rejection> {
        let idle =
            self.slots.iter().filter(|(key, _)| may(key)).map(|(key, slot)| (slot.idle(), key.clone()));
        let longest = idle.max_by_key(|(idle, _)| *idle).filter(|(idle, _)| *idle >= DISPLACEABLE);
        let (_, key) =
            longest.ok_or(Rejection::RateLimited { retry_after: DISPLACEABLE.as_secs() as u32 })?;
        self.remove(&key).ok_or(Rejection::RateLimited { retry_after: 1 })
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<Slot>> {
        let slot = self.slots.remove(key)?;
        for member in slot.audience.all() {
            self.sessions.remove(&member.session);
            slot.audience.leave(&member.session);
        }
        Some(slot)
    }

    pub(super) fn seat(&mut self, session: Session) {
        let principal = &session.member.principal;
        let own = || self.sessions.values().filter(|other| other.member.principal == *principal);
        if own().count() >= SESSIONS_OF_ONE {
            let idlest =
                own().max_by_key(|other| other.idle()).map(|other| Arc::clone(&other.member.session));
            // Only sessions on a shared child are so many; there is no child to end.
            _ = idlest.and_then(|name| self.end(&name));
        }
        self.sessions.insert(Arc::clone(&session.member.session), Arc::new(session));
    }

    pub(super) fn session(&self, name: &str) -> Option<Arc<Session>> {
        self.sessions.get(name).cloned()
    }

    /// Ends a session, and returns the place that was its alone.
    pub(super) fn end(&mut self, name: &str) -> Option<Arc<Slot>> {
        if let Some(session) = self.sessions.remove(name) {
            session.slot.audience.leave(name);
        }
        let key =
            self.slots.keys().find(|key| matches!(key, Key::Session(own, _) if **own == *name))?.clone();
        self.remove(&key)
    }

    /// Takes out what has been idle for too long: sessions of a shared child, and children.
    pub(super) fn idle(&mut self, settings: &Settings) -> Vec<Arc<Slot>> {
        let over = |session: &&Arc<Session>| settings.shared && session.idle() >= settings.session_idle;
        let over: Vec<Arc<str>> =
            self.sessions.values().filter(over).map(|session| Arc::clone(&session.member.session)).collect();
        let mut ended: Vec<Arc<Slot>> = over.iter().filter_map(|name| self.end(name)).collect();
        let bound = |key: &Key| match key {
            Key::Session(..) => settings.session_idle,
            Key::Shared | Key::SharedStateless | Key::Stateless(_) | Key::Held(_) => settings.child_idle,
        };
        let idle = |(key, slot): &(&Key, &Arc<Slot>)| {
            // A shared child with sessions is kept as long as a session would be.
            let bound = if slot.audience.is_empty() { bound(key) } else { settings.session_idle };
            slot.idle() >= bound
        };
        let keys: Vec<Key> = self.slots.iter().filter(idle).map(|(key, _)| key.clone()).collect();
        ended.extend(keys.iter().filter_map(|key| self.remove(key)));
        ended
    }

    /// All places.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.values().cloned().collect()
    }

    /// Takes all out.
    pub(super) fn clear(&mut self) -> Vec<Arc<Slot>> {
        let keys: Vec<Key> = self.slots.keys().cloned().collect();
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }
}
