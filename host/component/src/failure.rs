//! The ways in which a policy fails to decide, each with its reason code.

use witgate_base::cause::Cause;

/// The kind of failure of a policy. Each denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It took longer than its limit.
    Timeout,
    /// It wanted more memory, or larger tables, than its limit.
    Memory,
    /// It called itself too deep.
    Stack,
    /// It trapped.
    Trap,
    /// It did what is not granted.
    HostDenied,
    /// It answered what is not within the bounds.
    BadOutput,
    /// It answered, or passed to the host, more than is permitted.
    Output,
    /// It logged too much.
    Log,
    /// It asked the host too often.
    HostCalls,
    /// It sent too many requests.
    HttpRequests,
    /// It held too many of the host's resources.
    Handles,
    /// All its instances were at work for too long.
    Busy,
    /// Something that it needs did not answer.
    Unavailable,
    /// It is not usable as configured.
    Config,
    /// It kept failing, and calls to it are paused.
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

    /// The cause: a hook without time or memory may suffer from a busy machine.
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

    /// True if a built-in that is the same check may decide in the component's place, where the configuration
    /// says so: where the component gave no answer, not where it did wrong.
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
