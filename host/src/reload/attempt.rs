//! The results of attempts to change the live generation.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use witgate_base::fingerprints::Fingerprints;
use witgate_config::diagnostic::Diagnostic;
use witgate_policy::PolicyError;
use witgate_policy::generation::Generation;

/// The result of the last candidate.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The time of the attempt.
    pub at: SystemTime,
    /// The time that it took, from the first sign of a change.
    pub took: Duration,
    /// The number of the generation that went live, or the reasons why none did.
    pub outcome: Result<u64, Vec<RefusalReason>>,
}

/// A reason why a candidate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusalReason {
    /// The policy that the reason is about. None: the configuration as a whole.
    pub policy: Option<String>,
    /// The error, with advice.
    pub message: String,
    /// True if the machine is at fault, so that Witgate tries the same again.
    pub may_pass: bool,
}

impl std::fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.policy {
            Some(policy) => write!(f, "policy `{policy}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl RefusalReason {
    /// A reason that is about the configuration as a whole, and stays until it changes.
    pub(super) fn of_configuration(message: String) -> Self {
        Self { policy: None, message, may_pass: false }
    }
}

impl From<PolicyError> for RefusalReason {
    fn from(error: PolicyError) -> Self {
        Self { policy: Some(error.policy), message: error.message, may_pass: error.cause.may_pass() }
    }
}

impl From<&Diagnostic> for RefusalReason {
    fn from(fault: &Diagnostic) -> Self {
        Self { policy: None, message: fault.to_string(), may_pass: fault.may_pass() }
    }
}

/// The end of an attempt.
pub(super) struct AttemptResult {
    /// The files to watch from now on.
    pub(super) files: Fingerprints,
    /// True if the machine is at fault for a failure.
    pub(super) may_pass: bool,
    /// True if a component is being compiled, so that another attempt follows.
    pub(super) is_compiling: bool,
}

/// The result of a successor.
pub(super) struct SuccessorResult {
    pub(super) live: Option<Arc<Generation>>,
    pub(super) reasons: Vec<RefusalReason>,
    pub(super) may_pass: bool,
    /// True if a component is being compiled, so that another attempt follows.
    pub(super) is_compiling: bool,
    /// True if there was a generation that cannot go live, because something beside its policies cannot.
    pub(super) is_refused: bool,
    pub(super) files: Fingerprints,
}

/// The numbers of the attempts that have begun, and that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AttemptProgress {
    pub(super) begun: u64,
    /// The number of the last attempt that has decided about all of its change.
    pub(super) ended: u64,
}

impl AttemptProgress {
    /// Notes that an attempt begins.
    pub(super) fn begin(&mut self) {
        self.begun += 1;
    }

    /// Notes that the attempt has ended.
    pub(super) fn end(&mut self) {
        self.ended = self.begun;
    }
}

/// The counters of candidates.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// Candidates that went live.
    pub flipped: AtomicU64,
    /// Candidates that were refused.
    pub refused: AtomicU64,
}

/// A rollback that somebody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollbackWish {
    /// The number of its target. None: the most recent generation with different inputs.
    pub to: Option<u64>,
    /// True if it may widen access, whatever the configuration says.
    pub allows_new_access: bool,
}

/// A rollback that was done.
#[derive(Clone, Debug)]
pub(crate) struct RollbackResult {
    /// The target of the rollback.
    pub to: u64,
    /// The generation that repeats it, and is live.
    pub live: u64,
    /// The reason why the rollback ends with the process. None: it survives a restart.
    pub unkept: Option<String>,
}
