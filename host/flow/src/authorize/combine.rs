//! The answers of a pipeline's authorizers, combined. Nobody is asked here, so that every combination can be tried.

use std::sync::Arc;

use witgate_plugin::{Decision, Denial};

use crate::reject::Rejection;
use witgate_component::failure::Failure;
use witgate_policy::answer::Failed;

/// The answers about one call so far. It is allowed if one authorizer allows and none denies or fails.
#[derive(Debug, Default)]
pub struct Combination {
    allowed: bool,
    lacking: MissingScopes,
}

impl Combination {
    /// Adds the answer of `policy`.
    ///
    /// # Errors
    /// `Denied` or `Failed`, which end the matter. A denial for want of scopes waits for the other answers.
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

    /// The decision. `has_to_allow`: somebody has to allow, as opposed to nobody denying.
    ///
    /// # Errors
    /// `Denied`.
    pub fn conclude(self, has_to_allow: bool) -> Result<(), Rejection> {
        self.lacking.conclude()?;
        if has_to_allow && !self.allowed { Err(not_allowed()) } else { Ok(()) }
    }
}

/// The denial of a call that nobody has allowed.
pub(super) fn not_allowed() -> Rejection {
    let denial = Denial { reason: "not-allowed".to_owned(), ..Denial::default() };
    Rejection::Denied { policy: None, denial }
}

/// A denial that only lacks scopes. All authorizers are asked before it is reported, so that one challenge
/// names every scope that is needed, and one more authorization is enough.
#[derive(Debug, Default)]
pub(super) struct MissingScopes(Option<(Option<Arc<str>>, Denial)>);

impl MissingScopes {
    /// Notes a denial that lacks scopes.
    ///
    /// # Errors
    /// With whatever more scopes would not change.
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

    /// Reports what is lacking.
    ///
    /// # Errors
    /// `Denied`, where something is.
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
