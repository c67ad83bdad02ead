//! The failures of a policy, each with its reason code.

use witgate_base::cause::Cause;

/// The kind of failure of a policy. Each of them denies the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The hook exceeded its time.
    Timeout,
    /// The hook exceeded its memory, or the size of its tables.
    Memory,
    /// The hook exceeded its stack.
    Stack,
    /// The hook trapped.
    Trap,
    /// The hook used an import that is not granted.
    HostDenied,
    /// The answer exceeds a limit of the WIT package.
    BadOutput,
    /// The answer, or an argument for the host, is too large.
    Output,
    /// The hook logged too much.
    Log,
    /// The hook made too many host calls.
    HostCalls,
    /// The hook sent too many requests.
    HttpRequests,
    /// The component held too many of the host's resources.
    Handles,
    /// No instance was free in time.
    Busy,
    /// Something that the hook needs did not answer.
    Unavailable,
    /// The policy is not usable as configured.
    Config,
    /// The component failed repeatedly, and calls to it are paused.
    Breaker,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Timeout,
        Self::Memory,
        Self::Stack,
        Self::Trap,
        Self::HostDenied,
        Self::BadOutput,
        Self::Output,
        Self::Log,
        Self::HostCalls,
        Self::HttpRequests,
        Self::Handles,
        Self::Busy,
        Self::Unavailable,
        Self::Config,
        Self::Breaker,
    ];

    /// The reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Trap => "trap",
            Self::HostDenied => "host-denied",
            Self::BadOutput => "bad-output",
            Self::Output => "output",
            Self::Log => "log",
            Self::HostCalls => "host-calls",
            Self::HttpRequests => "http-requests",
            Self::Handles => "handles",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Config => "config",
            Self::Breaker => "breaker",
        }
    }

    /// The cause. A hook that exceeds time or memory may be a victim of a busy machine.
    pub fn cause(self) -> Cause {
        match self {
            Self::Timeout | Self::Busy | Self::Unavailable | Self::Breaker => Cause::Machine,
            Self::Memory
            | Self::Stack
            | Self::Trap
            | Self::HostDenied
            | Self::BadOutput
            | Self::Output
            | Self::Log
            | Self::HostCalls
            | Self::HttpRequests
            | Self::Handles
            | Self::Config => Cause::Content,
        }
    }

    /// True if the fallback may decide in place of the component: if the component gave no answer, not if it did
    /// something forbidden.
    pub fn is_covered(self) -> bool {
        match self {
            Self::Timeout
            | Self::Memory
            | Self::Stack
            | Self::Trap
            | Self::Handles
            | Self::Busy
            | Self::Breaker => true,
            Self::HostDenied
            | Self::BadOutput
            | Self::Output
            | Self::Log
            | Self::HostCalls
            | Self::HttpRequests
            | Self::Unavailable
            | Self::Config => false,
        }
    }
}
