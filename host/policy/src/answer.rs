//! The answers of hooks, and why there is none.

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
    /// Neither: how it failed, and what the engine says.
    Failed(Failure, String),
}

/// The answer of a policy to one hook, and who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookAnswer<A> {
    /// The answer.
    pub answer: A,
    /// True if the fallback gave it: the built-in, in place of the component. A failure is never its own.
    pub by_fallback: bool,
}

/// The failure of a policy that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The kind of failure.
    pub failure: Failure,
    /// For the operator.
    pub detail: String,
    /// Seconds after which trying again makes sense.
    pub retry_after: Option<u32>,
}
