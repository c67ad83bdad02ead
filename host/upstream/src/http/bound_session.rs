//! A session at the upstream. It belongs to the account with which it was opened, because the server keeps in it what it
//! knows of that account: to one credential, and to one login if the credential is that of a person.

use std::sync::{Arc, OnceLock};

use ::http::HeaderValue;
use arc_swap::ArcSwapOption;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use witgate_credentials::held_token::HeldToken;
use witgate_credentials::login_id::LoginId;

use super::request_settings::RequestSettings;

/// A session at the upstream, and the account that it belongs to.
#[derive(Debug, Default)]
pub(super) struct BoundSession {
    /// The upstream's id. None: the upstream has no sessions.
    id: Option<HeaderValue>,
    /// The settings of the request that has opened it.
    given: Arc<RequestSettings>,
    /// The login. None: no request in it had an account.
    login: OnceLock<LoginId>,
    /// The token in the last request.
    token: ArcSwapOption<HeldToken>,
    ended: CancellationToken,
}

impl BoundSession {
    /// The session that a request with these settings and `token` has opened.
    pub(super) fn opened(
        id: Option<&HeaderValue>,
        given: Arc<RequestSettings>,
        token: Option<Arc<HeldToken>>,
    ) -> Self {
        // A copy, because the answer's memory would stay as long as the session.
        let id = id.map(|id| HeaderValue::from_bytes(id.as_bytes()).unwrap_or_else(|_| id.clone()));
        let (login, last, ended) = Default::default();
        let session = Self { id, given, login, token: last, ended };
        session.takes(token.as_ref());
        session
    }

    /// The upstream's id.
    pub(super) fn id(&self) -> Option<&HeaderValue> {
        self.id.as_ref()
    }

    /// The settings of the request that has opened it.
    pub(super) fn given(&self) -> &RequestSettings {
        &self.given
    }

    /// True if it has not ended, and requests with these settings may be in it. After a reload, they may be those of
    /// another account.
    pub(super) fn is_open_for(&self, given: &Arc<RequestSettings>) -> bool {
        let is_theirs = || Arc::ptr_eq(&self.given, given) || self.given.has_account_of(given);
        !self.ended.is_cancelled() && is_theirs()
    }

    /// True if a request with these settings and this token may be in the session. One that was opened without an account
    /// belongs to the first login, and one of a login never has requests without it.
    pub(super) fn admits(&self, given: &Arc<RequestSettings>, token: Option<&Arc<HeldToken>>) -> bool {
        self.is_open_for(given) && self.takes(token)
    }

    fn takes(&self, token: Option<&Arc<HeldToken>>) -> bool {
        let is_theirs = match token.and_then(|token| token.login()) {
            Some(login) => *self.login.get_or_init(|| login) == login,
            None => self.login.get().is_none(),
        };
        let is_last = |token| self.token.load().as_ref().is_some_and(|last| Arc::ptr_eq(last, token));
        if let Some(token) = token.filter(|token| is_theirs && !is_last(token)) {
            self.token.store(Some(Arc::clone(token)));
        }
        is_theirs
    }

    /// The token in the last request.
    pub(super) fn token(&self) -> Option<Arc<HeldToken>> {
        self.token.load_full()
    }

    /// Ends the streams in the session. False: they have ended before.
    pub(super) fn end(&self) -> bool {
        let is_first = !self.ended.is_cancelled();
        self.ended.cancel();
        is_first
    }

    /// The end of the session.
    pub(super) fn ended(&self) -> WaitForCancellationFutureOwned {
        self.ended.clone().cancelled_owned()
    }
}
