//! Combines the answers of a pipeline's authorizers. It asks no policies, so tests can try every combination.

use std::sync::Arc;

use witgate_plugin::{Decision, Denial};

use crate::reject::Rejection;
use witgate_component::failure::Failure;
use witgate_policy::answer::Failed;

/// The answers about one call so far. The call is allowed if one authorizer allows it and none denies or fails.
#[derive(Debug, Default)]
pub struct Combination {
    allowed: bool,
    lacking: MissingScopes,
}

impl Combination {
    /// Adds the answer of `policy`.
    ///
    /// # Errors
    /// `Denied` or `Failed`, which are final. A denial because of missing scopes waits for the other answers.
    pub fn add(&mut self, policy: &Arc<str>, answer: Result<Decision, Failed>) -> Result<(), Rejection> {
        match answer? {
            Decision::Allow => self.allowed = true,
            Decision::Abstain => {}
            Decision::Deny(denial) => {
                self.lacking.note(Err(Rejection::Denied { policy: Some(Arc::clone(policy)), denial }))?;
            }
            Decision::Unavailable(said) => {
                let (policy, failure) = (Arc::clone(policy), Failure::Unavailable);
                let retry_after = said.retry_after;
                return Err(Failed { policy, failure, detail: said.detail, retry_after }.into());
            }
        }
        Ok(())
    }

    /// The decision. With `has_to_allow`, at least one authorizer has to allow; otherwise it is enough that none
    /// denies.
    ///
    /// # Errors
    /// `Denied`.
    pub fn conclude(self, has_to_allow: bool) -> Result<(), Rejection> {
        self.lacking.conclude()?;
        if has_to_allow && !self.allowed { Err(not_allowed()) } else { Ok(()) }
    }
}

/// The denial of a call that no authorizer has allowed.
pub(super) fn not_allowed() -> Rejection {
    let denial = Denial { reason: "not-allowed".to_owned(), ..Denial::default() };
    Rejection::Denied { policy: None, denial }
}

/// A denial because of missing scopes. It is reported after all authorizers have answered, so that one challenge names
/// all needed scopes, and the caller needs only one more authorization.
#[derive(Debug, Default)]
pub(super) struct MissingScopes(Option<(Option<Arc<str>>, Denial)>);

impl MissingScopes {
    /// Keeps a denial because of missing scopes.
    ///
    /// # Errors
    /// With every other denial or failure.
    pub(super) fn note(&mut self, outcome: Result<(), Rejection>) -> Result<(), Rejection> {
        match outcome {
            Err(Rejection::Denied { policy, denial }) if !denial.scopes.is_empty() => {
                match &mut self.0 {
                    None => self.0 = Some((policy, denial)),
                    Some((_, first)) => first.scopes.extend(denial.scopes),
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Reports the missing scopes.
    ///
    /// # Errors
    /// `Denied`, if scopes are missing.
    pub(super) fn conclude(self) -> Result<(), Rejection> {
        match self.0 {
            None => Ok(()),
            Some((policy, mut denial)) => {
                denial.scopes.sort_unstable();
                denial.scopes.dedup();
                Err(Rejection::Denied { policy, denial })
            }
        }
    }
}
