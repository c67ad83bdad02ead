//! The settings of a child upstream, and their defaults.

use std::time::Duration;

use witgate_config::SessionBounds;
use witgate_runtime::processes::CHILDREN;
use witgate_runtime::shares::Capacity;

/// A client that comes back within this finds its session; agents pause for thought, people for
/// lunch do not.
pub(super) const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// A child that nobody is bound to starts again in seconds.
pub(super) const CHILD_IDLE: Duration = Duration::from_secs(10 * 60);
/// Sessions that share a child, of one upstream: some kilobytes each.
pub(super) const SESSIONS: Capacity = Capacity { most: 4096, most_of_one: 256 };
/// The largest line that is a message, where nothing else is said.
const MAX_MESSAGE: usize = 16 << 20;

/// The settings of a child upstream.
#[derive(Clone, Debug)]
pub struct ChildSettings {
    /// The upstream's name.
    pub name: String,
    /// One child for all callers.
    pub shared: bool,
    /// Maximum time until the first sign of an answer, and from one to the next.
    pub timeout: Duration,
    /// The largest line that is a message, in bytes.
    pub max_message: usize,
    /// Time that running calls may take at the end.
    pub grace: Duration,
    /// After how long without use a session ends.
    pub session_idle: Duration,
    /// After how long without use a child ends that no session has.
    pub child_idle: Duration,
    /// Maximum number of children, those that are starting or ending included.
    pub children: Capacity,
    /// The bounds of sessions that share a child. Else each has a child, and [`ChildSettings::children`] counts.
    pub sessions: Capacity,
}

impl ChildSettings {
    /// With the defaults of this module.
    pub fn new(name: &str, shared: bool, timeout: Duration, grace: Duration) -> Self {
        Self {
            name: name.to_owned(),
            shared,
            timeout,
            max_message: MAX_MESSAGE,
            grace,
            session_idle: SESSION_IDLE,
            child_idle: CHILD_IDLE,
            children: CHILDREN,
            sessions: SESSIONS,
        }
    }

    /// With as many sessions as the configuration says.
    pub fn with_sessions(self, SessionBounds { most, most_of_one }: SessionBounds) -> Self {
        if self.shared {
            Self { sessions: self.sessions.set(most, most_of_one), ..self }
        } else {
            Self { children: self.children.set(most, most_of_one), ..self }
        }
    }

    /// The bounds of sessions that follow from it.
    pub(super) fn session_bounds(&self) -> Capacity {
        if self.shared { self.sessions } else { self.children }
    }
}
