//! Combinations of answers: a denial denies, no allowance denies, and a failure never allows.

use std::sync::Arc;

use proptest::prelude::*;
use witgate_component::failure::Failure;
use witgate_flow::authorize::combine::Combination;
use witgate_flow::reject::Rejection;
use witgate_plugin::{Decision, Denial, Unavailability};
use witgate_policy::answer::Failed;

/// An answer of an authorizer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Allow,
    Abstain,
    Deny,
    DenyForScopes,
    Unavailable,
    Fail,
}

impl Answer {
    fn result(self) -> Result<Decision, Failed> {
        let scopes = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let denial = |names| {
            Decision::Deny(Denial { reason: "no".to_owned(), scopes: scopes(names), ..Denial::default() })
        };
        Ok(match self {
            Self::Allow => Decision::Allow,
            Self::Abstain => Decision::Abstain,
            Self::Deny => denial(&[]),
            Self::DenyForScopes => denial(&["files:write"]),
            Self::Unavailable => Decision::Unavailable(Unavailability::new("its server is away", None)),
            Self::Fail => {
                let (detail, retry_after) = (String::new(), None);
                return Err(Failed { policy: "rules".into(), failure: Failure::Trap, detail, retry_after });
            }
        })
    }

    fn is_failure(self) -> bool {
        matches!(self, Self::Unavailable | Self::Fail)
    }

    fn is_denial(self) -> bool {
        matches!(self, Self::Deny | Self::DenyForScopes)
    }
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    use Answer::{Abstain, Allow, Deny, DenyForScopes, Fail, Unavailable};
    prop::collection::vec(
        prop::sample::select(vec![Allow, Abstain, Deny, DenyForScopes, Unavailable, Fail]),
        0..8,
    )
}

/// As in the pipeline: the first error ends it.
fn combined(answers: &[Answer], has_to_allow: bool) -> Result<(), Rejection> {
    let policy = Arc::from("rules");
    let mut combination = Combination::default();
    for answer in answers {
        combination.add(&policy, answer.result())?;
    }
    combination.conclude(has_to_allow)
}

proptest! {
    #[test]
    fn only_an_allowance_without_denial_or_failure_allows(answers in answers(), has_to_allow: bool) {
        let nothing_against = !answers.iter().any(|answer| answer.is_denial() || answer.is_failure());
        let allowed = !has_to_allow || answers.contains(&Answer::Allow);
        prop_assert_eq!(combined(&answers, has_to_allow).is_ok(), nothing_against && allowed);
    }

    #[test]
    fn a_failure_is_reported_unless_a_final_denial_came_first(answers in answers()) {
        let ends = |answer: &Answer| answer.is_failure() || *answer == Answer::Deny;
        match (answers.iter().copied().find(ends), combined(&answers, true)) {
            (Some(first), Err(Rejection::Failed(_))) => prop_assert!(first.is_failure()),
            (Some(first), Err(Rejection::Denied { .. })) => prop_assert_eq!(first, Answer::Deny),
            (None, Err(Rejection::Failed(_))) => prop_assert!(false, "nobody failed"),
            (None, _) => {}
            (Some(_), outcome) => prop_assert!(false, "{:?}", outcome),
        }
    }

    #[test]
    fn the_order_of_answers_does_not_change_the_verdict(answers in answers()) {
        let mut reversed = answers.clone();
        reversed.reverse();
        prop_assert_eq!(combined(&answers, true).is_ok(), combined(&reversed, true).is_ok());
    }
}
