//! The connections that wait for the next request.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::http::uri::Authority;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// The maximum number of idle connections to a server, for each worker. One more closes the oldest.
const MOST: usize = 256;

/// The idle connections to all servers. `C` is a connection; dropping it closes it.
pub(super) struct IdleConnections<C> {
    lifetime: Duration,
    state: Mutex<IdleState<C>>,
}

struct IdleState<C> {
    /// The connections to each server with the time of their last use, the newest last.
    to: HashMap<Authority, VecDeque<(Instant, C)>>,
    /// Closes connections after their lifetime. It runs while there are connections.
    sweeper: Option<JoinHandle<()>>,
}

impl<C: Send + 'static> IdleConnections<C> {
    /// Without connections. A connection is closed if it is idle for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, state: Mutex::new(IdleState { to: HashMap::new(), sweeper: None }) }
    }

    /// Takes the connection to `server` that was used last.
    pub(super) fn take(&self, server: &Authority) -> Option<C> {
        let mut state = self.state.lock();
        let connections = state.to.get_mut(server)?;
        let (used, connection) = connections.pop_back()?;
        if used.elapsed() < self.lifetime {
            return Some(connection);
        }
        // The others are older.
        connections.clear();
        None
    }

    /// Keeps a connection for the next request. Outside of a runtime it is closed, because nothing would limit its
    /// lifetime.
    pub(super) fn put(self: &Arc<Self>, server: &Authority, connection: C) {
        let Ok(runtime) = Handle::try_current() else { return };
        let used = (Instant::now(), connection);
        let mut state = self.state.lock();
        if let Some(connections) = state.to.get_mut(server) {
            connections.push_back(used);
            if connections.len() > MOST {
                connections.pop_front();
            }
        } else {
            state.to.insert(server.clone(), VecDeque::from([used]));
        }
        // The sweeper also ends with its runtime.
        if state.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            state.sweeper = Some(runtime.spawn(sweep(Arc::downgrade(self), self.lifetime)));
        }
    }

    /// Closes connections after their lifetime, and returns the end of the next lifetime. None: there are no
    /// connections, so the sweeper ends.
    fn evict(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        let is_over = |used: Instant| now.duration_since(used) >= self.lifetime;
        state.to.retain(|_, connections| {
            while connections.front().is_some_and(|(used, _)| is_over(*used)) {
                connections.pop_front();
            }
            !connections.is_empty()
        });
        let oldest =
            state.to.values().filter_map(|connections| connections.front()).map(|(used, _)| *used).min();
        if oldest.is_none() {
            state.sweeper = None;
        }
        oldest.map(|used| used + self.lifetime)
    }
}

async fn sweep<C: Send + 'static>(idle: Weak<IdleConnections<C>>, lifetime: Duration) {
    let mut next = Some(Instant::now() + lifetime);
    while let Some(at) = next {
        sleep_until(at).await;
        next = idle.upgrade().and_then(|idle| idle.evict(Instant::now()));
    }
}
