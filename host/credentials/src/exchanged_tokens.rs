//! The tokens that an authorization server has issued in exchange for those of callers. A token is only for the caller
//! whose token was exchanged.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use crate::caller_token::CallerToken;
use crate::token_keeper::{TokenForm, TokenKeeper, TokenSource};
use witgate_base::party::Principal;
use witgate_plugin::Digest;

/// Callers whose tokens are remembered.
const MOST_CALLERS: usize = 10_000;

/// Tokens of one caller: several programs of a person, each with a token of its own.
const MOST_OF_ONE: usize = 4;

type TokensOfCaller = Mutex<VecDeque<(Digest, Arc<TokenKeeper>)>>;

/// The exchanged tokens of all callers.
pub(crate) struct ExchangedTokens {
    source: Arc<dyn TokenSource>,
    form: TokenForm,
    callers: Cache<Principal, Arc<TokensOfCaller>>,
}

impl ExchangedTokens {
    pub(crate) fn new(source: Arc<dyn TokenSource>, form: TokenForm) -> Self {
        Self { source, form, callers: Cache::new(MOST_CALLERS) }
    }

    /// The token in exchange for this one.
    pub(crate) fn of(&self, caller: &CallerToken) -> Arc<TokenKeeper> {
        let new = || Ok::<_, std::convert::Infallible>(Arc::default());
        let Ok(tokens) = self.callers.get_or_insert_with(caller.principal(), new);
        let mut tokens = tokens.lock();
        if let Some((_, found)) = tokens.iter().find(|(digest, _)| digest == caller.digest()) {
            return Arc::clone(found);
        }
        tokens.truncate(MOST_OF_ONE - 1);
        let keeper = TokenKeeper::new(Arc::clone(&self.source), self.form.clone());
        tokens.push_front((*caller.digest(), Arc::clone(&keeper)));
        keeper
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::fault::OutboundProblem;
    use crate::token_answer::AccessToken;
    use crate::token_keeper::TokenOrder;

    /// Issues the token of the caller, with a mark.
    struct Echo;

    impl TokenSource for Echo {
        fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
            let access = format!("for-{}", order.caller.unwrap().expose()).into();
            Box::pin(async move { Ok(AccessToken::of(access, None)) })
        }
    }

    fn token(subject: &str, text: &str) -> Arc<CallerToken> {
        Arc::new(CallerToken::new(Principal::new("idp".into(), None, subject), text))
    }

    fn tokens() -> ExchangedTokens {
        let form = TokenForm {
            credential: "a".into(),
            prefix: String::new(),
            refresh_before: std::time::Duration::from_secs(1),
            recheck: None,
        };
        ExchangedTokens::new(Arc::new(Echo), form)
    }

    #[tokio::test]
    async fn a_token_is_only_for_the_caller_whose_token_was_exchanged() {
        let tokens = tokens();
        for (subject, text) in [("ada", "1"), ("bob", "2"), ("ada", "3"), ("bob", "1")] {
            let caller = token(subject, text);
            let issued = tokens.of(&caller).token(Some(&caller)).await.unwrap();
            assert_eq!(issued, format!("for-{text}"));
        }
        let again = |subject, text| tokens.of(&token(subject, text));
        assert!(Arc::ptr_eq(&again("ada", "1"), &again("ada", "1")));
        assert!(!Arc::ptr_eq(&again("ada", "1"), &again("bob", "1")), "equal texts, other callers");
    }

    #[test]
    fn a_caller_has_a_bounded_number_of_tokens() {
        let tokens = tokens();
        let first = tokens.of(&token("ada", "0"));
        for number in 1..=MOST_OF_ONE {
            tokens.of(&token("ada", &number.to_string()));
        }
        assert!(!Arc::ptr_eq(&first, &tokens.of(&token("ada", "0"))), "the oldest one is forgotten");
        assert_eq!(tokens.callers.len(), 1);
    }
}
