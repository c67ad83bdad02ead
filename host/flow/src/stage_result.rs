//! The result of a stage that asks policies, with the fallback that had a part in it.

use std::sync::Arc;

use super::reject::Rejection;
use witgate_policy::Policy;
use witgate_policy::answer::HookAnswer;

/// The result of a stage, with its first fallback.
#[must_use = "it may be a rejection"]
#[derive(Debug)]
pub struct StageResult<T> {
    /// The result.
    pub result: Result<T, Rejection>,
    /// The first fallback that had a part in the result.
    pub fallback: FallbackUse,
}

impl<T> StageResult<T> {
    /// The same with another result.
    pub(super) fn map<U>(
        self,
        result: impl FnOnce(Result<T, Rejection>) -> Result<U, Rejection>,
    ) -> StageResult<U> {
        StageResult { result: result(self.result), fallback: self.fallback }
    }
}

/// A result without the part of any policy.
impl<T> From<Result<T, Rejection>> for StageResult<T> {
    fn from(result: Result<T, Rejection>) -> Self {
        Self { result, fallback: FallbackUse::default() }
    }
}

/// The first policy for which the fallback has decided, if there is one. A record has room for one; the log contains
/// the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FallbackUse(Option<Arc<str>>);

impl FallbackUse {
    /// The policy's name.
    pub fn policy(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Adds the fallback of a later stage, and returns the stage's result.
    pub(super) fn note<T>(&mut self, later: StageResult<T>) -> Result<T, Rejection> {
        if self.0.is_none() {
            *self = later.fallback;
        }
        later.result
    }

    /// Adds the fallback of a policy, and returns the policy's answer.
    pub(super) fn note_answer<A>(&mut self, policy: &Policy, answered: HookAnswer<A>) -> A {
        if answered.by_fallback && self.0.is_none() {
            self.0 = Some(Arc::clone(policy.name()));
        }
        answered.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(policy: Option<&str>) -> StageResult<()> {
        StageResult { result: Err(Rejection::NoCredential), fallback: FallbackUse(policy.map(Arc::from)) }
    }

    #[test]
    fn the_first_fallback_is_kept_for_every_result() {
        let mut fallback = FallbackUse::default();
        for (policy, noted) in
            [(None, None), (Some("a"), Some("a")), (Some("b"), Some("a")), (None, Some("a"))]
        {
            assert!(fallback.note(by(policy)).is_err());
            assert_eq!(fallback.policy(), noted);
        }
    }
}
