//! The settings of a child upstream, and their defaults.

use std::time::Duration;

use witgate_config::SessionBounds;
use witgate_runtime::processes::CHILDREN;
use witgate_runtime::shares::Capacity;

/// Time for which a session is kept without use: agents may pause, but not for as long as a person's lunch.
pub(super) const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);
/// Time for which an unused child is kept. It starts again in seconds.
pub(super) const CHILD_IDLE: Duration = Duration::from_secs(10 * 60);
/// Sessions that share a child of one upstream: some kilobytes each.
pub(super) const SESSIONS: Capacity = Capacity { most: 4096, most_of_one: 256 };
/// The default for the largest line that is a message.
const MAX_MESSAGE: usize = 16 << 20;

/// The settings of a child upstream.
#[derive(Clone, Debug)]
pub struct ChildSettings {
    /// The upstream's name.
    pub name: String,
    /// True if one child serves all callers.
    pub shared: bool,
    /// Maximum time until the first message of an answer, and between two messages.
    pub timeout: Duration,
    /// The largest line that is a message, in bytes.
    pub max_message: usize,
    /// Time for running calls at the stop.
    pub grace: Duration,
    /// Idle time after which a session ends.
    pub session_idle: Duration,
    /// Idle time after which a child without a session ends.
    pub child_idle: Duration,
    /// Maximum number of children, including those that are starting or ending.
    pub children: Capacity,
    /// The bounds of sessions that share a child. Otherwise each session has a child, and [`ChildSettings::children`]
    /// counts.
    pub sessions: Capacity,
}

impl ChildSettings {
    /// Settings with the defaults of this module.
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

    /// The same, with the configured bounds of sessions.
    pub fn with_sessions(self, SessionBounds { most, most_of_one }: SessionBounds) -> Self {
        if self.shared {
            Self { sessions: self.sessions.set(most, most_of_one), ..self }
        } else {
            Self { children: self.children.set(most, most_of_one), ..self }
        }
    }

    /// The bounds of sessions.
    pub(super) fn session_bounds(&self) -> Capacity {
        if self.shared { self.sessions } else { self.children }
    }
}
