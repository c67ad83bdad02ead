//! The tokens that an authorization server has issued in exchange for those of callers. A token is only for the caller
//! whose token was exchanged.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::caller_token::CallerToken;
use crate::fault::OutboundProblem;
use crate::held_token::TokenForm;
use crate::token_answer::AccessToken;
use crate::token_keeper::TokenKeeper;
use crate::token_source::{TokenOrder, TokenSource};
use witgate_base::party::Principal;
use witgate_plugin::Digest;

/// Callers whose tokens are remembered.
const MOST_CALLERS: usize = 10_000;

/// Tokens of one caller, and their renewals at a time: several programs of a person, each with a token of its own.
const MOST_OF_ONE: usize = 4;

/// The tokens of one caller, and the share of renewals that they have. Without it, a caller with ever new tokens could
/// use the authorization server, or fill the memory.
struct TokensOfCaller {
    known: Mutex<VecDeque<(Digest, Arc<TokenKeeper>)>>,
    source: Arc<dyn TokenSource>,
}

/// The exchanged tokens of all callers.
pub(crate) struct ExchangedTokens {
    source: Arc<dyn TokenSource>,
    form: TokenForm,
    callers: Cache<Principal, Arc<TokensOfCaller>>,
}

/// A source that issues a bounded number of tokens at a time.
struct BoundedSource {
    source: Arc<dyn TokenSource>,
    share: Arc<Semaphore>,
}

impl TokenSource for BoundedSource {
    fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
        let Ok(permit) = Arc::clone(&self.share).try_acquire_owned() else {
            let why = "too many tokens of this caller are being exchanged".to_owned();
            return Box::pin(std::future::ready(Err(OutboundProblem::unreachable(why))));
        };
        let issued = self.source.issue(order);
        Box::pin(async move {
            let issued = issued.await;
            drop(permit);
            issued
        })
    }
}

impl ExchangedTokens {
    pub(crate) fn new(source: Arc<dyn TokenSource>, form: TokenForm) -> Self {
        Self { source, form, callers: Cache::new(MOST_CALLERS) }
    }

    /// The token in exchange for this one.
    pub(crate) fn of(&self, caller: &CallerToken) -> Arc<TokenKeeper> {
        let new = || Ok::<_, std::convert::Infallible>(Arc::new(self.of_new_caller()));
        let Ok(tokens) = self.callers.get_or_insert_with(caller.principal(), new);
        let mut known = tokens.known.lock();
        if let Some((_, found)) = known.iter().find(|(digest, _)| digest == caller.digest()) {
            return Arc::clone(found);
        }
        known.truncate(MOST_OF_ONE - 1);
        let keeper = TokenKeeper::new(Arc::clone(&tokens.source), self.form.clone());
        known.push_front((*caller.digest(), Arc::clone(&keeper)));
        keeper
    }

    fn of_new_caller(&self) -> TokensOfCaller {
        let (source, share) = (Arc::clone(&self.source), Arc::new(Semaphore::new(MOST_OF_ONE)));
        TokensOfCaller { known: Mutex::default(), source: Arc::new(BoundedSource { source, share }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Never issues a token.
    struct Silent;

    impl TokenSource for Silent {
        fn issue(&self, _: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_caller_has_a_bounded_number_of_renewals() {
        use futures_util::FutureExt as _;
        let tokens = ExchangedTokens::new(Arc::new(Silent), form());
        let begun = |subject: &str, number: usize| {
            let caller = token(subject, &number.to_string());
            let keeper = tokens.of(&caller);
            async move { keeper.renewed_now().await }.boxed()
        };
        for number in 0..MOST_OF_ONE {
            assert!(begun("ada", number).now_or_never().is_none());
        }
        tokio::task::yield_now().await;
        let problem = begun("ada", MOST_OF_ONE).await.unwrap_err();
        assert!(matches!(problem, OutboundProblem::Unreachable { .. }), "{problem}");
        assert!(begun("bob", 0).now_or_never().is_none());
    }

    fn tokens() -> ExchangedTokens {
        ExchangedTokens::new(Arc::new(Echo), form())
    }

    fn form() -> TokenForm {
        TokenForm {
            credential: "a".into(),
            header: http::header::AUTHORIZATION,
            prefix: String::new(),
            refresh_before: std::time::Duration::from_secs(1),
            recheck: None,
        }
    }

    #[tokio::test]
    async fn a_token_is_only_for_the_caller_whose_token_was_exchanged() {
        let tokens = tokens();
        for (subject, text) in [("ada", "1"), ("bob", "2"), ("ada", "3"), ("bob", "1")] {
            let caller = token(subject, text);
            let issued = tokens.of(&caller).token(Some(&caller)).await.unwrap();
            assert_eq!(issued.value, format!("for-{text}"));
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
