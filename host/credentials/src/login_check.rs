//! The check that somebody has logged in, for calls that do not carry the tokens themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::fault::{MissingSource, OutboundProblem};
use crate::grant_key::GrantKey;
use crate::grant_store::{GrantStore, StoredGrant};
use witgate_base::clock;
use witgate_base::party::Principal;
use witgate_config::credentials::GrantSettings;

/// The time for which a result is believed, so that not every call reads the file.
const BELIEVED: Duration = Duration::from_secs(1);

/// The last result of the check.
pub(crate) struct LoginCheck {
    key: GrantKey,
    store: GrantStore,
    last: Mutex<Option<(Instant, Result<(), OutboundProblem>)>>,
}

impl LoginCheck {
    pub(crate) fn new(credential: &Arc<str>, settings: &GrantSettings) -> Self {
        let (key, store) = (GrantKey::shared(credential), GrantStore::of(settings));
        Self { key, store, last: Mutex::default() }
    }

    /// Checks once that a principal has connected their account.
    pub(crate) fn of_principal(
        credential: &Arc<str>,
        settings: &GrantSettings,
        principal: &Principal,
    ) -> Result<(), OutboundProblem> {
        let (key, store) = (GrantKey::of(credential, principal.clone()), GrantStore::of(settings));
        Self { key, store, last: Mutex::default() }.read().map_err(|problem| match problem {
            OutboundProblem::Missing(MissingSource::Login) => OutboundProblem::NotConnected,
            other => other,
        })
    }

    /// Checks that there is a grant that has not ended.
    pub(crate) fn check(&self) -> Result<(), OutboundProblem> {
        let mut last = self.last.lock();
        match &*last {
            Some((at, result)) if at.elapsed() < BELIEVED => result.clone(),
            _ => {
                let result = self.read();
                *last = Some((Instant::now(), result.clone()));
                result
            }
        }
    }

    fn read(&self) -> Result<(), OutboundProblem> {
        let unreadable = |error| {
            tracing::error!(grant = %self.key, %error, "the grant cannot be read");
            OutboundProblem::Missing(MissingSource::Login)
        };
        match self.store.read(&self.key).map_err(unreadable)? {
            None => Err(OutboundProblem::Missing(MissingSource::Login)),
            Some(grant) if has_ended(&grant) => Err(OutboundProblem::Ended),
            Some(_) => Ok(()),
        }
    }
}

fn has_ended(grant: &StoredGrant) -> bool {
    let is_over = grant.end.is_some_and(|end| end <= clock::since_epoch().as_secs());
    grant.has_ended || (is_over && grant.refresh.is_none())
}
