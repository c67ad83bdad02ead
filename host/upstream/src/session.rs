//! Sessions of the stateful era. Their ids are Witgate's own. A session belongs to one principal, because an id alone is
//! no credential (MCP "Session Hijacking"). For others the session does not exist.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use crate::session_owner::SessionOwner;
use witgate_base::party::{Party, Principal};
use witgate_flow::reject::Rejection;
use witgate_runtime::metrics::session_meter::SessionMeter;
use witgate_runtime::shares::{Capacity, Holdings};

#[cfg(test)]
mod tests;

/// 192 bits, which nobody can guess, and 32 characters without padding.
const ID_BYTES: usize = 24;

/// The limits of sessions: their number, and their idle time.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Maximum number of sessions, in all and of one party.
    pub bounds: Capacity,
    /// Maximum time without any message and without an open stream.
    pub idle: Duration,
}

impl Default for SessionLimits {
    /// A thousand sessions of one principal are enough for many agents with one key, and there is room for ten such
    /// principals. Clients open a new session by themselves after an hour of idling.
    fn default() -> Self {
        let bounds = Capacity { most: 10_000, most_of_one: 1_000 };
        Self { bounds, idle: Duration::from_secs(3600) }
    }
}

/// Idle time after which a session may be ended in favour of another.
const DISPLACEABLE: Duration = Duration::from_secs(30);

/// The sessions of one upstream. `T` is the upstream's data about each.
#[derive(Debug)]
pub struct Sessions<T> {
    limits: SessionLimits,
    table: Mutex<SessionTable<T>>,
}

#[derive(Debug)]
struct SessionTable<T> {
    by_id: HashMap<Box<str>, Arc<Session<T>>>,
    held: Holdings,
    meter: SessionMeter,
}

/// Sessions that were ended in favour of another. The upstream has to be told.
type EvictedSessions<T> = Vec<Arc<Session<T>>>;

/// A session.
#[derive(Debug)]
pub struct Session<T> {
    /// The upstream's id of the session.
    pub upstream: T,
    owner: SessionOwner,
    /// The party whose share the session uses.
    party: Party,
    began: Instant,
    used: Mutex<Instant>,
    streams: AtomicUsize,
}

/// The reason why a session cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The operating system has no random numbers.
    #[error("no random numbers for a session id: {0}")]
    Random(#[from] getrandom::Error),
    /// The limit of the party, or of all, is reached, and no session is idle.
    #[error("there are too many sessions")]
    Full,
}

impl<T> Sessions<T> {
    /// Without sessions.
    pub fn new(limits: SessionLimits) -> Self {
        let (by_id, held, meter) = Default::default();
        let table = SessionTable { by_id, held, meter };
        Self { limits, table: Mutex::new(table) }
    }

    /// Counts the sessions that are opened from now on in `meter`.
    pub(crate) fn count_in(&self, meter: SessionMeter) {
        self.table.lock().meter = meter;
    }

    /// Opens a session and returns its id, and the sessions that were ended in its favour.
    ///
    /// # Errors
    /// With the reason why it cannot be opened.
    pub(crate) fn open(
        &self,
        owner: SessionOwner,
        party: Party,
        upstream: T,
    ) -> Result<(Box<str>, EvictedSessions<T>), SessionError> {
        let id = mint()?;
        let began = Instant::now();
        let (used, streams) = (Mutex::new(began), AtomicUsize::new(0));
        let mut table = self.table.lock();
        let evicted = self.make_room(&mut table, &party)?;
        table.held.add(&party, 1);
        table.meter.begin();
        let session = Session { upstream, owner, party, began, used, streams };
        table.by_id.insert(id.clone(), Arc::new(session));
        Ok((id, evicted))
    }

    /// The session with this id, if it is the principal's.
    ///
    /// # Errors
    /// `SessionNotFound`, whether another principal has such a session or not.
    pub fn find(&self, id: &str, principal: &Principal) -> Result<Arc<Session<T>>, Rejection> {
        let table = self.table.lock();
        let session = table.by_id.get(id).filter(|session| session.owner.is(principal));
        let session = session.ok_or(Rejection::SessionNotFound)?;
        if session.idle() > self.limits.idle {
            return Err(Rejection::SessionNotFound);
        }
        *session.used.lock() = Instant::now();
        Ok(Arc::clone(session))
    }

    /// Ends the session with this id, if it is the principal's.
    ///
    /// # Errors
    /// As [`Sessions::find`].
    pub fn close(&self, id: &str, principal: &Principal) -> Result<Arc<Session<T>>, Rejection> {
        let mut table = self.table.lock();
        match table.by_id.get(id) {
            Some(session) if session.owner.is(principal) => {
                table.remove(id).ok_or(Rejection::SessionNotFound)
            }
            _ => Err(Rejection::SessionNotFound),
        }
    }

    /// Removes all sessions, for the stop.
    pub fn drain(&self) -> EvictedSessions<T> {
        let mut table = self.table.lock();
        table.held = Holdings::default();
        let drained: EvictedSessions<T> = table.by_id.drain().map(|(_, session)| session).collect();
        drained.iter().for_each(|session| table.meter.end(session.began));
        drained
    }

    /// Ends sessions that have been idle for too long. If there are still too many, it ends the longest idle one of
    /// the party itself, or of the party with the most.
    fn make_room(
        &self,
        table: &mut SessionTable<T>,
        party: &Party,
    ) -> Result<EvictedSessions<T>, SessionError> {
        let over = table.by_id.iter().filter(|(_, session)| session.idle() > self.limits.idle);
        let over: Vec<Box<str>> = over.map(|(id, _)| id.clone()).collect();
        let mut evicted: EvictedSessions<T> = over.iter().filter_map(|id| table.remove(id)).collect();
        if let Some(party) = table.held.gives_way(party, 1, self.limits.bounds) {
            let id = table.longest_idle(&party).ok_or(SessionError::Full)?;
            evicted.extend(table.remove(&id));
        }
        Ok(evicted)
    }
}

impl<T> SessionTable<T> {
    fn remove(&mut self, id: &str) -> Option<Arc<Session<T>>> {
        let session = self.by_id.remove(id)?;
        self.meter.end(session.began);
        self.held.remove(&session.party, 1);
        Some(session)
    }

    /// The session of `party` with the longest idle time, if that is long enough.
    fn longest_idle(&self, party: &Party) -> Option<Box<str>> {
        let of_party = self.by_id.iter().filter(|(_, session)| session.party == *party);
        let idle = of_party.map(|(id, session)| (session.idle(), id));
        let (idle, id) = idle.max_by_key(|(idle, _)| *idle)?;
        (idle >= DISPLACEABLE).then(|| id.clone())
    }
}

impl<T> Session<T> {
    /// The principal that has opened the session.
    pub(crate) fn opened_by(&self) -> &Principal {
        self.owner.opened_by()
    }

    /// Keeps the session in use while the guard exists.
    pub fn hold(self: &Arc<Self>) -> StreamLease<T> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        StreamLease(Arc::clone(self))
    }

    fn idle(&self) -> Duration {
        if self.streams.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.used.lock().elapsed()
    }
}

/// An open stream of a session.
#[derive(Debug)]
pub struct StreamLease<T>(Arc<Session<T>>);

impl<T> Drop for StreamLease<T> {
    fn drop(&mut self) {
        *self.0.used.lock() = Instant::now();
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

fn mint() -> Result<Box<str>, getrandom::Error> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into_boxed_str())
}
