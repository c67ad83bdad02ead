//! Tokens of a grant that a person has given, for all callers or for one principal. A renewal holds the lock of the
//! grant, so that of several processes one asks the provider and the others read the result. A new refresh token is
//! written before a token is used.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use tokio::task::spawn_blocking;

use crate::client::SecretError;
use crate::fault::{MissingSource, OutboundProblem};
use crate::grant_key::GrantKey;
use crate::grant_store::journal::GrantJournal;
use crate::grant_store::{GrantError, GrantLock, GrantStore, StoredGrant};
use crate::open_renewals::OpenRenewals;
use crate::token_answer::AccessToken;
use crate::token_source::{TokenOrder, TokenSource};
use crate::token_sources::TokenEndpoint;
use witgate_base::clock;
use witgate_base::digest::sha256;
use witgate_base::party::Principal;
use witgate_config::credentials::GrantSettings;
use witgate_plugin::Digest;
use witgate_runtime::workers;
use witgate_services::network::Ways;

/// The pauses between attempts to write a new refresh token: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The errors after which only a new login helps: RFC 6749, section 5.2; GitHub; OpenID Connect and Entra.
const FINAL: [&str; 3] = ["invalid_grant", "bad_refresh_token", "interaction_required"];

/// One grant.
#[derive(Clone)]
pub(crate) struct GrantSource {
    key: GrantKey,
    endpoint: Arc<TokenEndpoint>,
    /// The scopes in requests, for providers that need them.
    scope: Option<String>,
    store: GrantStore,
    refresh_before: Duration,
    open: OpenRenewals,
}

impl TokenSource for GrantSource {
    fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
        let source = self.clone();
        Box::pin(async move { source.grant(order.refused).await.map(|grant| issued(&grant)) })
    }

    fn stored(&self) -> BoxFuture<'static, Result<Option<AccessToken>, OutboundProblem>> {
        let source = self.clone();
        Box::pin(async move {
            let grant = source.read().await?;
            Ok(is_alive(&grant).then(|| issued(&grant)))
        })
    }
}

impl GrantSource {
    /// The grant that all callers of a credential with these settings share.
    pub(crate) fn of(
        credential: &Arc<str>,
        settings: &GrantSettings,
        ways: &Arc<Ways>,
        open: &OpenRenewals,
    ) -> Result<Self, SecretError> {
        let scopes = settings.token.scopes.join(" ");
        Ok(Self {
            key: GrantKey::shared(credential),
            endpoint: Arc::new(TokenEndpoint::of_grant(settings, ways)?),
            scope: settings.names_scopes.then_some(scopes),
            store: GrantStore::of(settings),
            refresh_before: settings.token.refresh_before,
            open: open.clone(),
        })
    }

    /// The grant of `owner` for the same credential.
    pub(crate) fn of_principal(&self, owner: Principal) -> Self {
        Self { key: GrantKey::of(self.key.credential(), owner), ..self.clone() }
    }

    /// The grant with an access token that is not the one with the digest `refused`.
    async fn grant(&self, refused: Option<Digest>) -> Result<StoredGrant, OutboundProblem> {
        let stored = self.read().await?;
        if is_good(&stored, refused) {
            return Ok(stored);
        }
        let lock = Arc::new(self.lock().await?);
        // Another process may have renewed it meanwhile.
        let stored = self.read().await?;
        if is_good(&stored, refused) {
            return Ok(stored);
        }
        if stored.refresh.is_none() {
            let is_only_refused = is_alive(&stored);
            return Err(if is_only_refused { OutboundProblem::Rejected } else { OutboundProblem::Ended });
        }
        match self.renewed(stored.clone(), lock).await {
            Err(OutboundProblem::Unreachable { why })
                if is_alive(&stored) && !is_refused(&stored, refused) =>
            {
                tracing::warn!(grant = %self.key, %why, "the former token is used until its end");
                Ok(stored)
            }
            renewed => renewed,
        }
    }

    /// Renews the grant in a task of its own. From the request to the write, nothing may interrupt it, because a new
    /// refresh token exists only once.
    async fn renewed(
        &self,
        stored: StoredGrant,
        lock: Arc<GrantLock>,
    ) -> Result<StoredGrant, OutboundProblem> {
        let (source, open) = (self.clone(), self.open.begin().await);
        let renewal = async move {
            let renewed = source.renew(&stored, lock).await;
            drop(open);
            renewed
        };
        let lost = |_| Err(OutboundProblem::unreachable("the renewal has failed".to_owned()));
        workers::background().spawn(renewal).await.unwrap_or_else(lost)
    }

