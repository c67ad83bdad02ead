//! Who started which task. A task's id is no proof of anything: it belongs to the principal whose
//! call has started it (MCP 2025-11-25 "Tasks", "Security Considerations").

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::identity::{Caller, Principal};
use super::reject::Rejection;
use super::request::{Era, Request};

/// What tasks of the stateless era are an extension of.
const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// How many tasks are remembered per upstream, the oldest being forgotten first. At some 200 bytes
/// each that is 2 MB; a forgotten task is out of reach, never open to others.
const MAX_TASKS: usize = 10_000;

/// Who started which task of one upstream.
#[derive(Debug, Default)]
pub struct Tasks {
    owners: Mutex<Owners>,
}

type Owned = (Principal, Box<str>);

#[derive(Debug, Default)]
struct Owners {
    all: HashSet<Owned>,
    oldest_first: VecDeque<Owned>,
}

impl Tasks {
    /// Refuses a request that names a task that is not the caller's.
    ///
    /// # Errors
    /// `TaskNotFound`, whether there is such a task or not; `MissingExtension` where the stateless
    /// era does not let the client ask.
    pub fn check(&self, request: &Request, caller: &Caller) -> Result<(), Rejection> {
        let call = &request.call;
        if request.era == Era::Stateless && !call.tasks().is_empty() && !call.declares_tasks() {
            return Err(Rejection::MissingExtension(EXTENSION));
        }
        let mut named = call.tasks().iter();
        if named.all(|task| self.is_owned(task, caller)) { Ok(()) } else { Err(Rejection::TaskNotFound) }
    }

    /// Whether a task is the caller's. Who showed no credential is one principal with all others
    /// who did not: to them a task's id, which a server makes unguessable, is all there is.
    pub fn is_owned(&self, task: &str, caller: &Caller) -> bool {
        let key = (caller.principal(), Box::from(task));
        self.owners().all.contains(&key)
    }

    /// Whether a task may stand in the caller's list. Nobody is told the ids of the nameless.
    pub fn is_listed(&self, task: &str, caller: &Caller) -> bool {
        !caller.is_anonymous() && self.is_owned(task, caller)
    }

    /// Notes that a call of the caller's has started a task. Ids of one upstream may repeat where
    /// it counts them by session, so one id can have several owners, each in its own sessions.
    pub fn record(&self, task: &str, caller: &Caller) {
        let owned: Owned = (caller.principal(), task.into());
        let mut owners = self.owners();
        if owners.all.insert(owned.clone()) {
            owners.oldest_first.push_back(owned);
        }
        if owners.all.len() > MAX_TASKS
            && let Some(oldest) = owners.oldest_first.pop_front()
        {
            owners.all.remove(&oldest);
        }
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
