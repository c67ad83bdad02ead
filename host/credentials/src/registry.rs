//! The credentials that are in use. Upstreams with the same settings of a credential share it, and so its tokens.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;

use crate::open_renewals::OpenRenewals;
use crate::upstream_credential::{InvalidCredential, UpstreamCredential};
use witgate_base::party::Principal;
use witgate_config::credentials::CredentialSettings;
use witgate_services::fetch::TOKEN_ANSWER;
use witgate_services::network::Ways;

/// Maximum time to wait for running renewals: that of an answer, and of a write.
const LONGEST_END: Duration = TOKEN_ANSWER.saturating_add(Duration::from_secs(5));

/// The credentials in use, and the outgoing connections for their requests.
#[derive(Debug)]
pub struct OutboundCredentials {
    ways: Arc<Ways>,
    open: OpenRenewals,
    in_use: Mutex<HashMap<Arc<str>, Vec<Weak<UpstreamCredential>>>>,
}

impl OutboundCredentials {
    /// No credentials yet.
    pub fn new(ways: Arc<Ways>) -> Arc<Self> {
        Arc::new(Self { ways, open: OpenRenewals::default(), in_use: Mutex::default() })
    }

    /// The outgoing connections.
    pub fn ways(&self) -> &Arc<Ways> {
        &self.ways
    }

    /// Waits until the answers of running renewals are written, for as long as providers may take. Otherwise, new
    /// refresh tokens would be lost at the end of the process.
    pub async fn settle(&self) {
        if timeout(LONGEST_END, self.open.settle()).await.is_err() {
            tracing::error!("a new grant was not written; log in again");
        }
    }

    /// Forgets what is in memory of a principal's grant, which has changed, in all credentials with this name. After a
    /// reload, running calls may still use the former one.
    pub fn forget(&self, credential: &str, principal: &Principal) {
        let same_name: Vec<_> = {
            let in_use = self.in_use.lock();
            in_use.get(credential).into_iter().flatten().filter_map(Weak::upgrade).collect()
        };
        same_name.iter().for_each(|credential| credential.forget(principal));
    }

    /// The credential with these settings: the one in use, or a new one.
    ///
    /// # Errors
    /// If a secret does not fit into a header, or a key cannot sign.
    pub fn with(
        &self,
        settings: &Arc<CredentialSettings>,
    ) -> Result<Arc<UpstreamCredential>, InvalidCredential> {
        let mut in_use = self.in_use.lock();
        let same_name = in_use.entry(Arc::clone(&settings.name)).or_default();
        same_name.retain(|credential| credential.strong_count() > 0);
        let found = same_name.iter().filter_map(Weak::upgrade).find(|other| other.settings() == &**settings);
        if let Some(found) = found {
            return Ok(found);
        }
        let new = Arc::new(UpstreamCredential::new(settings, &self.ways, &self.open)?);
        same_name.push(Arc::downgrade(&new));
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use witgate_config::credentials::{EqualSecret, OutboundSource, Retrieval};

    use super::*;

    fn settings(name: &str, secret: &str) -> Arc<CredentialSettings> {
        Arc::new(CredentialSettings {
            name: name.into(),
            header: AUTHORIZATION,
            prefix: "Bearer ".to_owned(),
            source: OutboundSource::Static(Retrieval::Secret(EqualSecret(secret.to_owned().into()))),
        })
    }

    #[test]
    fn equal_settings_share_a_credential_and_others_do_not() {
        let all = OutboundCredentials::new(Ways::closed());
        let one = all.with(&settings("a", "1")).unwrap();
        assert!(Arc::ptr_eq(&one, &all.with(&settings("a", "1")).unwrap()));
        assert!(!Arc::ptr_eq(&one, &all.with(&settings("a", "2")).unwrap()), "a new secret");
        assert!(!Arc::ptr_eq(&one, &all.with(&settings("b", "1")).unwrap()), "another name");
        drop(one);
        all.with(&settings("a", "1")).unwrap();
        assert!(all.in_use.lock()["a"].len() <= 2, "those without users are forgotten");
    }
}
