//! The answers of hooks, and the reasons why there is none.

use std::sync::Arc;

use witgate_plugin::{Decision, Verdict};

use witgate_component::failure::Failure;

/// The answer of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `authenticate`.
    Verdict(Verdict),
    /// `authorize`.
    Decision(Decision),
    /// No answer: the failure, and the engine's message.
    Failed(Failure, String),
}

/// The answer of a policy to one hook, and its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookAnswer<A> {
    /// The answer.
    pub answer: A,
    /// True if the fallback gave the answer, in place of the component. A failure is never the fallback's.
    pub by_fallback: bool,
}

/// The failure of a policy that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The kind of failure.
    pub failure: Failure,
    /// A sentence for the operator.
    pub detail: String,
    /// Seconds until a retry makes sense.
    pub retry_after: Option<u32>,
}
