//! Sessions of the stateful era. The ids are Witgate's own, and a session is the principal's that
//! has opened it: an id alone is no credential (MCP "Session Hijacking"). For anybody else there
//! is no such session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::flow::identity::Principal;
use crate::flow::reject::Rejection;

#[cfg(test)]
mod tests;

/// 192 bits: beyond guessing, and 32 characters without padding.
const ID_BYTES: usize = 24;

/// How many sessions are kept, and how long one may idle.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All in all.
    pub total: usize,
    /// Of one principal, so that none can push the others out.
    pub per_principal: usize,
    /// Without any message and without an open stream.
    pub idle: Duration,
}

impl Default for Limits {
    /// A thousand sessions of one principal are a fleet of agents behind one key; ten of such
    /// fleets are held. An hour outlasts a lunch; clients open a new session by themselves.
    fn default() -> Self {
        Self { total: 10_000, per_principal: 1_000, idle: Duration::from_secs(3600) }
    }
}

/// The sessions of one upstream; `T` is what the upstream needs to know about each.
#[derive(Debug)]
pub struct Sessions<T> {
    limits: Limits,
    by_id: Mutex<ById<T>>,
}

type ById<T> = HashMap<Box<str>, Arc<Session<T>>>;

/// A session and its id.
type Entry<T> = (Box<str>, Arc<Session<T>>);

/// A session that another had to make room for is over, too: the upstream is to be told.
type Gone<T> = Vec<Arc<Session<T>>>;

/// A session.
#[derive(Debug)]
pub struct Session<T> {
    /// What the upstream knows it by.
    pub upstream: T,
    principal: Principal,
    used: Mutex<Instant>,
    streams: AtomicUsize,
}

impl<T> Sessions<T> {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, by_id: Mutex::default() }
    }

    /// Opens a session and returns its id, and the sessions that had to make room for it.
    ///
    /// # Errors
    /// Where the operating system has no random numbers.
    pub fn open(&self, principal: Principal, upstream: T) -> Result<(Box<str>, Gone<T>), getrandom::Error> {
        let id = mint()?;
        let session =
            Session { upstream, principal, used: Mutex::new(Instant::now()), streams: AtomicUsize::new(0) };
        let mut sessions = self.lock();
        let gone = self.make_room(&mut sessions, &session.principal);
        sessions.insert(id.clone(), Arc::new(session));
        Ok((id, gone))
    }

    /// The session of this id, if it is the principal's.
    ///
    /// # Errors
    /// `SessionNotFound`, whether there is such a session of somebody else's or not.
    pub fn find(&self, id: &str, principal: &Principal) -> Result<Arc<Session<T>>, Rejection> {
        let sessions = self.lock();
        let session = sessions.get(id).filter(|session| session.is_for(principal));
        let session = session.ok_or(Rejection::SessionNotFound)?;
        if session.idle() > self.limits.idle {
            return Err(Rejection::SessionNotFound);
        }
        *session.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(Arc::clone(session))
    }

    /// Ends the session of this id, if it is the principal's.
    ///
    /// # Errors
    /// As [`Sessions::find`].
    pub fn close(&self, id: &str, principal: &Principal) -> Result<Arc<Session<T>>, Rejection> {
        let mut sessions = self.lock();
        match sessions.get(id) {
            Some(session) if session.is_for(principal) => {
                sessions.remove(id).ok_or(Rejection::SessionNotFound)
            }
            _ => Err(Rejection::SessionNotFound),
        }
    }

    /// Takes out all sessions, for shutting down.
    pub fn drain(&self) -> Gone<T> {
        self.lock().drain().map(|(_, session)| session).collect()
    }

    /// Drops what has idled too long, and the longest idle where there are too many.
    fn make_room(&self, sessions: &mut ById<T>, principal: &Principal) -> Gone<T> {
        let own = sessions.values().filter(|session| session.is_for(principal)).count();
        let mut gone: Vec<_> = sessions.extract_if(|_, session| session.idle() > self.limits.idle).collect();
        if own >= self.limits.per_principal {
            gone.extend(take_longest_idle(sessions, |session| session.is_for(principal)));
        }
        if sessions.len() >= self.limits.total {
            gone.extend(take_longest_idle(sessions, |_| true));
        }
        gone.into_iter().map(|(_, session)| session).collect()
    }

    fn lock(&self) -> MutexGuard<'_, ById<T>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Session<T> {
    /// Keeps the session from idling for as long as the guard lives.
    pub fn hold(self: &Arc<Self>) -> Held<T> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Held(Arc::clone(self))
    }

    fn is_for(&self, principal: &Principal) -> bool {
        self.principal == *principal
    }

    fn idle(&self) -> Duration {
        if self.streams.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// An open stream of a session.
#[derive(Debug)]
pub struct Held<T>(Arc<Session<T>>);

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take_longest_idle<T>(sessions: &mut ById<T>, among: impl Fn(&Session<T>) -> bool) -> Option<Entry<T>> {
    let candidates = sessions.iter().filter(|(_, session)| among(session));
    let id = candidates.max_by_key(|(_, session)| session.idle()).map(|(id, _)| id.clone())?;
    sessions.remove_entry(&id)
}

fn mint() -> Result<Box<str>, getrandom::Error> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into_boxed_str())
}
