//! The interface to issuers of tokens.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::caller_token::CallerToken;
use crate::fault::OutboundProblem;
use crate::token_answer::AccessToken;
use witgate_plugin::Digest;

/// An issuer of tokens.
pub(crate) trait TokenSource: Send + Sync + 'static {
    /// A new token.
    fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>>;

    /// The living token in the store, if others may change it there. No issuer is asked. None: it has to be renewed.
    fn stored(&self) -> BoxFuture<'static, Result<Option<AccessToken>, OutboundProblem>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The order of a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenOrder {
    /// The caller whose token is exchanged.
    pub(crate) caller: Option<Arc<CallerToken>>,
    /// The digest of the access token that the server refuses.
    pub(crate) refused: Option<Digest>,
}

impl TokenOrder {
    /// The order of any token.
    pub(crate) fn of(caller: Option<&Arc<CallerToken>>) -> Self {
        Self { caller: caller.cloned(), refused: None }
    }
}
