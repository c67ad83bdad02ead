//! Tokens of a grant that a person has given. A renewal holds the lock of the grant, so that of several processes one
//! asks the provider and the others read the result. A new refresh token is written before a token is used.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use secrecy::ExposeSecret as _;
use tokio::task::spawn_blocking;

use crate::client::SecretError;
use crate::fault::{MissingSource, OutboundProblem};
use crate::grant_store::{GrantError, GrantLock, GrantStore, StoredGrant};
use crate::token_answer::AccessToken;
use crate::token_keeper::{TokenOrder, TokenSource};
use crate::token_sources::TokenEndpoint;
use witgate_base::clock;
use witgate_base::digest::sha256;
use witgate_config::credentials::GrantSettings;
use witgate_plugin::Digest;
use witgate_services::network::Ways;

/// Attempts to write a new refresh token, which exists only once.
const ATTEMPTS: usize = 3;

/// The errors after which only a new login helps: RFC 6749, section 5.2; GitHub; OpenID Connect and Entra.
const FINAL: [&str; 3] = ["invalid_grant", "bad_refresh_token", "interaction_required"];

/// The grant of one credential.
#[derive(Clone)]
pub(crate) struct GrantSource {
    credential: Arc<str>,
    endpoint: Arc<TokenEndpoint>,
    /// The scopes in requests, for providers that need them.
    scope: Option<String>,
    store: GrantStore,
    refresh_before: Duration,
    /// The access token that was returned last.
    last: Arc<Mutex<Option<Digest>>>,
}

impl TokenSource for GrantSource {
    fn issue(&self, order: TokenOrder) -> BoxFuture<'static, Result<AccessToken, OutboundProblem>> {
        let source = self.clone();
        Box::pin(async move {
            let grant = source.grant(order.is_refused).await?;
            *source.last.lock() = Some(digest(&grant));
            Ok(issued(&grant))
        })
    }
}

impl GrantSource {
    /// The grant of a credential with these settings.
    pub(crate) fn of(
        credential: &Arc<str>,
        settings: &GrantSettings,
        ways: &Arc<Ways>,
    ) -> Result<Self, SecretError> {
        let scopes = settings.token.scopes.join(" ");
        Ok(Self {
            credential: Arc::clone(credential),
            endpoint: Arc::new(TokenEndpoint::of_grant(settings, ways)?),
            scope: settings.names_scopes.then_some(scopes),
            store: GrantStore::of(settings),
            refresh_before: settings.token.refresh_before,
            last: Arc::default(),
        })
    }

    async fn grant(&self, is_refused: bool) -> Result<StoredGrant, OutboundProblem> {
        let stored = self.read().await?;
        if self.is_good(&stored, is_refused) {
            return Ok(stored);
        }
        let lock = Arc::new(self.lock().await?);
        // Another process may have renewed it meanwhile.
        let stored = self.read().await?;
        if self.is_good(&stored, is_refused) {
            return Ok(stored);
        }
        let renewed = self.renew(&stored, lock).await;
        match renewed {
            Err(OutboundProblem::Unreachable { why }) if !is_refused && is_alive(&stored) => {
                tracing::warn!(credential = &*self.credential, %why, "the former token is used until its end");
                Ok(stored)
            }
            renewed => renewed,
        }
    }

    /// True if the access token is neither refused nor due.
    fn is_good(&self, stored: &StoredGrant, is_refused: bool) -> bool {
        let is_the_refused = is_refused && *self.last.lock() == Some(digest(stored));
        let now = clock::since_epoch().as_secs();
        !is_the_refused && stored.renewal.is_none_or(|renewal| now < renewal)
    }

    async fn renew(
        &self,
        stored: &StoredGrant,
        lock: Arc<GrantLock>,
    ) -> Result<StoredGrant, OutboundProblem> {
        let Some(refresh) = &stored.refresh else {
            return self.ended(stored, lock).await;
        };
        let scope = self.scope.as_deref().map(|scope| ("scope", scope));
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.expose_secret())];
        let fields: Vec<_> = fields.into_iter().chain(scope).collect();
        match self.endpoint.ask(&fields).await {
            Ok(issued) => {
                self.keep(StoredGrant::renewed(stored, issued, self.refresh_before), stored, lock).await
            }
            Err(OutboundProblem::Refused { error }) if FINAL.contains(&&*error) => {
                tracing::warn!(credential = &*self.credential, %error, "the grant has ended; log in again");
                self.ended(stored, lock).await
            }
            Err(problem) => Err(problem),
        }
    }

    /// Writes a new grant before it is used.
    async fn keep(
        &self,
        new: StoredGrant,
        former: &StoredGrant,
        lock: Arc<GrantLock>,
    ) -> Result<StoredGrant, OutboundProblem> {
        let secret =
            |grant: &StoredGrant| grant.refresh.as_ref().map(|refresh| refresh.expose_secret().to_owned());
        let is_rotated = secret(&new) != secret(former);
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            match self.write(new.clone(), Arc::clone(&lock)).await {
                Ok(()) => return Ok(new),
                Err(error) => failure = Some(error),
            }
        }
        let failure = failure.map(|error| error.to_string()).unwrap_or_default();
        tracing::error!(credential = &*self.credential, error = failure, "the new grant cannot be written");
        if !is_rotated {
            return Ok(new);
        }
        // The former refresh token is used up. Nobody may take the file for a grant.
        let (store, credential) = (self.store.clone(), Arc::clone(&self.credential));
        let removed = spawn_blocking(move || store.remove(&credential, &lock)).await;
        drop(removed);
        Err(OutboundProblem::Ended)
    }

    async fn ended(
        &self,
        stored: &StoredGrant,
        lock: Arc<GrantLock>,
    ) -> Result<StoredGrant, OutboundProblem> {
        let ended = StoredGrant { has_ended: true, refresh: None, ..stored.clone() };
        if let Err(error) = self.write(ended, lock).await {
            tracing::error!(credential = &*self.credential, %error, "the end of the grant cannot be written");
        }
        Err(OutboundProblem::Ended)
    }

    /// The grant, if there is one that has not ended.
    async fn read(&self) -> Result<StoredGrant, OutboundProblem> {
        let (store, credential) = (self.store.clone(), Arc::clone(&self.credential));
        let stored = self.blocking(move || store.read(&credential)).await?;
        let login = || OutboundProblem::Missing(MissingSource::Login);
        let stored = stored.ok_or_else(login)?;
        if stored.has_ended { Err(OutboundProblem::Ended) } else { Ok(stored) }
    }

    async fn lock(&self) -> Result<GrantLock, OutboundProblem> {
        let (store, credential) = (self.store.clone(), Arc::clone(&self.credential));
        self.blocking(move || store.lock(&credential)).await
    }

    async fn write(&self, grant: StoredGrant, lock: Arc<GrantLock>) -> Result<(), OutboundProblem> {
        let (store, credential) = (self.store.clone(), Arc::clone(&self.credential));
        self.blocking(move || store.write(&credential, &grant, &lock)).await
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

fn digest(grant: &StoredGrant) -> Digest {
    sha256(grant.access.expose_secret().as_bytes())
}

fn is_alive(grant: &StoredGrant) -> bool {
    grant.end.is_none_or(|end| clock::since_epoch().as_secs() < end)
}

fn issued(grant: &StoredGrant) -> AccessToken {
    let now = clock::since_epoch().as_secs();
    let lifetime = grant.end.map(|end| Duration::from_secs(end.saturating_sub(now)));
    // A token without an end is read again before this one.
    AccessToken::of(grant.access.clone(), lifetime)
}

#[cfg(test)]
mod tests;