    async fn renew(
        &self,
        stored: &StoredGrant,
        lock: Arc<GrantLock>,
    ) -> Result<StoredGrant, OutboundProblem> {
        let refresh = stored.refresh.as_ref().ok_or(OutboundProblem::Ended)?;
        let scope = self.scope.as_deref().map(|scope| ("scope", scope));
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose_secret())];
        let fields: Vec<_> = fields.into_iter().chain(scope).collect();
        // Without room for the answer, the refresh token is not used up.
        let mut journal = self.prepare(&lock).await?;
        match self.endpoint.answer(&fields).await {
            Ok(issued) => {
                let flaw = issued.flaw;
                let new = StoredGrant::renewed(stored, issued, self.refresh_before);
                // Another thread might have to wait for a processor.
                let noted = self.store.note(&self.key, &new, &mut journal);
                self.keep(&new, stored, noted.map(|()| journal), &lock).await;
                flaw.map_or(Ok(new), |flaw| Err(OutboundProblem::Refused { error: flaw.into() }))
            }
            Err(OutboundProblem::Refused { error }) if FINAL.contains(&&*error) => {
                let why = if lock.follows_lost_answer() {
                    "the answer to the renewal before was lost, because its process was killed or the provider was away"
                } else {
                    "the provider has ended it"
                };
                tracing::warn!(grant = %self.key, %error, why, "the grant has ended; log in again");
                self.end(stored, &lock).await;
                Err(OutboundProblem::Ended)
            }
            Err(problem) => {
                if lock.follows_lost_answer() || matches!(problem, OutboundProblem::Unreachable { .. }) {
                    journal.leave_lost_answer();
                }
                Err(problem)
            }
        }
    }

    /// Writes a new grant before it is used. The former refresh token may be used up, so the new one stays in memory
    /// under the lock until it is written.
    async fn keep(
        &self,
        new: &StoredGrant,
        former: &StoredGrant,
        noted: Result<GrantJournal, GrantError>,
        lock: &Arc<GrantLock>,
    ) {
        let secret = |grant: &StoredGrant| {
            grant.refresh.as_ref().map(|refresh| sha256(refresh.expose_secret().as_bytes()))
        };
        let is_rotated = secret(new) != secret(former);
        let (mut pause, longest) = PAUSES;
        let mut written = self.finish(noted, Arc::clone(lock)).await;
        while let Err(error) = written {
            tracing::error!(grant = %self.key, %error, "the new grant cannot be written");
            if !is_rotated {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            written = self.write(new.clone(), Arc::clone(lock)).await;
        }
    }

    async fn end(&self, stored: &StoredGrant, lock: &Arc<GrantLock>) {
        let ended = StoredGrant { has_ended: true, refresh: None, ..stored.clone() };
        if let Err(error) = self.write(ended, Arc::clone(lock)).await {
            tracing::error!(grant = %self.key, %error, "the end of the grant cannot be written");
        }
    }

    /// The grant, if there is one that has not ended.
    async fn read(&self) -> Result<StoredGrant, OutboundProblem> {
        let (store, key) = (self.store.clone(), self.key.clone());
        let stored = self.blocking(move || store.read(&key)).await?;
        let absent = || match self.key.owner() {
            None => OutboundProblem::Missing(MissingSource::Login),
            Some(_) => OutboundProblem::NotConnected,
        };
        let stored = stored.ok_or_else(absent)?;
        if stored.has_ended { Err(OutboundProblem::Ended) } else { Ok(stored) }
    }

    async fn lock(&self) -> Result<GrantLock, OutboundProblem> {
        let (store, key) = (self.store.clone(), self.key.clone());
        self.blocking(move || store.lock(&key)).await
    }

    async fn write(&self, grant: StoredGrant, lock: Arc<GrantLock>) -> Result<(), OutboundProblem> {
        let (store, key) = (self.store.clone(), self.key.clone());
        self.blocking(move || store.write(&key, &grant, &lock)).await
    }

    async fn prepare(&self, lock: &Arc<GrantLock>) -> Result<GrantJournal, OutboundProblem> {
        let (store, key, lock) = (self.store.clone(), self.key.clone(), Arc::clone(lock));
        self.blocking(move || store.prepare(&key, &lock)).await
    }

    async fn finish(
        &self,
        noted: Result<GrantJournal, GrantError>,
        lock: Arc<GrantLock>,
    ) -> Result<(), OutboundProblem> {
        let (store, key) = (self.store.clone(), self.key.clone());
        self.blocking(move || store.finish(&key, &noted?, &lock)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, GrantError> + Send + 'static,
    ) -> Result<T, OutboundProblem> {
        let done = spawn_blocking(work).await;
        let done = done.map_err(|error| OutboundProblem::unreachable(error.to_string()))?;
        done.map_err(|error| OutboundProblem::unreachable(error.to_string()))
    }
}

/// True if the access token is neither refused nor due. Without a refresh token, it is used until its end.
fn is_good(stored: &StoredGrant, refused: Option<Digest>) -> bool {
    let due = if stored.refresh.is_some() { stored.renewal } else { stored.end };
    let now = clock::since_epoch().as_secs();
    !is_refused(stored, refused) && due.is_none_or(|due| now < due)
}

/// True if the access token is the one with the digest `refused`.
fn is_refused(stored: &StoredGrant, refused: Option<Digest>) -> bool {
    refused == Some(sha256(stored.access.expose_secret().as_bytes()))
}

fn is_alive(grant: &StoredGrant) -> bool {
    grant.end.is_none_or(|end| clock::since_epoch().as_secs() < end)
}

fn issued(grant: &StoredGrant) -> AccessToken {
    let now = clock::since_epoch().as_secs();
    let lifetime = grant.end.map(|end| Duration::from_secs(end.saturating_sub(now)));
    // A token without an end is read again before this one.
    let (account, login) = (grant.account.clone(), Some(grant.login));
    AccessToken { account, login, ..AccessToken::of(grant.access.clone(), lifetime) }
}

#[cfg(test)]
mod tests;
